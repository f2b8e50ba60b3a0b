"""Every family on a device that is not the CPU, with every operation looked at: tests/devices.py."""

from pathlib import Path

import pytest
import torch

from tests.devices import DEVICES, never_waiting
from tests.models.reference import BFLOAT16_BOUND, BOUND, relative_error
from tests.models.tiny import FAMILIES, calm, speech_like
from toolkit.models.checkpoint import locate
from toolkit.models.load import load
from toolkit.models.pooling import mean_and_std

CPU = torch.device("cpu")
EXACT, ROUNDED = (torch.float32, BOUND), (torch.bfloat16, BFLOAT16_BOUND)
CASES = [(name, "clip" if name == "whisper-128" else "full", *EXACT) for name in FAMILIES]
CASES += [(name, "full", *ROUNDED) for name in ("wav2vec2-group", "wav2vec2-adapters", "wavlm-stable")]
CASES += [("data2vec-audio", "full", *ROUNDED), ("whisper-80", "clip", *ROUNDED)]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize(("family", "context", "dtype", "bound"), CASES)
def test_every_layer_is_computed_and_pooled_there(
    tmp_path: Path, family: str, context: str, dtype: torch.dtype, bound: float, name: str
) -> None:
    whisper = family.startswith("whisper")
    folder = FAMILIES[family](tmp_path / family)
    checkpoint = locate(str(calm(folder)), tmp_path)
    clips = [speech_like(seconds, seed) for seed, seconds in enumerate((1.2, 0.7))]
    with DEVICES[name]() as device:
        encoder = load(checkpoint, device, dtype, context=context, decoder=whisper)  # type: ignore[arg-type]
        found = []
        with never_waiting(device):  # the host prepares the next batch while the device is at work
            for layer in encoder.states(clips):
                pooled = torch.stack(mean_and_std(layer.values, layer.lengths), dim=1)
                assert pooled.device == layer.values.device == device
                found.append(pooled)
        found = [pooled.cpu() for pooled in found]
    exact = load(checkpoint, CPU, torch.float32, context=context, decoder=whisper)  # type: ignore[arg-type]
    for pooled, layer in zip(found, exact.states(clips), strict=True):
        expected = torch.stack(mean_and_std(layer.values, layer.lengths), dim=1)
        for one, other in zip(pooled.numpy(), expected.numpy(), strict=True):
            assert relative_error(one, other) < bound, layer.name
