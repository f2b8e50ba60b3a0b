"""Tiny random checkpoints of every family, saved as the folders that `toolkit` reads, and speech-like signals."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from toolkit.audio.decode import SAMPLE_RATE, Samples

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (24, 16, 16, 16, 16, 16, 20),
    "num_conv_pos_embedding_groups": 4,
}
LAYER_NORM: dict[str, Any] = {"feat_extract_norm": "layer", "conv_bias": True}
POSITIONS: dict[str, Any] = {"num_conv_pos_embeddings": 32}
STABLE: dict[str, Any] = {**LAYER_NORM, "do_stable_layer_norm": True}


def wav2vec2(folder: Path, seed: int = 0, normalises: bool = True, **config: Any) -> Path:
    """wav2vec2-base's shape of config (group norm) unless `config` says otherwise; see LAYER_NORM and STABLE."""
    return _waveform_model(folder, transformers.Wav2Vec2Model, seed, normalises, num_conv_pos_embeddings=32, **config)


def hubert(folder: Path, seed: int = 0, normalises: bool = True, **config: Any) -> Path:
    return _waveform_model(folder, transformers.HubertModel, seed, normalises, num_conv_pos_embeddings=32, **config)


def wavlm(folder: Path, seed: int = 0, normalises: bool = False, **config: Any) -> Path:
    sizes = {"num_conv_pos_embeddings": 32, "num_buckets": 32, "max_bucket_distance": 60}
    return _waveform_model(folder, transformers.WavLMModel, seed, normalises, **sizes, **config)


def data2vec(folder: Path, seed: int = 0, normalises: bool = True, **config: Any) -> Path:
    sizes = {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}
    return _waveform_model(folder, transformers.Data2VecAudioModel, seed, normalises, **sizes, **config)


def whisper(folder: Path, seed: int = 0, mel_bins: int = 80, **config: Any) -> Path:
    """Encoder and decoder of 2 layers each, over the full 30 s."""
    sizes = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "vocab_size": 60,
        "pad_token_id": 50,
        "bos_token_id": 50,
        "eos_token_id": 50,
        "decoder_start_token_id": 51,
        "max_target_positions": 16,
    }
    model = transformers.WhisperModel(transformers.WhisperConfig(num_mel_bins=mel_bins, **{**sizes, **config}))
    return save(folder, model, transformers.WhisperFeatureExtractor(feature_size=mel_bins), seed)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "wav2vec2-group": wav2vec2,
    "wav2vec2-layer": lambda folder: wav2vec2(folder, **LAYER_NORM),
    "wav2vec2-stable": lambda folder: wav2vec2(folder, **STABLE),
    "wav2vec2-adapters": lambda folder: wav2vec2(folder, adapter_attn_dim=8, **STABLE),
    "hubert-group": hubert,
    "hubert-stable": lambda folder: hubert(folder, **STABLE),
    "hubert-batch-norm": lambda folder: hubert(folder, conv_pos_batch_norm=True, feat_proj_layer_norm=False),
    "wavlm-group": wavlm,
    "wavlm-stable": lambda folder: wavlm(folder, normalises=True, **STABLE),
    "data2vec-audio": data2vec,
    "unispeech-group": lambda folder: _waveform_model(folder, transformers.UniSpeechModel, **POSITIONS),
    "unispeech-sat-stable": lambda folder: _waveform_model(
        folder, transformers.UniSpeechSatModel, **POSITIONS, **STABLE
    ),
    "whisper-80": whisper,
    "whisper-128": lambda folder: whisper(folder, mel_bins=128),
}


def _waveform_model(folder: Path, kind: Any, seed: int = 0, normalises: bool = True, **config: Any) -> Path:
    model = kind(kind.config_class(**{**SIZES, **config}))
    return save(folder, model, transformers.Wav2Vec2FeatureExtractor(do_normalize=normalises), seed)


def save(folder: Path, model: Any, feature_extractor: Any, seed: int) -> Path:
    randomise(model, seed)
    with _quietly():
        model.save_pretrained(folder)
        if hasattr(feature_extractor, "save_pretrained"):
            feature_extractor.save_pretrained(folder)
        else:  # one of ours, in place of transformers' own, which needs torchaudio
            values = {"feature_extractor_type": type(feature_extractor).__name__, **feature_extractor.values}
            (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return folder


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that keep signals alive: products keep the variance, norms differ by channel, attention is peaked."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("weight.original0"):  # the length of a positional filter
                weight.copy_(noise.abs() / math.sqrt(weight.numel()) + 0.2)
            elif weight.ndim >= 2:
                peaked = 2.0 if "q_proj" in name or "k_proj" in name else 1.0
                fan_in = weight.shape[1:].numel() if "embed" not in name else 4
                weight.copy_(noise * peaked / math.sqrt(fan_in))
            elif "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.2 * noise)
            else:
                weight.copy_(0.1 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def calm(folder: Path) -> Path:
    """The same checkpoint with less peaked attention and layers that add half: as in trained ones, the stream leads.

    What bfloat16 rounds is then not amplified from layer to layer.
    """
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name, weight in weights.items():
        if re.search(r"(q_proj|k_proj|out_proj|output_dense|fc2)\.weight$", name):
            weights[name] = 0.5 * weight
    save_file(weights, file, metadata={"format": "pt"})
    return folder


class _quietly:
    """transformers draws a progress bar even for three layers."""

    def __enter__(self) -> None:
        transformers.utils.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.utils.logging.enable_progress_bar()


def speech_like(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> Samples:
    """Harmonics of a gliding pitch in syllables, with noise: (round(seconds * rate),) float32, at least one sample."""
    generator = np.random.default_rng(seed)
    time = np.arange(max(1, round(seconds * rate))) / rate
    pitch = 110 * 2 ** generator.uniform(0, 1) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tilt = generator.uniform(0.5, 1.5)
    voice = sum(np.sin(k * phase + generator.uniform(0, 6)) / k**tilt for k in range(1, 16))
    syllables = 0.1 + np.sin(2 * np.pi * generator.uniform(2, 4) * time + generator.uniform(0, 3)) ** 2
    noise = generator.normal(scale=0.05, size=len(time))
    return (0.1 * syllables * voice + 0.1 * noise).astype(np.float32)
