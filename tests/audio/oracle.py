"""FFmpeg as a program of its own, of another version than PyAV's: writes every container, and counts samples."""

import os
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile

EXPERIMENTAL = ("-strict", "-2")
VIDEO = ("-f", "lavfi", "-i", "color=size=16x16:rate=10", "-shortest", "-c:v", "mpeg4")
PATIENCE_SECONDS = 10
SOUNDS = ((16_000, 1), (8_000, 1), (48_000, 2))


@cache
def program() -> str:
    """The path of the one that the development extra brings."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def version() -> str:
    return _said("-version").split()[2].partition("-")[0]


def encoders() -> list[str]:
    """Every audio encoder that the program has."""
    lines = _said("-encoders").partition("------\n")[2].splitlines()
    return [line.split()[1] for line in lines if line.strip().startswith("A")]


def muxers() -> list[str]:
    """Every container that the program writes."""
    lines = _said("-muxers").partition("--\n")[2].splitlines()
    return [line.split()[1] for line in lines if "E" in line[:4]]


def write(path: Path, sound: Path, *options: str, piped: bool = False) -> bool:
    """Whether the program wrote this file with these options; piped: without ever going back in it."""
    words = [program(), "-v", "quiet", "-nostdin", "-y", "-i", str(sound), *options, *EXPERIMENTAL]
    with Path(os.devnull).open("wb") if not piped else path.open("wb") as out:
        try:
            done = subprocess.run([*words, "-" if piped else str(path)], stdout=out, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:  # a few encoders never end in a container that is not theirs
            return False
    return done.returncode == 0 and path.is_file() and path.stat().st_size > 0


def samples(path: Path) -> int:
    """Per channel, of the first audio stream, as the program decodes it at its own rate; 0 where it does not."""
    words = [program(), "-v", "quiet", "-nostdin", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-f", "f32le", "-"]
    return len(subprocess.run(words, capture_output=True, timeout=60).stdout) // 4


def seconds(path: Path) -> Fraction:
    """What `samples` counts, at the rate that the program gives the stream."""
    words = [program(), "-v", "quiet", "-nostdin", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-c:a", "pcm_f32le"]
    wav = subprocess.run([*words, "-f", "wav", "-"], capture_output=True, timeout=60).stdout
    return Fraction(samples(path), int.from_bytes(wav[24:28], "little") or 1)


def sounds(folder: Path, seconds: float = 1.5, wanted: Iterable[tuple[int, int]] = SOUNDS) -> list[Path]:
    """WAVs of noise that glides, of these rates and channels."""
    made = []
    for rate, channels in wanted:
        time = np.arange(round(seconds * rate)) / rate
        voice = 0.2 * np.sin(2 * np.pi * 200 * time * (1 + time / 9)) + np.random.default_rng(0).normal(
            0, 0.02, len(time)
        )
        made.append(folder / f"sound-{rate}-{channels}.wav")
        soundfile.write(made[-1], np.stack([voice * (1 - 0.3 * number) for number in range(channels)], axis=1), rate)
    return made


def _said(word: str) -> str:
    return subprocess.run([program(), "-hide_banner", word], capture_output=True, text=True, check=True).stdout
