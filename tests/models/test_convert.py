"""A CTranslate2 Whisper becomes a folder whose every state equals that of the Whisper it was made from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from tests.models import ct2_writer, tiny
from tests.models.ct2_writer import Stored, bfloat16, container, float16, float32, scalars, write_folder
from toolkit.core.errors import CheckpointError, InputError
from toolkit.models.checkpoint import locate
from toolkit.models.convert.checkpoint import convert

POSITIONS = 50  # one second of audio


@pytest.fixture(scope="module")
def whisper() -> transformers.WhisperForConditionalGeneration:
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        vocab_size=40,
        num_mel_bins=80,
        max_source_positions=POSITIONS,
        max_target_positions=12,
        pad_token_id=30,
        bos_token_id=30,
        eos_token_id=30,
        decoder_start_token_id=31,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    tiny.randomise(model, 0)
    return model


@pytest.fixture
def floats(whisper: transformers.WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    state = {name: tensor.numpy() for name, tensor in whisper.state_dict().items()}
    return ct2_writer.whisper_variables(state, layers=2, heads=2)


ALIAS = {"decoder/projection/weight": "decoder/embeddings/weight"}


def stored(floats: dict[str, np.ndarray], kind: str) -> dict[str, Stored]:
    """The variables as CTranslate2 stores them with `--quantization kind`."""
    simple = {"float32": float32, "float16": float16, "bfloat16": bfloat16}
    if kind in simple:
        return {name: simple[kind](values) for name, values in floats.items()} | scalars()
    out: dict[str, Stored] = {}
    for name, values in floats.items():
        if values.ndim < 2 or name.endswith("encodings"):
            out[name] = float32(values)
        elif kind == "int8":
            scale = 127 / np.abs(values.reshape(len(values), -1)).max(axis=1)
            whole = np.rint(values * scale.reshape(-1, *[1] * (values.ndim - 1)))
            out |= {name: ("int8", whole.astype(np.int8)), name + "_scale": float32(scale)}
        else:
            scale = np.float32(1024 / np.abs(values).max())
            out |= {name: ("int16", np.rint(values * scale).astype("<i2")), name + "_scale": float32(np.array(scale))}
    return out | scalars()


def states(model: transformers.WhisperForConditionalGeneration) -> list[torch.Tensor]:
    mel = torch.randn(2, 80, 2 * POSITIONS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = model.eval()(mel, decoder_input_ids=torch.tensor([[31], [31]]), output_hidden_states=True)
    return [*out.encoder_hidden_states, *out.decoder_hidden_states, out.logits]


def test_every_state_of_encoder_and_decoder_is_equal(
    whisper: transformers.WhisperForConditionalGeneration, floats: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = write_folder(tmp_path / "ct2", container(stored(floats, "float32"), ALIAS))
    out = convert(source, tmp_path / "models" / "mine")
    again, report = transformers.WhisperForConditionalGeneration.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    for expected, got in zip(states(whisper), states(again), strict=True):
        assert torch.equal(expected, got)
    row = locate("mine", tmp_path / "models").backbone
    assert (row.layers, row.decoder_layers, row.width, row.mel_bins) == (2, 2, 16, 80)
    assert row.parameters == sum(weight.numel() for weight in whisper.model.parameters())


def test_preprocessor_and_generation_files_are_read_by_transformers(
    floats: dict[str, np.ndarray], tmp_path: Path
) -> None:
    out = convert(write_folder(tmp_path / "ct2", container(stored(floats, "float32"), ALIAS)), tmp_path / "out")
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(out)
    mel = extractor(tiny.speech_like(0.4), sampling_rate=16_000).input_features
    assert np.shape(mel) == (1, 80, 2 * POSITIONS)
    generation = transformers.GenerationConfig.from_pretrained(out)
    assert generation.decoder_start_token_id == 31 and generation.suppress_tokens == [1, 2]
    assert json.loads((out / "config.json").read_text())["decoder_start_token_id"] == 31


@pytest.mark.parametrize(("kind", "error"), [("float16", 1e-3), ("bfloat16", 8e-3), ("int8", 4e-3), ("int16", 2e-3)])
def test_smaller_types_come_back_within_their_rounding(
    floats: dict[str, np.ndarray], tmp_path: Path, kind: str, error: float
) -> None:
    exact = convert(write_folder(tmp_path / "a", container(stored(floats, "float32"), ALIAS)), tmp_path / "exact")
    rounded = convert(write_folder(tmp_path / "b", container(stored(floats, kind), ALIAS)), tmp_path / "rounded")
    want, got = load_file(exact / "model.safetensors"), load_file(rounded / "model.safetensors")
    assert want.keys() == got.keys()
    for name, values in want.items():
        assert got[name].dtype == np.float32
        assert np.abs(got[name] - values).max() <= error * np.abs(values).max(), name


def test_stored_keeps_half_precision_bit_for_bit(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", container(stored(floats, "float16"), ALIAS))
    kept = load_file(convert(source, tmp_path / "kept", dtype="stored") / "model.safetensors")
    wide = load_file(convert(source, tmp_path / "wide") / "model.safetensors")
    for name, values in kept.items():
        assert values.dtype == np.float16
        np.testing.assert_array_equal(values.astype(np.float32), wide[name])
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["dtype"] == "float16"


def test_parts_convert_as_the_whole_file(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = container(stored(floats, "float16"), ALIAS)
    source = write_folder(tmp_path / "ct2", data)
    whole = convert(source, tmp_path / "whole")
    parts = [source / "model.bin.part1", source / "model.bin.part2"]
    parts[0].write_bytes(data[:1000])
    parts[1].write_bytes(data[1000:])
    joined = convert(parts, tmp_path / "joined")
    for file in whole.iterdir():
        assert file.read_bytes() == (joined / file.name).read_bytes()


def refused(tmp_path: Path, variables: dict[str, Stored], aliases: dict[str, str] | None = None) -> str:
    source = write_folder(tmp_path / "ct2", container(variables, ALIAS if aliases is None else aliases))
    with pytest.raises(CheckpointError) as caught:
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_a_bias_of_the_keys_is_refused(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    floats["encoder/layer_1/self_attention/linear_0/bias"][16] = 0.5
    message = refused(tmp_path, stored(floats, "float32"))
    assert "'encoder/layer_1/self_attention/linear_0' has a bias for the keys" in message


def test_a_variable_that_would_be_lost_is_refused(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    floats["encoder/layer_3/ffn/linear_0/weight"] = np.ones((2, 2), np.float32)
    message = refused(tmp_path, stored(floats, "float32"))
    assert "1 variables have no place" in message and "encoder/layer_3/ffn" in message


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("decoder/activation", 0, "'decoder/activation' is 0, but Whisper's is 3"),
        ("decoder/pre_norm", 0, "'decoder/pre_norm' is 0"),
        ("encoder/num_heads", 3, "3 heads cannot share the encoder's width of 16"),
        ("encoder/num_heads", 0, "0 heads cannot share"),
    ],
)
def test_scalars_of_another_model_are_refused(
    floats: dict[str, np.ndarray], tmp_path: Path, name: str, value: int, sentence: str
) -> None:
    assert sentence in refused(tmp_path, stored(floats, "float32") | {name: ("int16", np.array(value, "<i2"))})


def test_wrong_shape_missing_variable_and_nan_are_named(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    good = stored(floats, "float32")
    cases = {
        "has shape (15,), expected (16,)": good | {"encoder/conv2/bias": float32(np.zeros(15))},
        "no variable 'encoder/layer_norm/beta'": {k: v for k, v in good.items() if k != "encoder/layer_norm/beta"},
        "not finite": good | {"encoder/conv2/bias": float32(np.full(16, np.nan))},
        "no layer 0": {k: v for k, v in good.items() if k != "encoder/layer_0/self_attention/linear_0/weight"},
        "first convolution is (16,)": good | {"encoder/conv1/weight": float32(np.zeros(16))},
    }
    for number, (sentence, variables) in enumerate(cases.items()):
        (tmp_path / str(number)).mkdir()
        assert sentence in refused(tmp_path / str(number), variables)


def test_an_untied_projection_is_refused_and_an_equal_copy_is_not(
    floats: dict[str, np.ndarray], tmp_path: Path
) -> None:
    good = stored(floats, "float32")
    embeddings = floats["decoder/embeddings/weight"]
    assert "differs from the embeddings" in refused(
        tmp_path, good | {"decoder/projection/weight": float32(embeddings + 1)}, {}
    )
    copy = container(good | {"decoder/projection/weight": float32(embeddings)})
    assert convert(write_folder(tmp_path / "copy", copy), tmp_path / "fine").is_dir()


def test_other_models_and_missing_companions_are_refused(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", container(stored(floats, "float32"), ALIAS, specification="BertSpec"))
    with pytest.raises(CheckpointError, match=r"'BertSpec', expected one of \['WhisperSpec'\]"):
        convert(other, tmp_path / "out")
    source = write_folder(tmp_path / "ct2", container(stored(floats, "float32"), ALIAS))
    (source / "tokenizer.json").write_text("[]")
    with pytest.raises(CheckpointError, match="expected an object"):
        convert(source, tmp_path / "out")
    (source / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json next to"):
        convert(source, tmp_path / "out")


def test_an_existing_target_is_left_alone(floats: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = write_folder(tmp_path / "ct2", container(stored(floats, "float32"), ALIAS))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        convert(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct2", "out"]
