"""Files that are refused: damaged, cut short, forged, or holding no sound."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.audio.conftest import mp3_frames, ramp, wav_bytes
from tests.conftest import WriteSound
from toolkit.audio import decode
from toolkit.core.errors import AudioError


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
        for function in (decode.decode, decode.header):
            with pytest.raises(AudioError, match=sentence) as caught:
                function(tmp_path / name)
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
    for read in (decode.decode, decode.header):
        with pytest.raises(AudioError, match="whole frames for 8000 of 68719476735 samples"):
            read(path)
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
