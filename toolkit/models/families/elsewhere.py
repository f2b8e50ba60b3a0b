"""Families that transformers does not have, by modules of ours; `toolkit models convert` makes their folders."""

from dataclasses import replace

from toolkit.models.families.bases import MEL, SAMPLES
from toolkit.models.families.family import Feed

ROWS = {
    "emotion2vec": replace(
        SAMPLES,
        model="toolkit.models.emotion2vec:Emotion2vecModel",
        feature_extractor="toolkit.models.emotion2vec:Emotion2vecFeatureExtractor",
        feed=Feed(states="layers.*"),
        convolution_norm="layer",
    ),
    "sensevoice": replace(
        MEL,
        model="toolkit.models.sensevoice:SenseVoiceModel",
        feature_extractor="toolkit.models.sensevoice:SenseVoiceFeatureExtractor",
        feed=Feed("input_features", "input_features_mask", states="layers.*", first=1),
        frame_rate=16.7,
    ),
}
