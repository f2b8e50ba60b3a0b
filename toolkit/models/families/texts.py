"""Encoders of text, by transformers' own forward (`toolkit.models.text`)."""

from toolkit.models.families.family import Family


def _reads(model: str, prefix: str) -> Family:
    """A row; what is of audio in it is not read."""
    return Family(
        f"transformers:{model}",
        prefix,
        feature_extractor="",
        encoder="toolkit.models.text:TextEncoder",
        trainable="",
        reads=True,
        frame_rate=0.0,
        convolution_norm="none",
        normalises_input=False,
    )


ROWS = {
    "bert": _reads("BertModel", "bert."),
    "roberta": _reads("RobertaModel", "roberta."),
    "xlm-roberta": _reads("XLMRobertaModel", "roberta."),
    "electra": _reads("ElectraModel", "electra."),
    "ernie": _reads("ErnieModel", "ernie."),
    "qwen2": _reads("Qwen2Model", "model."),
    "qwen3": _reads("Qwen3Model", "model."),
}
