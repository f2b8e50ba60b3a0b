"""What a row of the families says. Free of torch: what needs it is named, and loaded when used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ConvolutionNorm = Literal["group", "layer", "none"]


def _fits(*given: Any) -> str:
    return ""


@dataclass(frozen=True)
class Feed:
    """How transformers' own forward is fed, for a family that runs by it (`generic.GenericEncoder`).

    Attributes:
        features, mask: keywords of the forward; "" where it takes no mask.
        given: what these two are called in what the feature extractor returns, where that differs.
        masked_is_true: True in the mask means that nothing is there.
        call: what the extractor is called with, besides the clip and its rate.
        prepare: (extractor, clip) -> keywords of the forward, where the call is of another kind. Else what the
            extractor's own mask leaves out is cut off.
        states: names of the modules whose outputs are the states, a star for one part of a name; "" for those that
            transformers itself records as `hidden_states`, the last one as it gives it.
        first: the first layer that is kept; 1 where what enters the layers is of another width.
        fixed: seconds that the model takes whatever the clip lasts; 0: the clip's own.
        packed: clips follow one another, in one tensor of (mel bins, frames).
        special: tokens in front of others that are patches of a spectrogram; these are put into the order of time.
        rates: samples a second that a checkpoint of the family may ask for, by its own preprocessor.
        varies: widths and frames a second differ by layer, which are in the store one by one.
        whole: every state is about the whole input, a short clip being repeated.
        channels_first: states are (batch, width, frames).
        shortest: samples; a shorter clip is padded with zeros.
        longest: seconds, after which the extractor would cut without a word; 0: it does not.
    """

    features: str = "input_values"
    mask: str = "attention_mask"
    given: tuple[str, str] | None = None
    masked_is_true: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)
    prepare: str = ""
    states: str = ""
    first: int = 0
    fixed: float = 0.0
    packed: bool = False
    special: int = 0
    rates: tuple[int, ...] = (16_000,)
    varies: bool = False
    whole: bool = False
    channels_first: bool = False
    shortest: int = 400
    longest: float = 0.0

    @property
    def rate(self) -> int:
        """Samples a second: of a checkpoint's, the one there is."""
        return self.rates[0]


@dataclass(frozen=True)
class Family:
    """One architecture. Classes and functions are named as "module:attribute".

    Attributes:
        model: of transformers, the base model, without a head.
        prefix: what a checkpoint with a head puts before the names of the base model's weights.
        feature_extractor: of transformers, or of that shape.
        encoder: (model, feature extractor, device, precision, last layer) -> `encoder.Encoder`.
        trainable: (model, feature extractor, layer) -> a module that is a `trainable.Trainable`; empty for a family
            that cannot be fine-tuned.
        fixed_context: its encoder takes windows of fixed length, after which a decoder can be run: `encoder` also gets
            `context` and `decoder`, `trainable` gets `context`.
        reads: it reads text, not audio.
        feed: how transformers' own forward is fed; None for a family with an encoder of its own.
        section: of config.json, dotted, that is the model's own config; "" for all of it.
        layers: key of that section, or a function of it.
        width: key of that section.
        frame_rate: states per second.
        decoder_layers: key of config.json; empty for a family without a decoder.
        mel_bins: file and key that say how many; None for a model that reads samples.
        convolution_norm: None where `feat_extract_norm` of config.json says it.
        normalises_input: None where `do_normalize` of the preprocessor says it.
        preprocessor: values that it must have where it has the keys.
        config_defect: of transformers' config object, what would be computed wrongly, as "has ..., expected ...", or
            "".
        preprocessor_defect: the same of a feature extractor next to its config.
    """

    model: str
    prefix: str
    feature_extractor: str = "transformers:Wav2Vec2FeatureExtractor"
    encoder: str = "toolkit.models.wav2vec2:Wav2Vec2Encoder"
    trainable: str = "toolkit.models.trainable_wav2vec2:TrainableWav2Vec2"
    fixed_context: bool = False
    reads: bool = False
    feed: Feed | None = None
    section: str = ""
    layers: str | Callable[[Mapping[str, Any]], int] = "num_hidden_layers"
    width: str = "hidden_size"
    frame_rate: float = 50.0
    decoder_layers: str = ""
    mel_bins: tuple[str, str] | None = None
    convolution_norm: ConvolutionNorm | None = None
    normalises_input: bool | None = None
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    config_defect: Callable[[Any], str] = _fits
    preprocessor_defect: Callable[[Any, Any], str] = _fits
