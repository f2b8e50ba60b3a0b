"""Resemblyzer's speaker encoder (GE2E: three LSTM layers over 40 mel bins, Apache-2.0), its frames layer by layer.

    pip install --no-deps --target weights 'Resemblyzer==0.1.4'
    PYTHONPATH=weights toolkit extract --model examples/resemblyzer_speaker.py:speaker

`voice` instead of `speaker` gives the one embedding a clip that it was trained to give, which tells two voices of a
call apart (docs/segment.md).

Only the package's weights are read; nothing of its code runs, so that what that needs is not needed.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from toolkit.audio.decode import Samples
from toolkit.models.own_code import OwnModel

BINS, WIDTH, LAYERS = 40, 256, 3
WINDOW, STEP = 400, 160  # samples: 25 ms, 10 ms
FILTERS = mel_filter_bank(WINDOW // 2 + 1, BINS, 0.0, 8_000.0, 16_000, norm="slaney", mel_scale="slaney")


class Speaker(nn.Module):
    """One LSTM for each layer, so that each is a module whose output can be had."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(WIDTH if number else BINS, WIDTH, batch_first=True) for number in range(LAYERS)
        )

    def forward(self, mel: Tensor) -> Tensor:
        for layer in self.layers:
            mel, _ = layer(mel)
        return mel


class Voice(Speaker):
    """The embedding: the last frame's state, projected, and the same for every frame of the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())

    def forward(self, mel: Tensor) -> Tensor:
        states = super().forward(mel)
        embedded: Tensor = self.embedding(states[:, -1:].expand_as(states))
        return embedded


def spectrogram_of(clip: Samples) -> dict[str, Tensor]:
    """As the package makes it: powers in mel bins, without a logarithm. It would take silence out before."""
    window = window_function(WINDOW, "hann")
    mel = spectrogram(clip, window, WINDOW, STEP, WINDOW, power=2.0, pad_mode="constant", mel_filters=FILTERS)
    return {"mel": torch.from_numpy(mel.T.astype(np.float32))[None]}


def speaker() -> OwnModel:
    return _loaded(Speaker(), "layers.*")


def voice() -> OwnModel:
    return _loaded(Voice(), "embedding")


def _loaded(module: Speaker, layers: str) -> OwnModel:
    package = find_spec("resemblyzer")
    if package is None or package.origin is None:
        raise ImportError("install Resemblyzer==0.1.4 for its weights, see the top of this file")
    weights = Path(package.origin).with_name("pretrained.pt")
    saved = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]  # noqa: TID251 - no code in it runs
    for number, layer in enumerate(module.layers):
        own = {name: saved[f"lstm.{name[:-1]}{number}"] for name in layer.state_dict()}
        layer.load_state_dict(own)
    if isinstance(module, Voice):
        module.embedding[0].load_state_dict({name: saved[f"linear.{name}"] for name in ("weight", "bias")})
    return OwnModel(module, spectrogram_of, layers=layers)
