"""What some forwards take of one clip, where the extractor's call is of another kind than its fellows'."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.audio.decode import SAMPLE_RATE, Samples

MOONSHINE_FRAME = 80  # samples


def by_80_samples(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    """Moonshine (streaming) folds samples into frames of 80; its mask marks those after the clip."""
    found = extractor(
        clip, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True, pad_to_multiple_of=MOONSHINE_FRAME,
        return_attention_mask=True,
    )  # fmt: skip
    return {name: found[name] for name in ("input_values", "attention_mask")}


def packed(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    """Qwen's omni models take the spectrograms of all clips one after the other, and how long each is."""
    found = extractor(clip, sampling_rate=SAMPLE_RATE, padding="do_not_pad", truncation=False, return_tensors="pt")
    features = found["input_features"][0]
    return {"input_features": features, "feature_lens": torch.tensor([features.shape[1]])}


def qwen3_asr(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    """Its encoder takes whole chunks, padded, and packs what the mask shows."""
    found = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
    (mask,) = (name for name in found if "mask" in name)
    return {"input_features": found["input_features"], "input_features_mask": found[mask]}


def phi4(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    """Phi-4 takes its features under another name, and a mask of bool."""
    features = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")["audio_input_features"]
    return {"hidden_states": features, "mask": torch.ones(features.shape[:2], dtype=torch.bool)}


def gemma3n(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    """Gemma 3n's mask is True where nothing is."""
    features, mask = _gemma(extractor, clip)
    return {"audio_mel": features, "audio_mel_mask": ~mask}


def gemma4(extractor: Any, clip: Samples) -> dict[str, Tensor]:
    features, mask = _gemma(extractor, clip)
    return {"input_features": features, "attention_mask": mask}


def _gemma(extractor: Any, clip: Samples) -> tuple[Tensor, Tensor]:
    """Features and their mask, up to the clip's own end."""
    found = extractor([np.asarray(clip)], return_tensors="pt", padding=True, pad_to_multiple_of=None)
    mask = found["input_features_mask"].bool()
    frames = int(mask.sum())
    return found["input_features"][:, :frames], mask[:, :frames]
