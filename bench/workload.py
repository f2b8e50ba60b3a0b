"""What the extraction benchmarks run on: random checkpoints of real sizes, hotline-like clips, clocks, the machine."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers

from toolkit.audio.decode import Samples
from toolkit.core.matmul import linear
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.models.checkpoint import Checkpoint, inspect

RATES = (22_050, 16_000, 8_000)
MEDIAN_SECONDS, SPREAD, SHORTEST, LONGEST = 3.0, 0.7, 0.5, 20.0


def processor_seconds() -> float:
    """Of this process, all its threads, and the processes that decode for it (Linux)."""
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


CLOCKS = {"wall": time.perf_counter, "processor": processor_seconds}


def _whisper(width: int, layers: int, heads: int, mel_bins: int = 80) -> transformers.WhisperConfig:
    """The encoder's real size; the decoder, which no way here runs, of one layer to spare the disk."""
    return transformers.WhisperConfig(
        d_model=width,
        num_mel_bins=mel_bins,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=4 * width,
    )


CONFIGS: dict[str, Callable[[], Any]] = {
    "hubert-base": transformers.HubertConfig,
    "wav2vec2-base": transformers.Wav2Vec2Config,
    "wavlm-base-plus": transformers.WavLMConfig,
    "data2vec-audio-base": transformers.Data2VecAudioConfig,
    "xlsr-53-large": lambda: transformers.Wav2Vec2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    ),
    "whisper-small": lambda: _whisper(768, 12, 12),
    "whisper-medium": lambda: _whisper(1024, 24, 16),
    "whisper-large-v3": lambda: _whisper(1280, 32, 20, 128),
    "tiny": lambda: transformers.HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    ),
}


def checkpoint_of(name: str, folder: Path) -> Checkpoint:
    """A checkpoint of that model's size with random weights, made in `folder` if it is not there."""
    place = folder / f"random-{name}"
    if not place.is_dir():
        torch.manual_seed(0)
        config = CONFIGS[name]()
        model = transformers.AutoModel.from_config(config)
        whisper = config.model_type == "whisper"
        if whisper:
            extractor: Any = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        else:
            extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
        model.save_pretrained(place)
        extractor.save_pretrained(place)
    return inspect(place, place.name)


def voice(seconds: float, rate: int, generator: np.random.Generator) -> Samples:
    """Harmonics of a gliding pitch in syllables, with breath: (round(seconds * rate),) float32."""
    time_ = np.arange(round(seconds * rate)) / rate
    pitch = 110 * 2 ** generator.uniform(0, 1) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * time_))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = 0.1 + np.sin(2 * np.pi * generator.uniform(2, 4) * time_) ** 2
    return np.asarray(0.1 * syllables * tone + 0.005 * generator.standard_normal(len(time_)), dtype=np.float32)


def durations(count: int, generator: np.random.Generator) -> np.ndarray:
    """Seconds, (count,): like those of a hotline's clips."""
    return np.clip(MEDIAN_SECONDS * np.exp(SPREAD * generator.standard_normal(count)), SHORTEST, LONGEST)


def corpus_of(count: int, folder: Path) -> Manifest:
    """Hotline-like clips and their manifest, made in `folder` if they are not there; the same ones for a count."""
    if (folder / manifests.FILE_NAME).exists():
        return manifests.read(folder / manifests.FILE_NAME)
    generator = np.random.default_rng(0)
    seconds = durations(count, generator)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, length in enumerate(seconds):
        rate = RATES[number % len(RATES)]
        soundfile.write(folder / f"{number}.wav", voice(float(length), rate, generator), rate)
        rows.append((str(number), f"{number}.wav"))
    manifests.write(folder / manifests.FILE_NAME, ("id", "path"), rows)
    return manifests.read(folder / manifests.FILE_NAME)


def machine() -> str:
    """What the figures were measured on, without its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores {facts.get('model name', '')} ({' '.join(flags)}){gpu}; torch {torch.__version__} on "
        f"{torch.get_num_threads()} threads, transformers {transformers.__version__}"
    )


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of the products the toolkit makes: 1,500 frames through a feed-forward layer of width 768."""
    values, weight = (
        torch.randn(1500, 768, device=device, dtype=dtype),
        torch.randn(3072, 768, device=device, dtype=dtype),
    )
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(5):
            linear(values, weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - began) / 5)
    return 2 * values.shape[0] * weight.numel() / best / 1e9
