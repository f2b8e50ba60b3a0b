"""Feature extractors that transformers makes with torchaudio, without it.

PyPI's torchaudio is built for CUDA and cannot be imported next to a CPU's torch. What is needed of it are two mel
filter banks; transformers' own tools give both. Against torchaudio 2.11 they are off by 1e-6 (of the norm).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from toolkit.audio.decode import Samples

KALDI_FLOOR = float(np.finfo(np.float32).eps)


class Extractor:
    """What `load.feature_extractor_of` makes of preprocessor_config.json: its values, over the class's own."""

    defaults: ClassVar[dict[str, Any]]

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {**self.defaults, **{key: values[key] for key in self.defaults if values.get(key) is not None}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Extractor":
        return cls(values)


class GraniteSpeechFeatureExtractor(Extractor):
    """A log mel spectrum, no bin over 80 dB below the clip's loudest, two frames of 10 ms as one: (1, frames, 160)."""

    defaults: ClassVar = {"sampling_rate": 16_000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}

    def __init__(self, values: Mapping[str, Any]) -> None:
        nested = values.get("melspec_kwargs")  # where an extractor that was saved has them
        super().__init__({**values, **(nested if isinstance(nested, dict) else {})})
        rate, bins = self.values["sampling_rate"], self.values["n_fft"] // 2 + 1
        filters = mel_filter_bank(bins, self.values["n_mels"], 0.0, rate / 2, rate, None, "htk")
        self._filters = torch.from_numpy(filters).float().T
        self._window = torch.hann_window(self.values["win_length"])

    def __call__(self, clip: Samples, sampling_rate: int, return_tensors: str) -> dict[str, Tensor]:
        n_fft, hop, length = (self.values[key] for key in ("n_fft", "hop_length", "win_length"))
        bins = torch.stft(torch.from_numpy(clip), n_fft, hop, length, self._window, return_complex=True)
        levels = (self._filters @ bins.abs().square()).clamp(min=1e-10).log10().T
        scaled = torch.maximum(levels, levels.max() - 8.0) / 4 + 1
        return {"input_features": scaled[: len(scaled) // 2 * 2].reshape(1, -1, 2 * scaled.shape[1])}


class FunAsrNanoFeatureExtractor(Extractor):
    """Kaldi's filter bank, seven frames of 25 ms every 60 ms as one: (1, frames, 560)."""

    defaults: ClassVar = {
        "sampling_rate": 16_000, "feature_size": 80, "frame_length": 25, "frame_shift": 10, "num_frames_lfr": 7,
        "stride_lfr": 6, "window": "hamming",
    }  # fmt: skip

    def __call__(self, clip: Samples, sampling_rate: int, return_tensors: str) -> dict[str, Tensor]:
        bank = torch.from_numpy(kaldi_bank(clip, self.values)).float()
        stacked, step = self.values["num_frames_lfr"], self.values["stride_lfr"]
        left, frames = (stacked - 1) // 2, -(-len(bank) // step)
        places = torch.arange(frames)[:, None] * step + torch.arange(stacked) - left
        rows = bank[places.clamp(0, len(bank) - 1)].reshape(1, frames, -1)
        return {"input_features": rows, "input_features_mask": torch.ones(1, frames, dtype=torch.long)}


def kaldi_bank(clip: Samples, values: Mapping[str, Any]) -> npt.NDArray[np.floating[Any]]:
    """Kaldi's log mel filter bank without dither, (frames, bins): frames that are whole in the clip."""
    rate, bins = values["sampling_rate"], values["feature_size"]
    length, step = (values[key] * rate // 1000 for key in ("frame_length", "frame_shift"))
    n_fft = 1 << (length - 1).bit_length()
    found: npt.NDArray[np.floating[Any]] = spectrogram(
        np.asarray(clip, np.float64), window_function(length, values["window"], periodic=False), length, step, n_fft,
        power=2.0, center=False, preemphasis=0.97, remove_dc_offset=True, log_mel="log", mel_floor=KALDI_FLOOR,
        mel_filters=mel_filter_bank(n_fft // 2 + 1, bins, 20, rate / 2, rate, None, "kaldi", True),
    )  # fmt: skip
    return found.T
