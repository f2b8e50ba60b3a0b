"""Families that read Whisper's spectrogram."""

from dataclasses import replace

from toolkit.models.families.bases import MEL, MODELS, OURS
from toolkit.models.families.family import Feed

HEARS_30 = replace(  # Whisper's relatives
    MEL,
    feature_extractor="transformers:WhisperFeatureExtractor",
    prefix="model.audio_tower.",
    feed=Feed("input_features", mask="", states="layers.*", fixed=30.0),
    section="audio_config",
    normalises_input=False,
)

OMNI = replace(  # clips after one another
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

ROWS = {
    "qwen2_audio": replace(
        HEARS_30,
        model="transformers:Qwen2AudioEncoder",
        layers="encoder_layers",
        width="d_model",
    ),
    "voxtral": replace(HEARS_30, model="transformers:VoxtralEncoder", feed=Feed("input_features", mask="", fixed=30.0)),
    "audioflamingo3": replace(HEARS_30, model="transformers:AudioFlamingo3Encoder", feed=FLAMINGO),
    "musicflamingo": replace(HEARS_30, model="transformers:AudioFlamingo3Encoder", feed=FLAMINGO),
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
}
