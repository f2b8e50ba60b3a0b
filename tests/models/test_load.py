"""Device, dtype, and which checkpoints are loaded or refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models import tiny
from tests.models.reference import own_states, worst_error
from tests.models.tiny import speech_like
from toolkit.core.errors import CheckpointError, InputError, MachineError
from toolkit.models.checkpoint import inspect, locate
from toolkit.models.encoder import Encoder
from toolkit.models.load import choose_device, load
from toolkit.models.load_trainable import load_trainable
from toolkit.models.normalisation import widest
from toolkit.models.precision import FLOAT32, ladder
from toolkit.models.whisper import Context

CPU = torch.device("cpu")
CLIPS = [speech_like(0.4), speech_like(0.9, seed=1)]


def _load(folder: Path) -> Encoder:
    return load(locate(str(folder), folder.parent), CPU, torch.float32)


def _rewrite(folder: Path, change: object) -> None:
    """Apply `change` to the tensors of a folder's model.safetensors."""
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors)  # type: ignore[operator]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_auto_device_is_one_that_is_there() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "xpu", "cuda:x", ""])
def test_an_unknown_device_is_bad_usage(name: str) -> None:
    with pytest.raises(InputError, match="expected one of \\['auto', 'cpu'"):
        choose_device(name)


def test_a_device_that_is_not_there_is_the_machine_s_no() -> None:
    with pytest.raises(MachineError, match="No device cuda:99 here"):
        choose_device("cuda:99")


def test_apple_s_metal_is_taken_in_float32_and_said_to_be_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MachineError, match="No device mps here"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = choose_device("mps")
    assert device.type == "mps" and choose_device("auto").type != "mps"
    for name in ("auto", "float32"):
        rungs, reason = ladder(name, device)
        assert rungs == (FLOAT32,) and "untested" in reason
    with pytest.raises(InputError, match=r"Bad dtype 'bfloat16', expected one of \['auto', 'float32'\] on mps"):
        ladder("bfloat16", device)
    assert widest(torch.zeros(2)).dtype == torch.float64


def test_a_missing_weight_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny.hubert(tmp_path / "lacks")
    name = "encoder.layers.1.feed_forward.output_dense.weight"
    _rewrite(folder, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(CheckpointError, match=f"lacks: 1 of .* missing, the first is '{name}'"):
        _load(folder)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = tiny.hubert(tmp_path / "odd")
    _rewrite(folder, lambda tensors: {**tensors, "feature_projection.projection.bias": torch.zeros(31)})
    with pytest.raises(CheckpointError, match=r"do not fit config\.json"):
        _load(folder)


def test_heads_and_prefixes_of_fine_tuned_checkpoints_change_nothing(tmp_path: Path) -> None:
    plain, headed = tiny.wav2vec2(tmp_path / "plain"), tiny.wav2vec2(tmp_path / "headed")
    _rewrite(
        headed,
        lambda tensors: (
            {f"wav2vec2.{key}": value for key, value in tensors.items() if key != "masked_spec_embed"}
            | {"lm_head.weight": torch.zeros(5, 32), "project_q.bias": torch.zeros(3)}
        ),
    )
    assert worst_error(own_states(_load(headed), CLIPS), own_states(_load(plain), CLIPS)) == 0


def test_the_old_names_of_weight_norm_are_read_not_replaced_by_noise(tmp_path: Path) -> None:
    plain, old = tiny.wav2vec2(tmp_path / "plain"), tiny.wav2vec2(tmp_path / "old")
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def rename(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for new, before in names.items():
            tensors[f"encoder.pos_conv_embed.conv.{before}"] = tensors.pop(f"encoder.pos_conv_embed.conv.{new}")
        return tensors

    _rewrite(old, rename)
    assert worst_error(own_states(_load(old), CLIPS), own_states(_load(plain), CLIPS)) == 0


def test_sharded_weights_are_the_same_weights(tmp_path: Path) -> None:
    plain, sharded = tiny.hubert(tmp_path / "plain"), tiny.hubert(tmp_path / "sharded")
    tensors = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    parts: dict[str, dict[str, torch.Tensor]] = {"a.safetensors": {}, "b.safetensors": {}}
    for number, (name, tensor) in enumerate(tensors.items()):
        parts["ab"[number % 2] + ".safetensors"][name] = tensor
    for file, part in parts.items():
        save_file(part, sharded / file, metadata={"format": "pt"})
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {}, "weight_map": weight_map}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    assert worst_error(own_states(_load(sharded), CLIPS), own_states(_load(plain), CLIPS)) == 0


def test_the_weights_that_are_hashed_are_those_that_are_loaded(tmp_path: Path) -> None:
    """A folder may hold both kinds, left by two downloads."""
    plain, both = tiny.hubert(tmp_path / "plain"), tiny.hubert(tmp_path / "both")
    others = load_file(tiny.hubert(tmp_path / "others", seed=1) / "model.safetensors")
    save_file(others, both / "a.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(others, "a.safetensors")}
    (both / "model.safetensors.index.json").write_text(json.dumps(index))
    assert inspect(both, "both").weights_sha256 == inspect(plain, "plain").weights_sha256
    assert worst_error(own_states(_load(both), CLIPS), own_states(_load(plain), CLIPS)) == 0


def test_weights_saved_in_half_precision_are_computed_in_the_dtype_asked_for(tmp_path: Path) -> None:
    folder = tiny.whisper(tmp_path / "half")
    _rewrite(folder, lambda tensors: {key: value.half() for key, value in tensors.items()})
    encoder = _load(folder)
    assert encoder.precision == FLOAT32
    assert next(encoder.states(CLIPS)).values.dtype == torch.float32


def test_a_preprocessor_of_another_rate_is_refused(tmp_path: Path) -> None:
    folder = tiny.hubert(tmp_path / "slow")
    path = folder / "preprocessor_config.json"
    checkpoint = locate(str(folder), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling_rate": 8000}))
    with pytest.raises(CheckpointError, match=r"Bad sampling_rate 8000, expected one of \[16000\]"):
        load(checkpoint, CPU, torch.float32)


def test_a_weight_that_is_no_number_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny.hubert(tmp_path / "spoilt")
    bias = torch.zeros(32)
    bias[3] = torch.nan
    _rewrite(folder, lambda tensors: {**tensors, "feature_projection.projection.bias": bias})
    with pytest.raises(
        CheckpointError, match=r"'feature_projection\.projection\.bias' holds values that are not finite"
    ):
        _load(folder)


def _edit(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("context", ["full", "clip"])
@pytest.mark.parametrize(
    ("file", "values", "sentence"),
    [
        ("preprocessor_config.json", {"feature_size": 128}, "gives 128 mel bins and 3000 frames, .* takes 80 and 3000"),
        (
            "preprocessor_config.json",
            {"chunk_length": 15, "n_samples": 240_000, "nb_max_frames": 1500},
            "and 1500 frames",
        ),
        ("preprocessor_config.json", {"dither": 0.1}, r"Bad dither 0\.1, expected one of \[0\.0\]"),
        ("preprocessor_config.json", {"padding_value": -1.0}, r"Bad padding_value -1\.0"),
        ("preprocessor_config.json", {"padding_side": "left"}, "Bad padding_side 'left'"),
        ("preprocessor_config.json", {"sampling_rate": 16000.0}, r"sampling_rate is 16000\.0, expected a whole number"),
        ("preprocessor_config.json", {"chunk_length": 30.0}, r"chunk_length is 30\.0, expected a whole number"),
        (
            "preprocessor_config.json",
            {"feature_extractor_type": "Wav2Vec2FeatureExtractor"},
            "Bad feature_extractor_type 'Wav2Vec2FeatureExtractor', expected one of .'WhisperFeatureExtractor'",
        ),
        ("config.json", {"decoder_start_token_id": 60}, "starts the decoder with token 60, expected one of 60"),
        ("config.json", {"decoder_start_token_id": -1}, "starts the decoder with token -1"),
        ("preprocessor_config.json", {"hop_length": 0}, "preprocessor_config.json describes nothing that can be built"),
        ("config.json", {"encoder_attention_heads": 5}, "config.json describes nothing that can be built"),
        ("config.json", {"activation_function": "gelO"}, "config.json describes nothing that can be built"),
    ],
)
def test_a_whisper_whose_files_do_not_go_together_is_refused(
    tmp_path: Path, context: Context, file: str, values: dict[str, object], sentence: str
) -> None:
    folder = tiny.whisper(tmp_path / "odd")
    _edit(folder / file, values)
    with pytest.raises(CheckpointError, match=f"odd: .*{sentence}"):
        load(locate(str(folder), tmp_path), CPU, torch.float32, context=context)
    with pytest.raises(CheckpointError, match=f"odd: .*{sentence}"):
        load_trainable(locate(str(folder), tmp_path), context=context)


STRIDES = [5, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"conv_kernel": [10, 5, 3, 3, 3, 2, 2], "conv_stride": STRIDES}, "kernel 5 and stride 2, .* half of it"),
        ({"conv_kernel": [10, 1, 3, 3, 3, 2, 2], "conv_stride": STRIDES}, "kernel 1 and stride 2, expected a stride"),
        ({"conv_stride": [0, 2, 2, 2, 2, 2, 2]}, "kernel 10 and stride 0, expected a stride from 1 to the kernel$"),
        ({"num_buckets": 2}, "has 2 buckets of distances up to 60, expected 4 or more"),
        ({"num_buckets": 300}, "has 300 buckets of distances up to 60"),
    ],
)
def test_a_config_that_would_be_computed_wrongly_is_refused(
    tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    folder = tiny.wavlm(tmp_path / "odd")
    _edit(folder / "config.json", values)
    with pytest.raises(CheckpointError, match=f"odd: config.json .*{sentence}"):
        load(inspect(folder, "odd"), CPU, torch.float32)
    with pytest.raises(CheckpointError, match=f"odd: config.json .*{sentence}"):
        load_trainable(inspect(folder, "odd"))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = tiny.hubert(tmp_path / "small")
    name = "encoder.layers.1.feed_forward.output_dense.weight"
    _rewrite(folder, lambda tensors: {**tensors, name: tensors[name].to(dtype)})
    with pytest.raises(CheckpointError, match=f"'{name}' is {dtype}, of a quantised checkpoint"):
        _load(folder)


def test_two_weights_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = tiny.hubert(tmp_path / "twice")
    name = "feature_projection.projection.bias"
    _rewrite(folder, lambda tensors: {**tensors, f"hubert.{name}": tensors[name] + 1})
    with pytest.raises(CheckpointError, match=f"two of its tensors are '{name}', expected one"):
        _load(folder)


def test_a_preprocessor_saved_by_transformers_5_is_the_same(tmp_path: Path) -> None:
    plain, nested = tiny.whisper(tmp_path / "plain"), tiny.whisper(tmp_path / "nested")
    extractor = json.loads((nested / "preprocessor_config.json").read_text())
    (nested / "preprocessor_config.json").unlink()
    (nested / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor}))
    assert worst_error(own_states(_load(nested), CLIPS), own_states(_load(plain), CLIPS)) == 0


@pytest.mark.parametrize("positions", [750, 3000])
def test_a_whisper_of_other_positions_than_its_spectrogram_is_refused(tmp_path: Path, positions: int) -> None:
    folder = tiny.whisper(tmp_path / "odd", max_source_positions=positions)
    with pytest.raises(CheckpointError, match=f"gives 80 mel bins and 3000 frames, .* takes 80 and {2 * positions}"):
        load(locate(str(folder), tmp_path), CPU, torch.float32)


@pytest.mark.parametrize("options", [{"decoder": True}, {"context": "clip"}])
def test_options_of_whisper_are_refused_for_the_others(tmp_path: Path, options: dict[str, object]) -> None:
    checkpoint = locate(str(tiny.hubert(tmp_path / "hubert")), tmp_path)
    with pytest.raises(InputError, match="is no Whisper"):
        load(checkpoint, CPU, torch.float32, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("last", [-1, 4])
def test_a_layer_that_is_not_there_is_refused_with_the_range(tmp_path: Path, last: int) -> None:
    checkpoint = locate(str(tiny.hubert(tmp_path / "hubert")), tmp_path)
    with pytest.raises(InputError, match="expected 0 to 3"):
        load(checkpoint, CPU, torch.float32, last_layer=last)


def test_the_decoder_cannot_listen_to_an_encoder_that_stops_early(tmp_path: Path) -> None:
    checkpoint = locate(str(tiny.whisper(tmp_path / "whisper")), tmp_path)
    with pytest.raises(InputError, match="cannot stop at 1"):
        load(checkpoint, CPU, torch.float32, decoder=True, last_layer=1)
    with pytest.raises(InputError, match="Bad context 'half'"):
        load(checkpoint, CPU, torch.float32, context="half")  # type: ignore[arg-type]


def test_every_family_keeps_its_states_alive(tmp_path: Path) -> None:
    """The tiny models must not be degenerate, or agreement with transformers would prove nothing."""
    for name, save in tiny.FAMILIES.items():
        if name == "whisper-128":
            continue
        folder = save(tmp_path / name)
        first, second = (states for states in own_states(_load(folder), [speech_like(0.5), speech_like(0.5, seed=9)]))
        for layer, values in first.items():
            assert 0.1 < values.std() < 100, (name, layer)
            assert values.std(axis=0).mean() > 0.02 * values.std(), (name, layer)
            assert abs(values - second[layer]).mean() > 0.02 * values.std(), (name, layer)
