import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.audio.conftest import ramp, wav_bytes
from toolkit.audio import decode, sequential
from toolkit.core.errors import AudioError

WriteSound = Callable[..., Path]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_rate_and_number_of_channels_gives_mono_at_16_khz(
    suffix: str, rate: int, channels: int, write_sound: WriteSound
) -> None:
    path = write_sound(f"a.{suffix}", seconds=0.7, rate=rate, channels=channels)
    clip = decode.decode(path)
    assert (clip.samples.dtype, clip.samples.ndim) == (np.float32, 1)
    assert clip.seconds == pytest.approx(0.7, abs=0.002)
    assert clip.flags == (("averaged",) if channels == 2 else ())
    reference = decode.decode(write_sound("reference.wav", seconds=0.7)).samples * (1 if channels == 1 else 0.85)
    heard = min(len(reference), len(clip.samples)) - 400
    likeness = np.corrcoef(reference[400:heard], clip.samples[400:heard])[0, 1]
    assert likeness > 0.98
    assert np.std(clip.samples) == pytest.approx(np.std(reference), rel=0.05)
    assert decode.header(path).seconds == pytest.approx(clip.seconds, abs=0.001)
    assert (decode.header(path).rate, decode.header(path).channels) == (rate, channels)


def test_samples_at_16_khz_are_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp()))
    expected = (ramp() * 32767).astype(np.int16) / np.float32(32768)
    assert np.array_equal(decode.decode(tmp_path / "a.wav").samples, expected.astype(np.float32))


def test_channels_are_averaged_or_chosen(tmp_path: Path) -> None:
    left, right = np.full(800, 0.25, dtype=np.float32), np.linspace(0, 0.5, 800, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    assert np.array_equal(decode.decode(tmp_path / "a.wav", channel=0).samples, left)
    assert np.array_equal(decode.decode(tmp_path / "a.wav", channel=1).samples, right)
    assert np.array_equal(decode.decode(tmp_path / "a.wav").samples, (left + right) / 2)
    for channel in (-1, 2):
        with pytest.raises(AudioError, match=rf"channel {channel} asked for, the file has 2 \(counted from 0\)"):
            decode.decode(tmp_path / "a.wav", channel=channel)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_a_segment_is_the_slice_of_the_whole(suffix: str, write_sound: WriteSound) -> None:
    """Also for MP3, where libsndfile's seeking is off by hundreds of samples."""
    path = write_sound(f"a.{suffix}", seconds=9)
    whole = decode.decode(path).samples
    for start, end in ((0.0, 0.5), (1.25, 3.0), (4.0, 4.0005), (8.0, 9.0), (5.0, None)):
        last = len(whole) if end is None else round(end * 16_000)
        segment = decode.decode(path, start, end)
        assert np.array_equal(segment.samples, whole[round(start * 16_000) : last])
        assert decode.header(path, start, end).seconds == segment.seconds


def test_the_hash_is_of_the_samples_not_of_the_file(tmp_path: Path) -> None:
    samples = (ramp() * 32767).astype(np.int16)
    for name, content in (("a.wav", samples), ("a.flac", samples), ("b.wav", samples[::-1])):
        soundfile.write(tmp_path / name, content, 16_000, subtype="PCM_16")
    one, same, other = (decode.decode(tmp_path / name) for name in ("a.wav", "a.flac", "b.wav"))
    assert one.sha256 == same.sha256 != other.sha256


@given(st.integers(1, 1_000), st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]))
def test_the_number_of_samples_follows_from_the_rate(tmp_path: Path, count: int, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", ramp(count), rate)
    expected = count * 16_000 / rate
    try:
        assert abs(len(decode.decode(tmp_path / "a.wav").samples) - expected) <= 1
    except AudioError as error:
        assert "is empty" in str(error) and expected < 1


def test_short_and_silent_clips_are_flagged(tmp_path: Path) -> None:
    for count, scale, flags in (
        (399, 1, ("short",)),
        (400, 1, ()),
        (800, 1e-4, ("near-silent",)),
        (10, 0, ("short", "near-silent")),
    ):
        soundfile.write(tmp_path / "a.wav", ramp(count) * scale, 16_000, subtype="FLOAT")
        assert decode.decode(tmp_path / "a.wav").flags == flags


@pytest.mark.parametrize(
    ("make", "flags"),
    [
        (lambda voice: np.full(1_600, 0.5), ("near-silent", "offset")),  # a constant
        (lambda voice: voice + 0.6, ("offset",)),
        (lambda voice: voice + 0.05, ()),
        (lambda voice: voice / np.abs(voice).max(), ()),  # only normalised
        (lambda voice: np.clip(8 * voice, -1, 1), ("clipped",)),
        (lambda voice: np.clip(8 * voice, -1, 0.2), ("clipped",)),  # from below
        (lambda voice: np.clip(8 * voice, -0.9, 0.9), ()),  # not at full scale
    ],
)
def test_offsets_and_clipped_samples_are_flagged(make: Any, flags: tuple[str, ...], tmp_path: Path) -> None:
    voice = 0.1 * np.random.default_rng(0).standard_normal(1_600)
    soundfile.write(tmp_path / "a.wav", make(voice), 16_000, subtype="FLOAT")
    assert decode.decode(tmp_path / "a.wav").flags == flags


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_channels_that_cancel_each_other_are_refused_unless_one_is_named(suffix: str, tmp_path: Path) -> None:
    caller, operator = 0.2 * np.random.default_rng(0).standard_normal((2, 48_000)).clip(-3, 3)
    path = tmp_path / f"a.{suffix}"
    for channels, cancel in (
        ((caller, -caller), True),
        ((caller, -0.7 * caller), True),
        ((caller, 0.2 * operator - caller), True),
        ((caller, 0.7 * operator - 0.7 * caller), False),  # a correlation of -0.7
        ((caller, operator), False),
        ((caller, 0 * caller), False),
        ((0 * caller, 1e-5 * caller), False),
        ((caller, *[0 * caller] * 3), False),
        ((caller, caller, -caller, -caller), True),
    ):
        if suffix == "mp3" and len(channels) > 2:
            continue
        soundfile.write(path, np.stack(channels, axis=1), 16_000)
        if cancel:
            with pytest.raises(AudioError, match=f"has {len(channels)} channels in anti-phase"):
                decode.decode(path)
        else:
            assert "averaged" in decode.decode(path).flags
        assert decode.decode(path, channel=0).flags in ((), ("near-silent",))


def test_a_streamed_wav_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(), size=0xFFFF_FFFF))
    assert len(decode.decode(tmp_path / "a.wav").samples) == 1600


def test_other_chunks_before_and_after_the_data_are_no_audio(tmp_path: Path) -> None:
    before = struct.pack("<4sI", b"odd ", 3) + b"abc\0" + struct.pack("<4sI", b"LIST", 4) + b"INFO"
    after = struct.pack("<4sI", b"LIST", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"a writer, v1.0"
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(), before=before, after=after))
    (tmp_path / "plain.wav").write_bytes(wav_bytes(ramp()))
    assert decode.decode(tmp_path / "a.wav").sha256 == decode.decode(tmp_path / "plain.wav").sha256


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [(1.0, None, "segment 1 to 1 s is beyond the end at 1 s"), (0.5, 1.2, "segment 0.5 to 1.2 s is beyond"),
     (0.5, 0.5, "holds no sample"), (0.5, 0.2, "holds no sample"), (-0.1, 0.5, "holds no sample")],
)  # fmt: skip
def test_segments_that_the_file_does_not_hold_are_refused(
    start: float, end: float | None, sentence: str, write_sound: WriteSound
) -> None:
    path = write_sound("a.wav", seconds=1)
    for read in (decode.decode, decode.header):
        with pytest.raises(AudioError, match=sentence):
            read(path, start, end)


def test_an_end_or_a_duration_may_be_a_little_off(write_sound: WriteSound) -> None:
    path = write_sound("a.wav", seconds=1)
    assert decode.decode(path, 0.5, 1.05).seconds == 0.5
    assert decode.decode(path, duration=1.05).seconds == 1
    assert decode.decode(path, 0.25, 0.5, duration=0.25).seconds == 0.25
    with pytest.raises(AudioError, match=r"lasts 1\.00 s, the manifest says 1\.20 s"):
        decode.decode(path, duration=1.2)


def test_windows_of_an_mp3_are_decoded_once_and_are_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.mp3"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, (144_000, 2)), 16_000)
    whole = {channel: decode.decode(path, channel=channel).samples for channel in (None, 0, 1)}
    monkeypatch.setattr(sequential, "BLOCK", 2**12)
    monkeypatch.setattr(sequential, "KEPT_BLOCKS", 8)
    opened: list[int] = []
    honest = sequential.Sequential.__init__

    def counted(self: sequential.Sequential, *rest: object) -> None:
        opened.append(1)
        honest(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sequential.Sequential, "__init__", counted)
    for channel in (None, 0, 1):
        expected = decode.decode(path, channel=channel).samples  # by these blocks
        np.testing.assert_allclose(expected, whole[channel], atol=1e-3)
        opened.clear()
        for start in (0.0, 0.5, 1.0, 4.0, 7.9):
            window = decode.decode(path, start, start + 1.0, channel).samples
            np.testing.assert_array_equal(window, expected[round(16_000 * start) : round(16_000 * (start + 1.0))])
        assert len(opened) == 1
        np.testing.assert_array_equal(decode.decode(path, 0.1, 0.2, channel).samples, expected[1600:3200])
        assert len(opened) == 2  # too far back
