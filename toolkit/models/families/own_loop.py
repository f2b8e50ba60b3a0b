"""Families with a loop of the toolkit's own: wav2vec 2.0 and its kin, and Whisper."""

from dataclasses import replace
from typing import Any

from toolkit.models.families.family import Family
from toolkit.models.files import CONFIG


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

ROWS = {
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
}
