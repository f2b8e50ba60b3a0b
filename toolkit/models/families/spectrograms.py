"""Families that read a spectrogram of the clip's own length, or a picture of it."""

from dataclasses import replace

from toolkit.models.families.bases import MEL, MODELS, OURS
from toolkit.models.families.family import Feed
from toolkit.models.files import PREPROCESSOR

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
GEMMA = replace(MEL, prefix="model.audio_tower.", section="audio_config", frame_rate=25.0)
GEMMA_3N = Feed(
    "audio_mel", "audio_mel_mask", masked_is_true=True, prepare=f"{OURS}:gemma3n", shortest=560, longest=30.0
)
GRANITE = replace(
    MEL,
    model=f"{MODELS}.granite_speech.modeling_granite_speech:GraniteSpeechCTCEncoder",
    prefix="model.encoder.",
    feature_extractor="toolkit.models.filterbanks:GraniteSpeechFeatureExtractor",
    feed=Feed("hidden_states", "", given=("input_features", "")),
    section="encoder_config",
    layers="num_layers",
    width="hidden_dim",
)

ROWS = {
    "wav2vec2-bert": replace(
        MEL,
        model="transformers:Wav2Vec2BertModel",
        prefix="wav2vec2_bert.",
        feature_extractor="transformers:SeamlessM4TFeatureExtractor",
        mel_bins=(PREPROCESSOR, "feature_size"),
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
    "canary": replace(PARAKEET, prefix="model.encoder."),
    "cohere_asr": replace(
        PARAKEET,
        prefix="model.encoder.",
        feature_extractor="transformers:CohereAsrFeatureExtractor",
        feed=Feed("input_features", longest=30.0),  # a longer clip comes in pieces
        preprocessor={"max_audio_clip_s": 35.0, "overlap_chunk_second": 5.0},
    ),
    "lasr_ctc": replace(
        MEL,
        model="transformers:LasrEncoder",
        prefix="encoder.",
        feature_extractor="transformers:LasrFeatureExtractor",
        feed=Feed("input_features", shortest=2_320),
        section="encoder_config",
        frame_rate=25.0,
    ),
    "granite_speech": GRANITE,
    "granite_speech_plus": replace(
        GRANITE, model=f"{MODELS}.granite_speech_plus.modeling_granite_speech_plus:GraniteSpeechPlusCTCEncoder"
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
