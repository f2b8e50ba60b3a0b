"""What this toolkit is held to: plain transformers, one clip at a time, float32, all hidden states."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers

from tests.models.tiny import speech_like
from toolkit.audio.decode import RECEPTIVE_FIELD, SAMPLE_RATE, Samples, decode
from toolkit.models.encoder import Encoder

BOUND = 1e-5  # of the relative error, in float32
BFLOAT16_BOUND = 1e-2
WINDOW = 30 * SAMPLE_RATE


class Reference:
    """A checkpoint folder, loaded and run by transformers alone."""

    def __init__(self, folder: Path) -> None:
        transformers.utils.logging.disable_progress_bar()
        self.model = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32
        ).eval()
        self.feature_extractor = transformers.AutoFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
        self.is_whisper = self.model.config.model_type == "whisper"

    @torch.no_grad()
    def states(self, clip: Samples) -> dict[str, np.ndarray]:
        """{layer name: (own frames, width) float32}, decoder included."""
        if not self.is_whisper:
            values = self.feature_extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            values = torch.nn.functional.pad(values, (0, max(0, RECEPTIVE_FIELD - len(clip))))
            states = self.model(values, output_hidden_states=True).hidden_states
            return {f"encoder.{number}": state[0].numpy() for number, state in enumerate(states)}
        windows = [self._whisper(clip[start : start + WINDOW]) for start in range(0, len(clip), WINDOW)]
        return {name: np.concatenate([window[name] for window in windows]) for name in windows[0]}

    def _whisper(self, clip: Samples) -> dict[str, np.ndarray]:
        features = self.feature_extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        start = torch.tensor([[self.model.config.decoder_start_token_id]])
        output = self.model(features, decoder_input_ids=start, output_hidden_states=True, use_cache=False)
        own = math.ceil(len(clip) / 320)
        encoder = {f"encoder.{k}": state[0, :own].numpy() for k, state in enumerate(output.encoder_hidden_states)}
        decoder = {f"decoder.{k}": state[0].numpy() for k, state in enumerate(output.decoder_hidden_states)}
        return encoder | decoder


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what is expected, in float64."""
    assert found.shape == expected.shape
    difference = found.astype(np.float64) - expected.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


def own_states(encoder: Encoder, clips: Sequence[Samples]) -> list[dict[str, np.ndarray]]:
    """What an encoder gives for a batch, clip by clip: {layer name: (own frames, width) float32}."""
    found: list[dict[str, np.ndarray]] = [{} for _ in clips]
    for layer in encoder.states(clips):
        for clip, values, length in zip(found, layer.values, layer.lengths):
            clip[layer.name] = values[: int(length)].float().cpu().numpy()
    *_, last = (name for name in encoder.layer_names if name.startswith("encoder."))
    for clip, samples in zip(found, clips):
        assert tuple(clip) == encoder.layer_names
        assert len(clip[last]) == encoder.frames(len(samples))
    return found


def worst_error(found: Sequence[dict[str, np.ndarray]], expected: Sequence[dict[str, np.ndarray]]) -> float:
    """The largest relative error over all clips and layers; NaN if any is."""
    errors = [relative_error(mine[name], theirs[name]) for mine, theirs in zip(found, expected) for name in mine]
    return float(np.max(errors))


def recordings(folder: Path) -> list[Samples]:
    """Speech-like recordings of odd lengths, in every container, rate and channel count, written and decoded again."""
    rates = itertools.cycle((8_000, 16_000, 22_050, 44_100))
    formats = itertools.cycle(("wav", "flac", "ogg", "mp3"))
    clips = []
    for number, seconds in enumerate((0.11, 0.37, 0.613, 1.0, 1.777, 2.31, 3.003, 0.02)):
        rate, kind = next(rates), next(formats) if seconds > 0.1 else "wav"
        left = speech_like(seconds, seed=number, rate=rate)
        channels = left if number % 2 else np.stack([left, 0.5 * left[::-1]], axis=1)
        path = folder / f"{number}.{kind}"
        soundfile.write(path, channels, rate)
        clips.append(decode(path).samples)
    return clips
