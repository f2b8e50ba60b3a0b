"""wav2vec 2.0, HuBERT and WavLM in fairseq's and torchaudio's names become checkpoints with the same states."""

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.conftest import Run
from tests.models import tiny
from tests.models.reference import own_states, worst_error
from tests.models.tiny import speech_like
from toolkit.core.errors import CheckpointError, InputError
from toolkit.models.checkpoint import inspect
from toolkit.models.convert.fairseq import convert
from toolkit.models.load import load

Tensors = dict[str, torch.Tensor]
CPU = torch.device("cpu")
# transformers' -> fairseq's, written down from its modules and from unilm's WavLM
FAIRSEQ = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"feature_projection\.projection\.", "post_extract_proj."),
    (r"feature_projection\.layer_norm\.", "layer_norm."),
    (r"encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"encoder\.layers\.(\d+)\.attention\.gru_rel_pos_linear\.", r"encoder.layers.\1.self_attn.grep_linear."),
    (r"encoder\.layers\.(\d+)\.attention\.gru_rel_pos_const", r"encoder.layers.\1.self_attn.grep_a"),
    (r"encoder\.layers\.(\d+)\.attention\.rel_attn_embed\.", r"encoder.layers.\1.self_attn.relative_attention_bias."),
    (r"encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    (r"encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
    (r"encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    (r"masked_spec_embed", "mask_emb"),
)
TORCHAUDIO = (
    (r"feature_projection\.", "encoder.feature_projection."),
    (r"encoder\.layers\.(\d+)\.attention\.out_proj\.", r"encoder.transformer.layers.\1.attention.out_proj."),
    (r"encoder\.", "encoder.transformer."),
    (r"masked_spec_embed", "mask_generator.mask_embedding"),
)
KINDS = ["wav2vec2-group", "wav2vec2-stable", "hubert-group", "hubert-stable", "wavlm-group", "wavlm-stable"]


def renamed(state: Tensors, names: Any, norms: bool = False) -> Tensors:
    """norms: fairseq's layer norms of convolutions lie one module deeper than its group norm."""
    found = {}
    deeper = "2.1." if "feature_extractor.conv_layers.1.layer_norm.weight" in state else "2."
    for name, tensor in state.items():
        name = name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )
        for ours, theirs in names:
            if match := re.match(ours, name):
                name = match.expand(theirs) + name[match.end() :]
                break
        if norms:
            name = re.sub(r"^(feature_extractor\.conv_layers\.\d+\.)layer_norm\.", rf"\g<1>{deeper}", name)
        found[name] = tensor
    return found


def settings(folder: Path) -> dict[str, Any]:
    """As fairseq says them."""
    config = transformers.AutoConfig.from_pretrained(folder)
    sizes = list(zip(config.conv_dim, config.conv_kernel, config.conv_stride))
    return {
        "encoder_attention_heads": config.num_attention_heads,
        "layer_norm_first": config.do_stable_layer_norm,
        "conv_feature_layers": f"{sizes}",
        "max_distance": getattr(config, "max_bucket_distance", 0),
    }


def saved(name: str, tmp_path: Path) -> tuple[Path, Tensors]:
    folder = tiny.FAMILIES[name](tmp_path / name)
    return folder, load_file(folder / "model.safetensors")


def check(folder: Path, found: Path) -> None:
    clips = [speech_like(seconds, seed=n) for n, seconds in enumerate((0.3, 0.71, 0.02))]
    expected, made = (load(inspect(each, each.name), CPU, torch.float32) for each in (folder, found))
    assert made.layer_names == expected.layer_names
    assert worst_error(own_states(made, clips), own_states(expected, clips)) < 1e-6


@pytest.mark.parametrize("name", KINDS)
def test_fairseqs_file_has_the_states_of_the_model_it_was_made_of(name: str, tmp_path: Path, run: Run) -> None:
    folder, state = saved(name, tmp_path)
    theirs = renamed(state, FAIRSEQ, norms=True)
    normalises = inspect(folder, name).backbone.normalises_input
    if name.startswith("hubert"):
        theirs |= {"label_embs_concat": torch.ones(5, 8), "final_proj.weight": torch.ones(8, 32)}
        cfg = {"model": settings(folder), "task": {"normalize": normalises}}
        whole = {"args": None, "cfg": cfg, "model": theirs, "optimizer_history": [{"num_updates": 3}]}
    elif name.startswith("wavlm"):
        whole = {"cfg": {**settings(folder), "normalize": normalises}, "model": theirs}
    else:  # fine-tuned, by an older fairseq
        theirs = {f"w2v_encoder.w2v_model.{key}": tensor for key, tensor in theirs.items()}
        theirs["w2v_encoder.proj.weight"] = torch.ones(4, 32)
        args = argparse.Namespace(normalize=normalises, w2v_args=argparse.Namespace(**settings(folder)))
        whole = {"args": args, "model": theirs}
    torch.save(whole, tmp_path / "theirs.pt")
    code, out, err = run("models", "convert", str(tmp_path / "theirs.pt"), str(tmp_path / "models" / "made"))
    assert code == 0 and "made has weights and preprocessor" in out, err
    check(folder, tmp_path / "models" / "made")
    row = inspect(tmp_path / "models" / "made", "made").backbone
    assert row.family == name.partition("-")[0] and row.normalises_input == normalises
    with pytest.raises(InputError, match="models/made is there already"):
        convert(tmp_path / "theirs.pt", tmp_path / "models" / "made")


@pytest.mark.parametrize("name", KINDS)
def test_torchaudios_file_has_them_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds weights alone; what they do not say is what all published ones of that width have."""
    monkeypatch.setattr("toolkit.models.convert.fairseq.HEADS", {32: 4})
    folder, state = saved(name, tmp_path)
    theirs = renamed(state, TORCHAUDIO)
    if name.startswith("wavlm"):
        for number in range(3):
            at = f"encoder.transformer.layers.{number}.attention."
            for kind in ("weight", "bias"):
                parts = [theirs.pop(f"{at}{each}_proj.{kind}") for each in "qkv"]
                theirs[f"{at}attention.in_proj_{kind}"] = torch.cat(parts)
                theirs[f"{at}attention.out_proj.{kind}"] = theirs.pop(f"{at}out_proj.{kind}")
        theirs |= {"aux.weight": torch.ones(3, 32)}
    torch.save(theirs, tmp_path / "theirs.pth")
    made = convert(tmp_path / "theirs.pth", tmp_path / "models" / "made")
    config = transformers.AutoConfig.from_pretrained(made.folder)
    if name.startswith("wavlm"):
        assert config.max_bucket_distance == 800
        config.max_bucket_distance = 60
        config.save_pretrained(made.folder)
    normalises = inspect(folder, name).backbone.normalises_input
    if normalises != name.endswith("stable"):  # tiny ones are normalised whatever their norms are
        tiny.transformers.Wav2Vec2FeatureExtractor(do_normalize=normalises).save_pretrained(made.folder)
    check(folder, made.folder)


def test_what_is_no_such_file_is_one_sentence(tmp_path: Path) -> None:
    _, state = saved("hubert-group", tmp_path)
    theirs = renamed(state, FAIRSEQ, norms=True)
    bias, heads = "encoder.layers.0.fc1.bias", {"encoder_attention_heads": 4}
    cases: list[tuple[Any, str]] = [
        (theirs, "its width is 32, expected one of [768, 1024, 1280, 1920]: the file says no heads"),
        ({"other.weight": torch.ones(2)}, "theirs.pt has no weight feature_extractor.conv_layers.0.*, expected a wav"),
        ({**theirs, "encoder.layers.0.moe.weight": torch.ones(2)}, "'encoder.layers.0.moe.weight' has no place in a"),
        ({"cfg": heads, "model": {**theirs, bias: torch.ones(40)}}, "do not fit config.json"),
        (
            {"cfg": heads, "model": {key: each for key, each in theirs.items() if key != bias}},
            "theirs.pt has no weight that becomes 'encoder.layers.0.feed_forward.intermediate_dense.bias'",
        ),
        ({"cfg": {"conv_feature_layers": "[(8, 3, 2)]"}, "model": theirs}, "Bad kernels of the convolutions [10, 3"),
        ({"model": {"a": 3}}, "theirs.pt is no state_dict of tensors by name"),
        ({"cfg": re.compile("a"), "model": theirs}, "theirs.pt is damaged or holds more than tensors"),
    ]
    for found, sentence in cases:
        torch.save(found, tmp_path / "theirs.pt")
        with pytest.raises(CheckpointError) as refused:
            convert(tmp_path / "theirs.pt", tmp_path / "out")
        assert sentence in str(refused.value) and str(tmp_path) not in str(refused.value), refused.value
        assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError, match=r"There is no file gone\.pt, expected fairseq's or torchaudio's"):
        convert(tmp_path / "gone.pt", tmp_path / "out")


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"cfg": Runs(), "model": {}}, tmp_path / "theirs.pt")
    with pytest.raises(CheckpointError):
        convert(tmp_path / "theirs.pt", tmp_path / "out")
    assert not (tmp_path / "ran").exists()
