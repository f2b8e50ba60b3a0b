"""The precisions: which a device has, and what each gives of tiny backbones."""

import os

import pytest
import torch

from tests.devices import DEVICES
from tests.models.reference import BOUND, own_states, worst_error
from tests.models.tiny import FAMILIES, calm, speech_like
from toolkit.core import matmul
from toolkit.core.errors import InputError
from toolkit.core.matmul import FEW, KEPT
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.load import load
from toolkit.models.precision import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    ON_GPU,
    SPLIT_BFLOAT16,
    TF32,
    Precision,
    for_training,
    ladder,
    nearest,
)
from toolkit.models.whisper import Context

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NAMES = ("wav2vec2-group", "wav2vec2-stable", "wavlm-group", "whisper-80")
CLIPS = [speech_like(0.4), speech_like(1.3, seed=1), speech_like(0.7, seed=2)]


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"),
    [
        (True, True, (BFLOAT16, SPLIT_BFLOAT16, FLOAT32)),
        (False, True, (BFLOAT16, FLOAT32)),
        (False, False, (FLOAT32,)),
    ],
)
def test_auto_follows_the_cpu_and_says_why(
    amx: bool, avx512: bool, expected: tuple[Precision, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    rungs, reason = ladder("auto", CPU)
    assert rungs == expected and reason.startswith(f"{rungs[0].name}: ") and ("AMX" in reason) is (amx or not avx512)
    for name in ("bfloat16", "split-bfloat16"):
        assert ladder(name, CPU)[1] == f"{name} as asked for."
    assert for_training("auto", CPU)[0] == expected[0].dtype


@pytest.mark.parametrize(
    ("dtype", "amx", "kept"),
    [
        ("float32", True, FEW),
        ("bfloat16", True, "512"),
        ("split-bfloat16", True, "512"),
        ("auto", True, "512"),
        ("bfloat16", False, FEW),
    ],
)
def test_kernels_are_kept_where_compiling_them_is_dear(
    dtype: str, amx: bool, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    for name in KEPT:
        monkeypatch.setenv(name, FEW)
    ladder(dtype, CPU)
    assert [os.environ[name] for name in KEPT] == [kept, kept]


@pytest.mark.parametrize(
    ("capability", "expected", "training"),
    [
        ((6, 1), (FLOAT32,), torch.float32),
        ((7, 5), (FLOAT16, FLOAT32), torch.float32),
        ((8, 0), ON_GPU, torch.bfloat16),
    ],
)
def test_auto_follows_the_compute_capability(
    capability: tuple[int, int],
    expected: tuple[Precision, ...],
    training: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    rungs, reason = ladder("auto", CUDA)
    assert rungs == expected and reason.startswith(f"{rungs[0].name}: the device (compute capability ")
    assert for_training("auto", CUDA)[0] == training
    if TF32 in expected:
        assert ladder("tf32", CUDA)[0] == (TF32,)
    else:
        with pytest.raises(InputError, match=r"^Bad dtype 'tf32': the device \(compute capability .* float16 or floa"):
            ladder("tf32", CUDA)


@pytest.mark.parametrize(
    ("name", "device", "sentence"),
    [
        ("float64", CPU, "Bad dtype 'float64', expected one of .'auto', 'bfloat16', 'float16', 'tf32', "),
        (
            "float16",
            CPU,
            "Bad dtype 'float16', expected one of .'auto', 'bfloat16', 'split-bfloat16', 'float32'. on cp",
        ),
        ("tf32", CPU, "Bad dtype 'tf32', expected one of .* on cpu"),
        ("split-bfloat16", CUDA, "Bad dtype 'split-bfloat16', expected one of .* 'float16', 'tf32', 'float32'. on cud"),
    ],
)
def test_what_a_device_cannot_compute_is_refused(name: str, device: torch.device, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        ladder(name, device)


def test_what_another_device_computed_is_computed_in_float32_where_it_cannot_be() -> None:
    assert [nearest(name, CPU) for name in ("tf32", "float16", "bfloat16")] == ["float32", "float32", "bfloat16"]
    assert [nearest(name, CUDA) for name in ("tf32", "split-bfloat16")] == ["tf32", "float32"]


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = calm(FAMILIES[request.param](tmp_path_factory.mktemp("models") / request.param))
    return locate(str(folder), folder.parent)


def test_split_bfloat16_is_float32_to_its_bound_alone_and_in_a_batch(checkpoint: Checkpoint) -> None:
    exact, split = load(checkpoint, CPU, FLOAT32), load(checkpoint, CPU, SPLIT_BFLOAT16)
    alone = [own_states(split, [clip])[0] for clip in CLIPS]
    assert 1e-7 < worst_error(alone, own_states(exact, CLIPS)) < 3e-5
    assert worst_error(own_states(split, CLIPS), alone) < BOUND


# Of a clip in a batch from itself alone, and from float32. Both round, each its own sums.
@pytest.mark.parametrize(
    ("checkpoint", "precision", "batch", "exact"),
    [
        *((name, BFLOAT16, 5e-3, 1e-2) for name in NAMES),
        ("wav2vec2-group", FLOAT16, 1e-3, 2e-3),
        ("whisper-80", FLOAT16, 1e-3, 2e-3),
        ("wavlm-group", TF32, BOUND, BOUND),
    ],
    indirect=["checkpoint"],
    scope="module",
)
@pytest.mark.parametrize("name", DEVICES)
def test_on_a_device_each_precision_is_close_to_float32_and_to_itself_in_a_batch(
    checkpoint: Checkpoint, precision: Precision, batch: float, exact: float, name: str
) -> None:
    context: Context = "clip" if checkpoint.family.fixed_context else "full"
    expected = own_states(load(checkpoint, CPU, FLOAT32, context=context), CLIPS)
    with DEVICES[name]() as device:
        encoder = load(checkpoint, device, precision, context=context)
        assert torch.backends.cuda.matmul.allow_tf32 and not encoder.precision.split
        together = own_states(encoder, CLIPS)
        alone = [own_states(encoder, [clip])[0] for clip in CLIPS]
    if device.type == "cuda":  # whose products do round; the made-up device's are the CPU's
        batch, exact = max(batch, 1e-3), max(exact, 2e-3)
    assert worst_error(together, expected) < exact
    assert worst_error(together, alone) < batch
    load(checkpoint, CPU, FLOAT32)
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("onednn", [True, False])
def test_three_products_of_halves_are_one_in_float32(gelu: bool, onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not onednn:
        monkeypatch.setattr(matmul, "_onednn_is_there", lambda: False)
    generator = torch.Generator().manual_seed(0)
    values, weight = torch.randn(50, 96, generator=generator), torch.randn(64, 96, generator=generator)
    bias = torch.randn(64, generator=generator)
    exact = values.double() @ weight.double().T + bias
    exact = torch.nn.functional.gelu(exact) if gelu else exact
    wide = matmul.weight_side_by_side(weight)
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    found = matmul.split_linear(matmul.side_by_side(values), wide, bias, gelu=gelu)
    assert found.dtype == torch.float32 and 1e-7 < (found - exact).norm() / exact.norm() < 1e-5
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]


def test_whether_split_products_are_faster_is_measured_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_seconds", lambda run: 0.5 if "split_linear" in run.__code__.co_names else 1.0)
    for amx in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)  # noqa: B023
        matmul.split_is_faster.cache_clear()
        assert matmul.split_is_faster() is amx
    matmul.split_is_faster.cache_clear()
