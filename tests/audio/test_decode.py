import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from toolkit.audio import decode, sequential
from toolkit.core.errors import AudioError

WriteSound = Callable[..., Path]


def wav_bytes(
    samples: np.ndarray, rate: int = 16_000, size: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A 16-bit mono WAV made by hand; size: what the data chunk claims; before, after: other chunks."""
    data = (samples * 32767).astype("<i2").tobytes()
    claimed = len(data) if size is None else size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + form + before + struct.pack("<4sI", b"data", claimed) + data + after
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFF_FFFF)) + body


def ramp(count: int = 1600) -> np.ndarray:
    return np.linspace(-0.5, 0.5, count)


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


def test_what_cannot_be_opened_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "raw.raw").write_bytes(bytes(1000))
    started = time.monotonic()
    for name, sentence in (
        ("absent.wav", "cannot be read: No such file"),
        ("fifo.wav", "is not a regular file"),
        (".", "is not a regular file"),
        ("loop.wav", "cannot be read"),
        ("empty.wav", "is empty: it has no bytes"),
        ("text.wav", "cannot be decoded: Format not recognised"),
        ("raw.raw", "cannot be decoded"),
    ):
        for look in (decode.decode, decode.header):
            with pytest.raises(AudioError, match=sentence) as caught:
                look(tmp_path / name)
            assert str(tmp_path) not in str(caught.value)
    with pytest.raises(AudioError, match="is not a regular file"):
        decode.decode(Path("/dev/zero"))
    assert time.monotonic() - started < 5


def test_no_message_tells_the_path_even_of_odd_names(tmp_path: Path) -> None:
    path = tmp_path / 'it\'s "odd" \\ é.flac'
    path.write_bytes(b"fLaC" + bytes(50))
    with pytest.raises(AudioError) as caught:
        decode.decode(path)
    assert tmp_path.name not in str(caught.value)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.98, -1])
def test_a_truncated_file_is_refused(suffix: str, kept: float, write_sound: WriteSound) -> None:
    path = write_sound(f"a.{suffix}", seconds=2)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept > 0 else -1])
    with pytest.raises(AudioError, match=r"ends early|cannot be decoded"):
        decode.decode(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@given(position=st.floats(0, 1), patch=st.binary(min_size=1, max_size=40))
def test_a_damaged_file_is_refused_or_whole(
    suffix: str, position: float, patch: bytes, write_sound: WriteSound, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    if not path.exists():
        write_sound(path.name)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    at = int(position * len(whole))
    path.write_bytes((whole[:at] + patch + whole[at + len(patch) :])[: len(whole)])
    try:
        samples = decode.decode(path).samples
    except AudioError as error:
        assert str(tmp_path) not in str(error)
    else:
        assert np.isfinite(samples).all()


@given(position=st.floats(0, 0.999), change=st.sampled_from(["flip", "zero", "cut out"]))
def test_a_damaged_ogg_never_comes_out_short(
    position: float, change: str, write_sound: WriteSound, tmp_path: Path
) -> None:
    """libsndfile leaves damaged pages out in silence."""
    path = tmp_path / "a.ogg"
    if not path.exists():
        write_sound(path.name, seconds=3)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    at = int(position * len(content))
    if change == "flip":
        content[at] ^= 16
    elif change == "zero":
        content[at : at + 200] = bytes(len(content[at : at + 200]))
    else:
        del content[at : at + 200]
    path.write_bytes(content)
    try:
        assert len(decode.decode(path).samples) == 48_000  # zeros over zeros
    except AudioError as error:
        assert "damaged" in str(error) or "ends early" in str(error) or "decoded" in str(error)


def mp3_frames(content: bytes) -> list[int]:
    """Where the frames of an MPEG-1 layer III file at 44.1 kHz begin."""
    rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    starts = [0]
    while starts[-1] + 4 < len(content):
        flags = content[starts[-1] + 2]
        starts.append(starts[-1] + 144_000 * rates[flags >> 4] // 44_100 + (flags >> 1 & 1))
    return starts


def test_an_mp3_without_a_length_header_is_whole_or_refused(tmp_path: Path) -> None:
    """libsndfile guesses its length from the first bit rate, and reads 0.8 of 3 s in one case here."""
    time_axis = np.arange(3 * 44_100) / 44_100
    sound = np.sin(2 * np.pi * 300 * time_axis) * time_axis / 10
    for mode, lasts in (("CONSTANT", 3.0), ("VARIABLE", None)):
        path = tmp_path / "a.mp3"
        soundfile.write(path, sound, 44_100, format="MP3", bitrate_mode=mode, compression_level=0.5)
        assert decode.decode(path).seconds == pytest.approx(3, abs=0.001)
        content = path.read_bytes()
        path.write_bytes(b"ID3\x04\0\0\0\0\0\x05hello" + content[mp3_frames(content)[1] :])
        if lasts:
            assert decode.decode(path).seconds == pytest.approx(lasts, abs=0.05)
        else:
            with pytest.raises(AudioError, match="its header lets only"):
                decode.decode(path)


def test_a_wav_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(), size=3202))
    with pytest.raises(AudioError, match="its header promises 2 bytes more"):
        decode.decode(tmp_path / "a.wav")


def test_a_wav_without_a_data_chunk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp())[:36])
    with pytest.raises(AudioError, match="no 'data' chunk"):
        decode.decode(tmp_path / "a.wav")


def test_a_streamed_wav_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(), size=0xFFFF_FFFF))
    assert len(decode.decode(tmp_path / "a.wav").samples) == 1600


def test_other_chunks_before_and_after_the_data_are_no_audio(tmp_path: Path) -> None:
    before = struct.pack("<4sI", b"odd ", 3) + b"abc\0" + struct.pack("<4sI", b"LIST", 4) + b"INFO"
    after = struct.pack("<4sI", b"LIST", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"a writer, v1.0"
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(), before=before, after=after))
    (tmp_path / "plain.wav").write_bytes(wav_bytes(ramp()))
    assert decode.decode(tmp_path / "a.wav").sha256 == decode.decode(tmp_path / "plain.wav").sha256


def test_an_rf64_is_read_and_its_truncation_seen(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.rf64", ramp(), 16_000, format="RF64")
    path = (tmp_path / "a.rf64").rename(tmp_path / "a.wav")
    assert len(decode.decode(path).samples) == 1600
    if path.read_bytes()[:4] == b"RF64":
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(AudioError, match="promises 100 bytes more"):
            decode.decode(path)


def test_formats_whose_truncation_cannot_be_seen_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.au", ramp(), 16_000)
    with pytest.raises(AudioError, match="is of the format AU, expected one of"):
        decode.decode(tmp_path / "a.au")


def forged_flac(path: Path, frames: int) -> None:
    """The number of samples in a FLAC's STREAMINFO: the low 36 bits of its bytes 10 to 17."""
    content = bytearray(path.read_bytes())
    field = int.from_bytes(content[18:26], "big") >> 36 << 36 | frames
    content[18:26] = field.to_bytes(8, "big")
    path.write_bytes(content)


def test_a_forged_header_is_refused_before_anything_is_allocated(write_sound: WriteSound) -> None:
    path = write_sound("a.flac")
    forged_flac(path, 2**36 - 1)
    for look in (decode.decode, decode.header):
        with pytest.raises(AudioError, match="whole frames for 8000 of 68719476735 samples"):
            look(path)
    with pytest.raises(AudioError, match="whole frames for 8000 of"):
        decode.decode(path, start=100, end=200)


def test_hours_of_silence_in_a_small_file_are_refused_by_the_header(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8_000, 1, "PCM_16") as file:
        for _ in range(61):
            file.write(np.zeros(60 * 8_000, dtype=np.int16))
    assert (tmp_path / "a.flac").stat().st_size < 200_000
    started = time.monotonic()
    with pytest.raises(AudioError, match=r"claims 3,660 s, expected at most 3600 s a clip; use `start` and `end`"):
        decode.decode(tmp_path / "a.flac")
    assert time.monotonic() - started < 1
    assert decode.decode(tmp_path / "a.flac", start=3_600, end=3_601).seconds == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [None, 1])
def test_samples_that_are_no_numbers_are_refused(bad: float, channel: int | None, tmp_path: Path) -> None:
    samples = np.zeros((800, 2), dtype=np.float32)
    samples[500, 1] = bad
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        decode.decode(tmp_path / "a.wav", channel=channel)
    assert len(decode.decode(tmp_path / "a.wav", channel=0).samples) == 800


def test_integers_stored_as_floats_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", ramp() * 32767, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="as large as 16,384, expected -1 to 1"):
        decode.decode(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_a_file_without_samples_is_refused(suffix: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match=r"is empty|cannot be decoded|ends early"):
        decode.decode(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(
    ("rate", "channels", "sentence"),
    [(3_999, 1, "3999 samples per"), (192_001, 1, "192001 samples"), (16_000, 33, "33 channels")],
)
def test_absurd_rates_and_channels_are_refused(rate: int, channels: int, sentence: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((100, channels)), rate)
    with pytest.raises(AudioError, match=sentence):
        decode.decode(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [(1.0, None, "segment 1 to 1 s is beyond the end at 1 s"), (0.5, 1.2, "segment 0.5 to 1.2 s is beyond"),
     (0.5, 0.5, "holds no sample"), (0.5, 0.2, "holds no sample"), (-0.1, 0.5, "holds no sample")],
)  # fmt: skip
def test_segments_that_the_file_does_not_hold_are_refused(
    start: float, end: float | None, sentence: str, write_sound: WriteSound
) -> None:
    path = write_sound("a.wav", seconds=1)
    for look in (decode.decode, decode.header):
        with pytest.raises(AudioError, match=sentence):
            look(path, start, end)


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
