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
        fixed: seconds that the model hears whatever the clip lasts; 0: the clip's own.
        packed: clips lie behind one another, in one tensor of (mel bins, frames).
        special: tokens in front of others that are patches of a spectrogram; these are put into the order of time.
        shortest: samples; a shorter clip is padded with zeros.
        longest: seconds, behind which the extractor would cut without a word; 0: it does not.
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
    shortest: int = 400
    longest: float = 0.0


@dataclass(frozen=True)
class Family:
    """One architecture. Classes and functions are named as "module:attribute".

    Attributes:
        model: of transformers, the base model, without a head.
        prefix: what a checkpoint with a head puts before the names of the base model's weights.
        feature_extractor: of transformers, or of that shape.
        encoder: (model, feature extractor, device, dtype, last layer) -> `encoder.Encoder`.
        trainable: (model, feature extractor, layer) -> a module that is a `trainable.Trainable`; empty for a family
            that cannot be fine-tuned.
        fixed_context: its encoder hears windows of fixed length, behind which a decoder can be run: `encoder` also gets
            `context` and `decoder`, `trainable` gets `context`.
        feed: how transformers' own forward is fed; None for a family with an encoder of its own.
        section: of config.json, dotted, that is the model's own config; "" for all of it.
        layers: key of that section.
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
    feed: Feed | None = None
    section: str = ""
    layers: str = "num_hidden_layers"
    width: str = "hidden_size"
    frame_rate: float = 50.0
    decoder_layers: str = ""
    mel_bins: tuple[str, str] | None = None
    convolution_norm: ConvolutionNorm | None = None
    normalises_input: bool | None = None
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    config_defect: Callable[[Any], str] = _fits
    preprocessor_defect: Callable[[Any, Any], str] = _fits


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
PARAKEET = replace(
    MEL,
    model="transformers:ParakeetEncoder",
    prefix="encoder.",
    feature_extractor="transformers:ParakeetFeatureExtractor",
    feed=Feed("input_features"),
    section="encoder_config",
    frame_rate=12.5,
)
SEAMLESS = replace(
    MEL,
    feature_extractor="transformers:SeamlessM4TFeatureExtractor",
    prefix="speech_encoder.",
    feed=Feed("input_features", shortest=560, states="encoder.layers.*"),
    layers="speech_encoder_layers",
)
HEARS_30 = replace(  # Whisper's kin
    MEL,
    feature_extractor="transformers:WhisperFeatureExtractor",
    prefix="model.audio_tower.",
    feed=Feed("input_features", mask="", states="layers.*", fixed=30.0),
    section="audio_config",
    normalises_input=False,
)

OMNI = replace(  # clips behind one another
    HEARS_30,
    prefix="thinker.audio_tower.",
    feed=Feed("input_features", "", prepare=f"{OURS}:packed", states="layers.*", packed=True),
    section="thinker_config.audio_config",
    layers="encoder_layers",
    width="d_model",
)
FLAMINGO = Feed(
    "input_features",
    "input_features_mask",
    ("input_features", "attention_mask"),
    call={"return_attention_mask": True},
    states="layers.*",
    fixed=30.0,
)
GEMMA = replace(MEL, prefix="model.audio_tower.", section="audio_config", frame_rate=25.0)
GEMMA_3N = Feed(
    "audio_mel", "audio_mel_mask", masked_is_true=True, prepare=f"{OURS}:gemma3n", shortest=560, longest=30.0
)

# Each is held to plain transformers, one clip at a time, by a tiny checkpoint in tests/models/zoo.py.
GENERIC = {
    "wav2vec2-bert": replace(
        MEL,
        model="transformers:Wav2Vec2BertModel",
        prefix="wav2vec2_bert.",
        feature_extractor="transformers:SeamlessM4TFeatureExtractor",
        mel_bins=(PREPROCESSOR, "feature_size"),
    ),
    "wav2vec2-conformer": replace(SAMPLES, model="transformers:Wav2Vec2ConformerModel", prefix="wav2vec2_conformer."),
    "sew": replace(SAMPLES, model="transformers:SEWModel", prefix="sew.", feed=Feed(shortest=720), frame_rate=25.0),
    "sew-d": replace(
        SAMPLES, model="transformers:SEWDModel", prefix="sew_d.", feed=Feed(shortest=720), frame_rate=25.0
    ),
    "speecht5": replace(
        SAMPLES,
        model=f"{MODELS}.speecht5.modeling_speecht5:SpeechT5EncoderWithSpeechPrenet",
        prefix="speecht5.encoder.",
        feature_extractor="transformers:SpeechT5FeatureExtractor",
        feed=Feed(states="wrapped_encoder.layers.*"),
        layers="encoder_layers",
    ),
    "moonshine": replace(
        SPEECH,
        model=f"{MODELS}.moonshine.modeling_moonshine:MoonshineEncoder",
        prefix="model.encoder.",
        feed=Feed(shortest=895),
        layers="encoder_num_hidden_layers",
        normalises_input=False,
        frame_rate=41.7,
    ),
    "moonshine_streaming": replace(
        SPEECH,
        model=f"{MODELS}.moonshine_streaming.modeling_moonshine_streaming:MoonshineStreamingEncoder",
        prefix="model.encoder.",
        feed=Feed(prepare=f"{OURS}:by_80_samples"),
        section="encoder_config",
    ),
    "seamless_m4t": replace(SEAMLESS, model=f"{MODELS}.seamless_m4t.modeling_seamless_m4t:SeamlessM4TSpeechEncoder"),
    "seamless_m4t_v2": replace(
        SEAMLESS, model=f"{MODELS}.seamless_m4t_v2.modeling_seamless_m4t_v2:SeamlessM4Tv2SpeechEncoder"
    ),
    "speech_to_text": replace(
        MEL,
        model=f"{MODELS}.speech_to_text.modeling_speech_to_text:Speech2TextEncoder",
        prefix="model.encoder.",
        feature_extractor="transformers:Speech2TextFeatureExtractor",
        layers="encoder_layers",
        width="d_model",
        frame_rate=25.0,
    ),
    "parakeet_ctc": PARAKEET,
    "parakeet_rnnt": PARAKEET,
    "parakeet_tdt": PARAKEET,
    "lasr_ctc": replace(
        MEL,
        model="transformers:LasrEncoder",
        prefix="encoder.",
        feature_extractor="transformers:LasrFeatureExtractor",
        feed=Feed("input_features", shortest=2_320),
        section="encoder_config",
        frame_rate=25.0,
    ),
    "granite_speech": replace(
        MEL,
        model=f"{MODELS}.granite_speech.modeling_granite_speech:GraniteSpeechCTCEncoder",
        prefix="model.encoder.",
        feature_extractor="toolkit.models.filterbanks:GraniteSpeechFeatureExtractor",
        feed=Feed("hidden_states", "", given=("input_features", "")),
        section="encoder_config",
        layers="num_layers",
        width="hidden_dim",
    ),
    "fun_asr_nano": replace(
        MEL,
        model=f"{MODELS}.fun_asr_nano.modeling_fun_asr_nano:FunAsrNanoEncoder",
        prefix="model.audio_tower.",
        feature_extractor="toolkit.models.filterbanks:FunAsrNanoFeatureExtractor",
        feed=Feed("input_features", "input_features_mask", first=1),
        section="audio_config",
        frame_rate=16.7,
    ),
    "qwen2_audio": replace(
        HEARS_30,
        model="transformers:Qwen2AudioEncoder",
        layers="encoder_layers",
        width="d_model",
    ),
    "voxtral": replace(HEARS_30, model="transformers:VoxtralEncoder", feed=Feed("input_features", mask="", fixed=30.0)),
    "audioflamingo3": replace(HEARS_30, model="transformers:AudioFlamingo3Encoder", feed=FLAMINGO),
    "glmasr": replace(
        HEARS_30,
        model=f"{MODELS}.glmasr.modeling_glmasr:GlmAsrEncoder",
        feed=Feed("input_features", "", call={"padding": "do_not_pad", "truncation": False}),
    ),
    "qwen2_5_omni": replace(OMNI, model=f"{MODELS}.qwen2_5_omni.modeling_qwen2_5_omni:Qwen2_5OmniAudioEncoder"),
    "qwen3_omni_moe": replace(
        OMNI,
        model=f"{MODELS}.qwen3_omni_moe.modeling_qwen3_omni_moe:Qwen3OmniMoeAudioEncoder",
        frame_rate=13.0,
    ),
    "qwen3_asr": replace(
        OMNI,
        model=f"{MODELS}.qwen3_asr.modeling_qwen3_asr:Qwen3ASREncoder",
        prefix="model.audio_tower.",
        feature_extractor="transformers:Qwen3ASRFeatureExtractor",
        feed=Feed("input_features", "input_features_mask", prepare=f"{OURS}:qwen3_asr", states="layers.*", packed=True),
        section="audio_config",
        frame_rate=13.0,
    ),
    "voxtral_realtime": replace(
        MEL,
        model=f"{MODELS}.voxtral_realtime.modeling_voxtral_realtime:VoxtralRealtimeEncoder",
        prefix="model.audio_tower.",
        feature_extractor=f"{MODELS}.voxtral_realtime.feature_extraction_voxtral_realtime:VoxtralRealtimeFeatureExtractor",
        feed=Feed("input_features", "", shortest=400),
        section="audio_config",
    ),
    "phi4_multimodal": replace(
        MEL,
        model="transformers:Phi4MultimodalAudioModel",
        prefix="model.embed_tokens_extend.audio_embed.encoder.",
        feature_extractor="transformers:Phi4MultimodalFeatureExtractor",
        feed=Feed("hidden_states", "mask", prepare=f"{OURS}:phi4", states="encoders.*"),
        section="audio_config",
        layers="num_blocks",
        frame_rate=12.5,
    ),
    "gemma3n": replace(
        GEMMA,
        model="transformers:Gemma3nAudioEncoder",
        feature_extractor="transformers:Gemma3nAudioFeatureExtractor",
        feed=replace(GEMMA_3N, states="conformer.*"),
        layers="conf_num_hidden_layers",
    ),
    "gemma4": replace(
        GEMMA,
        model=f"{MODELS}.gemma4.modeling_gemma4:Gemma4AudioModel",
        feature_extractor=f"{MODELS}.gemma4.feature_extraction_gemma4:Gemma4AudioFeatureExtractor",
        feed=Feed("input_features", prepare=f"{OURS}:gemma4", states="layers.*", longest=30.0),
    ),
    "audio-spectrogram-transformer": replace(
        MEL,
        model="transformers:ASTModel",
        prefix="audio_spectrogram_transformer.",
        feature_extractor="transformers:ASTFeatureExtractor",
        feed=Feed(mask="", fixed=10.24, special=2),
        normalises_input=False,  # by constants of its training
        frame_rate=118.4,  # 12 bands of 10 tokens
    ),
}

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
        "unispeech": replace(WAV2VEC2, model="transformers:UniSpeechModel", prefix="unispeech."),
        "unispeech-sat": replace(WAV2VEC2, model="transformers:UniSpeechSatModel", prefix="unispeech_sat."),
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
        **GENERIC,
    },
)
