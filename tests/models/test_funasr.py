"""FunASR's folders of emotion2vec and SenseVoice become checkpoints of the same values; wrong ones, a sentence."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.conftest import Run
from tests.models import zoo
from tests.models.reference import own_states, worst_error
from tests.models.tiny import speech_like
from toolkit.core.errors import CheckpointError, InputError
from toolkit.models.checkpoint import inspect, locate
from toolkit.models.convert.emotion2vec import convolutions
from toolkit.models.convert.funasr import convert
from toolkit.models.emotion2vec import alibi_slopes
from toolkit.models.load import load

AUDIO = "modality_encoders.AUDIO."
Tensors = dict[str, torch.Tensor]
# ours -> FunASR's, written down from its modules
EMOTION2VEC = (
    (r"convolutions\.(\d+)\.conv\.", AUDIO + r"local_encoder.conv_layers.\1.0."),
    (r"convolutions\.(\d+)\.norm\.", AUDIO + r"local_encoder.conv_layers.\1.2.1."),
    (r"feature_norm\.", AUDIO + "project_features.1."),
    (r"projection\.", AUDIO + "project_features.2."),
    (r"norm\.", AUDIO + "context_encoder.norm."),
    (r"layers\.0\.(qkv|proj)\.", AUDIO + r"context_encoder.blocks.0.attn.\1."),
    (r"layers\.0\.(fc\d)\.", AUDIO + r"context_encoder.blocks.0.mlp.\1."),
    (r"layers\.0\.(norm\d)\.", AUDIO + r"context_encoder.blocks.0.\1."),
    (r"layers\.(\d)\.(qkv|proj)\.", lambda m: f"blocks.{int(m[1]) - 1}.attn.{m[2]}."),
    (r"layers\.(\d)\.(fc\d)\.", lambda m: f"blocks.{int(m[1]) - 1}.mlp.{m[2]}."),
    (r"layers\.(\d)\.(norm\d)\.", lambda m: f"blocks.{int(m[1]) - 1}.{m[2]}."),
    (r"positions\.(\d)\.", lambda m: f"{AUDIO}relative_positional_encoder.{int(m[1]) + 1}.0."),
)
BLOCKS = ("encoders0.0", "encoders.0", "tp_encoders.0", "tp_encoders.1")
SENSEVOICE = (
    (r"layers\.(\d)\.self_attn\.o_proj\.", lambda m: f"encoder.{BLOCKS[int(m[1])]}.self_attn.linear_out."),
    (r"layers\.(\d)\.self_attn\.fsmn\.conv\.", lambda m: f"encoder.{BLOCKS[int(m[1])]}.self_attn.fsmn_block."),
    (r"layers\.(\d)\.mlp\.fc(\d)\.", lambda m: f"encoder.{BLOCKS[int(m[1])]}.feed_forward.w_{m[2]}."),
    (r"layers\.(\d)\.input_layernorm\.", lambda m: f"encoder.{BLOCKS[int(m[1])]}.norm1."),
    (r"layers\.(\d)\.post_attention_layernorm\.", lambda m: f"encoder.{BLOCKS[int(m[1])]}.norm2."),
    (r"layers\.1\.final_layernorm\.", "encoder.after_norm."),
    (r"layers\.3\.final_layernorm\.", "encoder.tp_norm."),
)


def renamed(state: Tensors, names: Any) -> Tensors:
    found = {}
    for name, tensor in state.items():
        for ours, theirs in names:
            if match := re.match(ours, name):
                name = (theirs(match) if callable(theirs) else match.expand(theirs)) + name[match.end() :]
                break
        found[name] = tensor
    return found


def emotion2vec(folder: Path) -> dict[str, Any]:
    """Fine-tuned, as emotion2vec+ is: a prefix, and a head."""
    state = renamed(
        load_file(zoo.save("emotion2vec", folder.parent / "emotion2vec") / "model.safetensors"), EMOTION2VEC
    )
    state[AUDIO + "extra_tokens"] = state.pop("extra_tokens")[None]
    state[AUDIO + "alibi_scale"] = state.pop("alibi_scale").view(3, 1, 4, 1, 1)
    state = {f"d2v_model.{name}": tensor for name, tensor in state.items()} | {"proj.weight": torch.ones(9, 32)}
    audio = {
        "prenet_depth": 1, "conv_pos_width": 95, "conv_pos_depth": 5, "conv_pos_groups": 4, "num_extra_tokens": 10,
        "num_alibi_heads": 4, "extractor_mode": "layer_norm", "use_alibi_encoder": True, "learned_alibi": False,
        "feature_encoder_spec": "[(24, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] + [(20, 2, 2)]",
    }  # fmt: skip
    conf = {"depth": 2, "embed_dim": 32, "num_heads": 4, "mlp_ratio": 1.5, "norm_eps": 1e-5, "layer_norm_first": False,
            "normalize": True, "modalities": {"audio": audio}}  # fmt: skip
    torch.save({"model": state, "epoch": 7}, folder / "model.pt")
    return {"model": "Emotion2vec", "model_conf": conf}


def sensevoice(folder: Path) -> dict[str, Any]:
    state = load_file(zoo.save("sensevoice", folder.parent / "sensevoice") / "model.safetensors")
    shift, scale = (state.pop(name).tolist() for name in ("shift", "scale"))
    rows = [" ".join(map(repr, row)) for row in (shift, scale)]
    (folder / "am.mvn").write_text(
        f"<Nnet>\n<AddShift> 560 560\n<LearnRateCoef> 0 [ {rows[0]} ]\n"
        f"<Rescale> 560 560\n<LearnRateCoef> 0 [ {rows[1]} ]\n"
    )
    embed = torch.randn(16, 560, generator=torch.Generator().manual_seed(5))
    embed[[0, 1, 2, 15]] = state.pop("queries")
    for number, block in enumerate(BLOCKS):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"layers.{number}.self_attn.{name}_proj.{kind}") for name in "qkv"]
            state[f"encoder.{block}.self_attn.linear_q_k_v.{kind}"] = torch.cat(parts)
    torch.save({"embed.weight": embed, **renamed(state, SENSEVOICE)}, folder / "model.pt")
    conf = {
        "output_size": 32,
        "attention_heads": 4,
        "linear_units": 48,
        "num_blocks": 2,
        "tp_blocks": 2,
        "kernel_size": 11,
    }
    return {"model": "SenseVoiceSmall", "encoder_conf": conf, "frontend_conf": {"lfr_m": 7, "lfr_n": 6, "fs": 16000}}


KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {"emotion2vec": emotion2vec, "sensevoice": sensevoice}


def made(kind: str, tmp_path: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    settings = KINDS[kind](folder)
    change(settings)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_folder_becomes_the_checkpoint_that_its_values_are(kind: str, tmp_path: Path, run: Run) -> None:
    folder = made(kind, tmp_path)
    code, out, err = run("models", "convert", str(folder), str(tmp_path / "models" / "mine"))
    assert code == 0 and "mine has weights and preprocessor" in out, err
    clips = [speech_like(seconds, seed=n) for n, seconds in enumerate((0.3, 0.71, 0.02))]
    cpu = torch.device("cpu")
    expected = load(inspect(tmp_path / kind, kind), cpu, torch.float32, mode="alone")
    found = load(locate("mine", tmp_path / "models"), cpu, torch.float32)
    assert found.layer_names == expected.layer_names
    assert worst_error(own_states(found, clips), [own_states(expected, [clip])[0] for clip in clips]) < 1e-5
    with pytest.raises(InputError, match="models/mine is there already"):
        convert(folder, tmp_path / "models" / "mine")


def audio(settings: dict[str, Any]) -> dict[str, Any]:
    return settings["model_conf"]["modalities"]["audio"]


WRONG: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("emotion2vec", lambda s: s.update(model="Paraformer"), "Bad model 'Paraformer', expected one of ['Emotion2vec', "),
    ("emotion2vec", lambda s: s["model_conf"].pop("embed_dim"), "theirs/ lacks 'embed_dim': config.yaml and model.pt"),
    ("emotion2vec", lambda s: s["model_conf"].update(depth=3), "lacks 'd2v_model.blocks.2.attn.qkv.weight'"),
    ("emotion2vec", lambda s: s["model_conf"].update(embed_dim=64), "its weights do not fit config.json"),
    ("emotion2vec", lambda s: s["model_conf"].update(layer_norm_first=True), "layer_norm_first is True, expected"),
    ("emotion2vec", lambda s: audio(s).update(num_alibi_heads=2), "num_alibi_heads is 2, expected 4"),
    ("emotion2vec", lambda s: audio(s).update(feature_encoder_spec="exit()"), "Bad convolutions 'exit()'"),
    ("emotion2vec", lambda s: s.update(model_conf=[]), "theirs/config.yaml does not describe model.pt"),
    ("sensevoice", lambda s: s["encoder_conf"].update(sanm_shfit=5), "norms before each part, and no sanm_shfit"),
    ("sensevoice", lambda s: s["frontend_conf"].update(lfr_m=5), "theirs/am.mvn shifts 560 features and scales 560, "),
    ("sensevoice", lambda s: s["encoder_conf"].update(num_blocks=3), "lacks 'encoder.encoders.1.self_attn.linear_q"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "sentence"), WRONG, ids=[sentence[:40] for _, _, sentence in WRONG])
def test_settings_that_do_not_fit_are_one_sentence(
    kind: str, change: Callable[[dict[str, Any]], object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as refused:
        convert(made(kind, tmp_path, change), tmp_path / "out")
    text = str(refused.value)
    assert sentence in text and str(tmp_path) not in text, text
    assert not (tmp_path / "out").exists()


def test_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    folder = made("sensevoice", tmp_path)
    (folder / "am.mvn").unlink()
    with pytest.raises(CheckpointError, match=r"theirs/am\.mvn cannot be read: FileNotFoundError"):
        convert(folder, tmp_path / "out")
    (folder / "model.pt").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match=r"model\.pt is damaged or holds more than tensors"):
        convert(folder, tmp_path / "out")
    (folder / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"theirs/ has 0 \.pt files, expected model\.pt or only one"):
        convert(folder, tmp_path / "out")
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(CheckpointError, match=r"config\.yaml cannot be read as YAML"):
        convert(folder, tmp_path / "out")
    (folder / "config.yaml").write_text("- 1")
    with pytest.raises(CheckpointError, match="holds a list, expected settings by name"):
        convert(folder, tmp_path / "out")


def test_convolutions_and_slopes_are_read_as_fairseq_means_them() -> None:
    assert convolutions("[(4, 10, 5)] + [(8, 3, 2)] * 2 + [(8,2,2)]") == [(4, 10, 5), (8, 3, 2), (8, 3, 2), (8, 2, 2)]
    for bad in ("", "[(1, 2)]", "[(0, 1, 1)]", "[]", "open('x')", "[(1, 1, 1)] * 'x'"):
        with pytest.raises(CheckpointError, match="Bad convolutions"):
            convolutions(bad)
    assert alibi_slopes(8) == [2.0**-number for number in range(1, 9)]
    assert alibi_slopes(12) == [*alibi_slopes(8), *alibi_slopes(16)[0:8:2]]
