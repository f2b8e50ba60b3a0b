"""All that is known of each architecture, a row each. Free of torch: what needs it is named, and loaded when used.

A row's name is the `model_type` of config.json. An installed package adds one by an entry point: docs/extending.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from toolkit.core.registry import Registry
from toolkit.models.files import CONFIG, PREPROCESSOR

ConvolutionNorm = Literal["group", "layer", "none"]


def _fits(*given: Any) -> str:
    return ""


@dataclass(frozen=True)
class Family:
    """One architecture. Classes and functions are named as "module:attribute".

    Attributes:
        model: of transformers, the base model, without a head.
        prefix: what a checkpoint with a head puts before the names of the base model's weights.
        feature_extractor: of transformers, or of that shape.
        encoder: (model, feature extractor, device, dtype, last layer) -> `encoder.Encoder`; empty for a family that is
            listed and fetched, but not run yet.
        trainable: (model, feature extractor, layer) -> a module that is a `trainable.Trainable`.
        fixed_context: its encoder hears windows of fixed length, behind which a decoder can be run: `encoder` also gets
            `context` and `decoder`, `trainable` gets `context`.
        layers: key of config.json.
        width: key of config.json.
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
    layers: str = "num_hidden_layers"
    width: str = "hidden_size"
    decoder_layers: str = ""
    mel_bins: tuple[str, str] | None = None
    convolution_norm: ConvolutionNorm | None = None
    normalises_input: bool | None = None
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    config_defect: Callable[[Any], str] = _fits
    preprocessor_defect: Callable[[Any, Any], str] = _fits

    @property
    def ready(self) -> bool:
        """Whether it can be run, not only fetched."""
        return bool(self.encoder)


def _convolutions_defect(config: Any) -> str:
    for number, (kernel, stride) in enumerate(zip(config.conv_kernel, config.conv_stride)):
        if not (1 <= stride <= kernel and (number == 0 or kernel <= 2 * stride)):
            return (
                f"has a convolution of kernel {kernel} and stride {stride}, expected a stride from 1 to the kernel"
                + (", and at least half of it" if number else "")
            )
    return ""


def _wavlm_defect(config: Any) -> str:
    if not 1 <= config.num_buckets // 4 < config.max_bucket_distance:
        return f"has {config.num_buckets} buckets of distances up to {config.max_bucket_distance}, expected 4 or more"
    return _convolutions_defect(config)


def _start_token_defect(config: Any) -> str:
    start, tokens = config.decoder_start_token_id, config.vocab_size
    return "" if 0 <= start < tokens else f"starts the decoder with token {start}, expected one of {tokens:,}"


def _spectrogram_defect(feature_extractor: Any, config: Any) -> str:
    """Where a feature extractor gives other spectrograms than the encoder takes."""
    for key in ("sampling_rate", "n_fft", "hop_length", "chunk_length"):
        if type(found := getattr(feature_extractor, key)) is not int:
            return f"says {key} is {found!r}, expected a whole number"
    given = (int(feature_extractor.feature_size), int(feature_extractor.nb_max_frames))
    taken = (int(config.num_mel_bins), 2 * int(config.max_source_positions))
    if given != taken:
        return (
            f"gives {given[0]} mel bins and {given[1]} frames, {CONFIG} takes {taken[0]} and {taken[1]}; expected the "
            "two files of one checkpoint"
        )
    return ""


WAV2VEC2 = Family("transformers:Wav2Vec2Model", "wav2vec2.", config_defect=_convolutions_defect)

FAMILIES = Registry(
    "family",
    "families",
    Family,
    {
        "wav2vec2": WAV2VEC2,
        "hubert": replace(WAV2VEC2, model="transformers:HubertModel", prefix="hubert."),
        "wavlm": replace(WAV2VEC2, model="transformers:WavLMModel", prefix="wavlm.", config_defect=_wavlm_defect),
        "data2vec-audio": replace(  # its convolutions always take the layer norm
            WAV2VEC2, model="transformers:Data2VecAudioModel", prefix="data2vec_audio.", convolution_norm="layer"
        ),
        "wav2vec2-bert": Family(
            "transformers:Wav2Vec2BertModel",
            "wav2vec2_bert.",
            feature_extractor="transformers:SeamlessM4TFeatureExtractor",
            encoder="",
            trainable="",
            mel_bins=(PREPROCESSOR, "feature_size"),
            convolution_norm="none",
            normalises_input=True,  # over each mel bin
        ),
        "whisper": Family(
            "transformers:WhisperModel",
            "model.",
            feature_extractor="transformers:WhisperFeatureExtractor",
            encoder="toolkit.models.whisper:WhisperEncoder",
            trainable="toolkit.models.trainable_whisper:TrainableWhisper",
            fixed_context=True,
            layers="encoder_layers",
            width="d_model",
            decoder_layers="decoder_layers",
            mel_bins=(CONFIG, "num_mel_bins"),
            convolution_norm="none",
            normalises_input=False,  # only where a caller asks its feature extractor to
            preprocessor={"dither": 0.0, "padding_value": 0.0, "padding_side": "right"},
            config_defect=_start_token_defect,
            preprocessor_defect=_spectrogram_defect,
        ),
    },
)


def ready() -> list[str]:
    """The families that can be run."""
    return [name for name, family in FAMILIES.items() if family.ready]
