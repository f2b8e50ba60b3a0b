"""Zero mean and unit variance of one clip, as the feature extractor of wav2vec 2.0 and its kin does."""

import numpy as np

from toolkit.audio import Samples

VARIANCE_FLOOR = 1e-7  # added to the variance, as transformers' Wav2Vec2FeatureExtractor does


def normalise(samples: Samples) -> Samples:
    """(x - mean) / sqrt(variance + 1e-7) over the clip's own samples, computed in float64.

    samples: (n_samples,) float32, before any padding: over padding it would be another number. Returns the same shape,
    float32. Source: `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm` of transformers.
    """
    exact = samples.astype(np.float64)
    exact -= exact.mean()
    exact /= np.sqrt(np.mean(np.square(exact)) + VARIANCE_FLOOR)
    return exact.astype(np.float32)
