"""Whisper's log-mel spectrogram, computed where the clip is and filled with its constant where only padding is."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.audio.decode import Samples
from toolkit.models.encoder import waveforms

POWER_FLOOR = 1e-10  # below it the logarithm is cut; what silence and padding give
DYNAMIC_RANGE = 8.0  # powers of ten below the clip's maximum; what is deeper is lifted to it


class LogMel:
    """The log-mel spectrogram of a checkpoint's own WhisperFeatureExtractor, for many clips at once, on the device.

    The feature extractor pads each clip to 30 s. Frames that see nothing but padding hold the power floor, lifted, as
    all others, to the clip's maximum less 8: a constant that needs no transform. As the floor is the least that any
    frame can hold, the maximum is the clip's own.
    """

    def __init__(self, feature_extractor: Any, device: torch.device) -> None:
        self.hop: int = feature_extractor.hop_length
        self.window_samples: int = feature_extractor.n_samples
        self.frames: int = feature_extractor.nb_max_frames
        self.mel_bins: int = feature_extractor.feature_size
        self._n_fft: int = feature_extractor.n_fft
        self._window = torch.hann_window(self._n_fft, device=device)
        self._filters = torch.from_numpy(np.asarray(feature_extractor.mel_filters, dtype=np.float32).T.copy()).to(
            device
        )
        self._device = device

    def __call__(self, clips: Sequence[Samples], frames: int | None = None) -> Tensor:
        """clips: each (n_samples,) float32 at 16 kHz, at most 30 s. Returns (batch, mel_bins, frames) float32.

        frames: how many of the 3000 (10 ms each) to return from the start; all by default.
        """
        frames = self.frames if frames is None else frames
        with torch.inference_mode():
            power = self._power(clips)
            spectrogram = self._filters @ power
            spectrogram = spectrogram.clamp_(min=POWER_FLOOR).log10_()
            floor = spectrogram.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE
            computed = spectrogram[..., :frames]
            missing = frames - computed.shape[-1]
            if missing > 0:
                computed = F.pad(computed, (0, missing), value=math.log10(POWER_FLOOR))
            lifted: Tensor = (torch.maximum(computed, floor) + 4.0) / 4.0
            return lifted

    def _power(self, clips: Sequence[Samples]) -> Tensor:
        """(batch, n_fft / 2 + 1, frames), for the frames that see a sample of the longest clip."""
        longest = max(len(clip) for clip in clips)
        if longest > self.window_samples:
            raise ValueError(f"a clip has {longest} samples, expected at most {self.window_samples}")
        # Enough zeros after the longest clip that the mirrored end is zero, as it is in 30 s; or 30 s itself.
        reach = longest + self._n_fft // 2 + 1
        length = min(self.window_samples, max(self._n_fft, -(-reach // self.hop) * self.hop))
        spectrum = torch.stft(
            waveforms(clips, (len(clips), length), self._device),
            self._n_fft,
            self.hop,
            window=self._window,
            return_complex=True,
        )
        real, imaginary = spectrum[..., :-1].real, spectrum[..., :-1].imag
        return torch.addcmul(real.square(), imaginary, imaginary)  # a third of the time of abs(), which takes a root
