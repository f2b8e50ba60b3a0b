"""Families that read samples."""

from dataclasses import replace

from toolkit.models.families.bases import MODELS, OURS, SAMPLES, SPEECH
from toolkit.models.families.family import Feed

ROWS = {
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
}
