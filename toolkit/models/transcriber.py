"""What a Whisper transcribes: greedily, without timestamps, in a language that is given."""

from typing import Any

import torch
from transformers import GenerationConfig, WhisperForConditionalGeneration
from transformers.initialization import no_init_weights

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import CheckpointError, InputError, one_of
from toolkit.core.matmul import allow_tensor_float_32
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.files import GENERATION, TOKENIZERS, read_object
from toolkit.models.load import config_of, feature_extractor_of, model_of
from toolkit.models.text import tokenizer_of

ENGLISH = "en"


def check(checkpoint: Checkpoint, language: str) -> None:
    """That a checkpoint can write this language, as far as its files say; no weight is read.

    Raises InputError for a backbone without a decoder, or a language that it does not know, CheckpointError for files
    that are not there.
    """
    name = checkpoint.name
    if not checkpoint.family.fixed_context:
        raise InputError(f"{name} writes no text, expected a Whisper with its decoder, such as whisper-small")
    if not any((checkpoint.folder / file).is_file() for file in TOKENIZERS):
        raise CheckpointError(f"{name} has no tokenizer, expected one of {list(TOKENIZERS)} next to its weights")
    path = checkpoint.folder / GENERATION
    values = read_object(path, f"{name}/{GENERATION}", f"{name} has no {GENERATION}, by which a Whisper writes")
    known = [token.strip("<|>") for token in values.get("lang_to_id") or {f"<|{ENGLISH}|>": 0}]
    if language not in known:
        raise InputError(one_of("--language", language, known, f", those of {name}"))


class Transcriber:
    """A loaded Whisper with its decoder, in float32."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, language: str) -> None:
        """Raises CheckpointError, and all that `check` does."""
        check(checkpoint, language)
        allow_tensor_float_32(False)
        config = config_of(checkpoint)
        self._extractor, self._tokenizer = feature_extractor_of(checkpoint, config), tokenizer_of(checkpoint)
        with no_init_weights(), torch.device("meta"):
            model: Any = WhisperForConditionalGeneration(config)
        model.model = model_of(checkpoint, config, decoder=True, last_layer=checkpoint.backbone.layers)
        model.proj_out.weight = model.model.decoder.embed_tokens.weight
        try:
            model.generation_config = GenerationConfig.from_pretrained(str(checkpoint.folder), local_files_only=True)
        except Exception as error:
            raise CheckpointError(f"{checkpoint.name}: {GENERATION} cannot be read: {type(error).__name__}") from error
        # what config.json may still say of generation is not that file's
        self._model, self._device = model.to(device).eval(), device
        several = getattr(model.generation_config, "is_multilingual", True)
        self._options = {"language": language, "task": "transcribe"} if several else {}
        prompt = 4 if several else 2  # start, language, task, no timestamps
        self._most = min(int(model.generation_config.max_length), int(config.max_target_positions)) - prompt
        self._window = int(self._extractor.chunk_length) * SAMPLE_RATE

    def write(self, clip: Samples) -> tuple[str, bool]:
        """What is said in a clip, joined of windows of 30 s, and whether the model came to an end in each."""
        pieces = [clip[start : start + self._window] for start in range(0, len(clip), self._window)]
        rows = [self._written(piece) for piece in pieces]
        texts = [self._tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        return "".join(texts).strip(), all(len(row) < self._most for row in rows)

    def _written(self, piece: Samples) -> list[int]:
        """Tokens of a window; alone, so that no other clip's rounding can turn one into another."""
        inputs = self._extractor(piece, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        inputs = inputs.to(self._device)
        with torch.inference_mode():
            found = self._model.generate(
                inputs.input_features, attention_mask=inputs.attention_mask, return_timestamps=False, do_sample=False,
                num_beams=1, **self._options,
            )  # fmt: skip
        row: list[int] = found[0].tolist()
        return row
