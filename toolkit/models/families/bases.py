"""What rows start from."""

from dataclasses import replace

from toolkit.models.families.family import Family, Feed

MODELS, OURS = "transformers.models", "toolkit.models.preparers"
SAMPLES = Family(
    "",
    "",
    encoder="toolkit.models.generic:GenericEncoder",
    trainable="toolkit.models.trainable_generic:TrainableGeneric",
    feed=Feed(),
)
SPEECH = replace(SAMPLES, convolution_norm="none")  # samples, by convolutions of another kind than wav2vec 2.0's
MEL = replace(  # reads a spectrogram
    SPEECH, feed=Feed("input_features", shortest=560), normalises_input=True
)
