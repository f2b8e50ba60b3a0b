"""torchfcpe's pitch model (six convolution blocks of 512 over 128 log-mel bins, MIT), its frames layer by layer.

    pip install --no-deps --target weights 'torchfcpe==0.0.4'
    PYTHONPATH=weights toolkit extract --model examples/torchfcpe_pitch.py:pitch

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

BINS, WIDTH, LAYERS = 128, 512, 6
WINDOW, STEP = 1_024, 160  # samples: 64 ms, 10 ms
FILTERS = mel_filter_bank(WINDOW // 2 + 1, BINS, 0.0, 8_000.0, 16_000, norm="slaney", mel_scale="slaney")
# What the package calls the parts that are used here.
NAMES = {"input_stack.": "stack.", "net.encoder_layers.": "layers.", ".conformer.net": ".net", ".4.conv.": ".4."}


class Block(nn.Module):
    """A conformer's convolution, without its attention."""

    def __init__(self) -> None:
        super().__init__()
        inner = 2 * WIDTH
        self.net = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Identity(),  # a transposition there, which keeps the numbers of the weights' names
            nn.Conv1d(WIDTH, 2 * inner, 1),
            nn.GLU(1),
            nn.Conv1d(inner, inner, 31, padding=15, groups=inner),
            nn.SiLU(),
            nn.Conv1d(inner, WIDTH, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        return states + self.net[1:](self.net[0](states).transpose(1, 2)).transpose(1, 2)


class Pitch(nn.Module):
    """Free of the output layer, which gives pitches."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(
            nn.Conv1d(BINS, WIDTH, 3, padding=1),
            nn.GroupNorm(4, WIDTH),
            nn.LeakyReLU(),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1),
        )
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, mel: Tensor) -> Tensor:
        states = self.stack(mel.transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            states = layer(states)
        return states


def spectrogram_of(clip: Samples) -> dict[str, Tensor]:
    """As the package makes it: the logarithm of magnitudes in mel bins, a frame for each whole step."""
    padded = np.pad(clip, (WINDOW - STEP) // 2, mode="reflect")
    waves = spectrogram(padded, window_function(WINDOW, "hann"), WINDOW, STEP, WINDOW, center=False, power=None)
    mel = np.sqrt(np.abs(waves) ** 2 + 1e-9).T @ FILTERS
    return {"mel": torch.from_numpy(np.log(np.maximum(mel, 1e-5)).astype(np.float32))[None]}


def pitch() -> OwnModel:
    package = find_spec("torchfcpe")
    if package is None or package.origin is None:
        raise ImportError("install torchfcpe==0.0.4 for its weights, see the top of this file")
    weights = Path(package.origin).parent / "assets" / "fcpe_c_v001.pt"
    loaded = torch.load(weights, map_location="cpu", weights_only=True)["model"]  # noqa: TID251 - no code in it runs
    saved = {}
    for name, weight in loaded.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        saved[name] = weight
    module = Pitch()
    module.load_state_dict({name: saved[name] for name in module.state_dict()})
    return OwnModel(module, spectrogram_of, layers="layers.*", shortest=WINDOW)
