"""All that is known of each architecture, a row each, in files by kind. Free of torch.

A row's name is the `model_type` of config.json. An installed package adds one by an entry point: docs/extending.md.
"""

from toolkit.core.registry import Registry
from toolkit.models.families import elsewhere, own_loop, samples, spectrograms, texts, whisper_like, wideband
from toolkit.models.families.bases import MEL, SAMPLES, SPEECH
from toolkit.models.families.family import ConvolutionNorm, Family, Feed
from toolkit.models.families.own_loop import WAV2VEC2
from toolkit.models.families.whisper_like import HEARS_30

__all__ = [
    "FAMILIES", "GENERIC", "HEARS_30", "MEL", "SAMPLES", "SPEECH", "TEXTS", "WAV2VEC2", "ConvolutionNorm", "Family",
    "Feed",
]  # fmt: skip

# Each is held to plain transformers, one clip at a time, by a tiny checkpoint in tests/models/zoo.py.
GENERIC = {**samples.ROWS, **spectrograms.ROWS, **whisper_like.ROWS, **wideband.ROWS, **elsewhere.ROWS}
# They hear nothing, so that no stage that decodes audio for a model is given one.
TEXTS = texts.ROWS
FAMILIES = Registry("family", "families", Family, {**own_loop.ROWS, **GENERIC})
