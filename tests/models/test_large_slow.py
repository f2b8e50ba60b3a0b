"""The large models' real configurations with random weights: every layer against transformers, for one short clip."""

import gc
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.models.reference import BOUND, Reference, own_states, worst_error
from tests.models.tiny import speech_like
from toolkit.models.checkpoint import locate
from toolkit.models.load import load

WHISPER_LARGE_V3 = transformers.WhisperConfig(
    d_model=1280,
    encoder_layers=32,
    decoder_layers=32,
    encoder_attention_heads=20,
    decoder_attention_heads=20,
    encoder_ffn_dim=5120,
    decoder_ffn_dim=5120,
    num_mel_bins=128,
    vocab_size=51866,
    decoder_start_token_id=50258,
)
XLSR_53_LARGE = transformers.Wav2Vec2Config(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    feat_extract_norm="layer",
    conv_bias=True,
    do_stable_layer_norm=True,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "feature_extractor", "parameters"),
    [
        (XLSR_53_LARGE, transformers.Wav2Vec2FeatureExtractor(do_normalize=True), 0.3e9),
        (WHISPER_LARGE_V3, transformers.WhisperFeatureExtractor(feature_size=128), 1.5e9),
    ],
    ids=["xlsr-53-large", "whisper-large-v3"],
)
def test_every_layer_of_a_large_model_is_what_transformers_gives(
    config: Any, feature_extractor: Any, parameters: float, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    assert _save_random(folder, config, feature_extractor) >= parameters
    clip = speech_like(0.73, seed=1)
    reference = Reference(folder)
    expected = reference.states(clip)
    is_whisper = reference.is_whisper
    del reference
    gc.collect()
    encoder = load(locate(str(folder), tmp_path), torch.device("cpu"), torch.float32, decoder=is_whisper)
    assert len(encoder.layer_names) == (66 if is_whisper else 25)
    assert worst_error(own_states(encoder, [clip]), [expected]) < BOUND


def _save_random(folder: Path, config: Any, feature_extractor: Any) -> int:
    """Saves float16 weights, to spare the disk; returns how many there are."""
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config, dtype=torch.float16)
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.01)
            else:
                fan_in = weight.shape[1:].numel() if "original0" not in name else 1
                weight.normal_(std=1 / math.sqrt(fan_in), generator=generator)
    count = sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(folder)
    feature_extractor.save_pretrained(folder)
    return count
