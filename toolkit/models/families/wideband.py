"""Families that hear more than 16,000 samples a second: codecs, and CLAP."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.models.families.bases import SPEECH
from toolkit.models.families.family import Feed

CODECS = "toolkit.models.codecs"


def _encodec_layers(config: Mapping[str, Any]) -> int:
    """A convolution; for each ratio residual blocks, an activation and a convolution; an LSTM, and two more."""
    return 4 + len(config.get("upsampling_ratios", "8542")) * (2 + int(config.get("num_residual_layers", 1)))


def _dac_layers(config: Mapping[str, Any]) -> int:
    return len(config.get("downsampling_ratios", "2488"))


def _clap_layers(config: Mapping[str, Any]) -> int:
    return len(config.get("depths", "2262"))


def _defect(config: Any) -> str:
    if (channels := getattr(config, "audio_channels", 1)) != 1:
        return f"is for {channels} channels, expected 1"
    if getattr(config, "enable_fusion", False):
        return "joins pieces of long recordings (enable_fusion), expected a CLAP that does not"
    return ""


WIDE = replace(SPEECH, normalises_input=False, config_defect=_defect)
CODEC = Feed(mask="", varies=True, channels_first=True, first=1, shortest=2_400)

CLAP = Feed(
    "input_features", "", call={"padding": "repeatpad", "truncation": "rand_trunc"},
    states="audio_encoder.layers.*", fixed=10.0, rates=(48_000,), varies=True, whole=True,
)  # fmt: skip

ROWS = {
    "encodec": replace(
        WIDE,
        model=f"{CODECS}:EncodecEncoderModel",
        feature_extractor="transformers:EncodecFeatureExtractor",
        feed=replace(CODEC, states="encoder.layers.*", rates=(24_000,)),
        layers=_encodec_layers,
        frame_rate=75.0,
    ),
    "dac": replace(
        WIDE,
        model=f"{CODECS}:DacEncoderModel",
        feature_extractor="transformers:DacFeatureExtractor",
        feed=replace(CODEC, states="encoder.block.*", rates=(16_000, 24_000, 44_100), shortest=4_096),
        layers=_dac_layers,
        frame_rate=50.0,
    ),
    "mimi": replace(
        WIDE,
        model="transformers.models.mimi.modeling_mimi:MimiEncoderModel",
        feature_extractor="transformers:EncodecFeatureExtractor",
        feed=Feed(mask="", states="encoder_transformer.layers.*", rates=(24_000,), shortest=3_840),
        frame_rate=25.0,
    ),
    "clap": replace(
        WIDE,
        model="transformers:ClapAudioModel",
        prefix="audio_model.",
        feature_extractor="transformers:ClapFeatureExtractor",
        feed=CLAP,
        section="audio_config",
        layers=_clap_layers,
        frame_rate=6.4,  # of the last layer, bands of frequencies too
    ),
}
