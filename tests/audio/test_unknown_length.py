"""WAV and FLAC written into a pipe, which never learnt their length, and an MP3 in a WAV: whole, or refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.audio import oracle
from tests.audio.conftest import mp3_frames, ramp, wav_bytes
from toolkit.audio import decode, decode_pool
from toolkit.core.errors import AudioError

UNKNOWN = (0, 0x7FFF_FFFF, 0x7FFF_F000, 0xFFFF_FFFF, 0xFFFF_FFDB)  # as FFmpeg, SoX, GStreamer and others write it


def of_unknown_length(content: bytes, data: int, form: int | None = None) -> bytes:
    """A WAV whose data chunk, the last one, tells this size, and RIFF the size `form`; by default what goes with it."""
    at = content.rindex(b"data") + 4
    form = (at - 4 if data == 0 else min(data + at - 4, 0xFFFF_FFFF)) if form is None else form
    return content[:4] + struct.pack("<I", form) + content[8:at] + struct.pack("<I", data) + content[at + 4 :]


@pytest.mark.parametrize("size", UNKNOWN)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ALAW", "ULAW", "GSM610", "IMA_ADPCM", "MS_ADPCM"])
def test_a_wav_of_unknown_length_is_read_to_its_end(size: int, subtype: str, tmp_path: Path) -> None:
    path, whole = tmp_path / "通话.wav", tmp_path / "whole.wav"
    channels = 1 if subtype == "GSM610" else 2
    soundfile.write(whole, np.stack([ramp(8_000)] * channels, axis=1), 8_000, subtype=subtype)
    known = decode.decode(whole)
    for form in (None, 0, 0xFFFF_FFFF):
        path.write_bytes(of_unknown_length(whole.read_bytes()[: data_end(whole)], size, form))
        found = decode.decode(path)
        assert found.sha256 == known.sha256 and found.flags == (*known.flags, "unbounded")
        assert decode.header(path) == decode.header(whole)
        assert decode_pool.decode(path).sha256 == known.sha256
        assert oracle.samples(path) == round(decode.header(path).seconds * 8_000)
        assert "unbounded" not in decode.decode(path, duration=known.seconds).flags  # the manifest tells it
        assert decode.decode(path, 0.25, 0.5).flags == decode.decode(whole, 0.25, 0.5).flags


def data_end(path: Path) -> int:
    content = path.read_bytes()
    at = content.index(b"data") + 4
    return at + 4 + int.from_bytes(content[at : at + 4], "little")


@pytest.mark.parametrize("size", UNKNOWN)
def test_a_wav_of_unknown_length_that_ends_within_a_sample_is_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(of_unknown_length(wav_bytes(ramp()), size)[:-1])
    with pytest.raises(AudioError, match="ends early: its last block is cut, 1 of 2 bytes"):
        decode.decode(tmp_path / "a.wav")


def test_an_empty_wav_is_not_one_of_unknown_length(tmp_path: Path) -> None:
    after = struct.pack("<4sI", b"LIST", 4) + b"INFO"
    (tmp_path / "a.wav").write_bytes(wav_bytes(ramp(0), after=after))
    with pytest.raises(AudioError, match="is empty"):
        decode.decode(tmp_path / "a.wav")


@pytest.mark.parametrize("size", [2**31, 0x7FFF_0000, 0x9000_0000])
def test_a_large_size_is_no_unknown_one(size: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(of_unknown_length(wav_bytes(ramp()), size))
    with pytest.raises(AudioError, match="its header promises"):
        decode.decode(tmp_path / "a.wav")


@pytest.mark.parametrize(("muxer", "codec"), [("aiff", "pcm_s16be"), ("asf", "wmav2"), ("avi", "pcm_s16le")])
def test_what_was_streamed_and_cannot_be_measured_is_refused(muxer: str, codec: str, tmp_path: Path) -> None:
    (sound,) = oracle.sounds(tmp_path, wanted=[(16_000, 1)])
    path = tmp_path / "a"
    assert oracle.write(path, sound, "-c:a", codec, "-f", muxer, piped=True)
    for content in (path.read_bytes(), path.read_bytes()[:-3_000]):
        path.write_bytes(content)
        with pytest.raises(AudioError, match=r"was streamed: its \w+ header does not tell its length|ends early"):
            decode.decode(path)


@pytest.fixture(params=["libsndfile", "FFmpeg", "FFmpeg's pipe"])
def flac(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A FLAC that tells no length, and the WAV that it was made of."""
    (sound,) = oracle.sounds(tmp_path, seconds=3, wanted=[(22_050, 2)])
    path = tmp_path / "a.flac"
    if request.param == "libsndfile":
        soundfile.write(path, *soundfile.read(sound))
    else:
        assert oracle.write(path, sound, "-f", "flac", piped=request.param == "FFmpeg's pipe")
    content = path.read_bytes()
    path.write_bytes(
        content[:18] + (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big") + content[26:]
    )
    return path, sound


def test_a_flac_of_unknown_length_is_read_to_its_last_frame(flac: tuple[Path, Path]) -> None:
    path, sound = flac
    known = decode.decode(sound)
    assert oracle.samples(path) == round(decode.header(path).seconds * 22_050) == 66_150
    for content in (path.read_bytes(), b"ID3\4\0\0\0\0\0\5hello" + path.read_bytes() + b"TAG" + bytes(125)):
        path.write_bytes(content)
        found = decode.decode(path)
        assert (found.sha256, found.flags) == (known.sha256, ("averaged", "unbounded"))
        assert decode.decode(path, 1.0, 1.5).sha256 == decode.decode(sound, 1.0, 1.5).sha256


@given(kept=st.floats(0.01, 1, exclude_max=True))
def test_a_flac_of_unknown_length_that_is_cut_within_a_frame_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 40_000), 16_000)
    content = path.read_bytes()
    zero = (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    path.write_bytes((content[:18] + zero + content[26:])[: int(kept * len(content))])
    with pytest.raises(AudioError, match=r"last FLAC frame is not whole|cannot be decoded"):
        decode.decode(path)


@pytest.mark.parametrize("known", [True, False])
def test_a_flac_from_which_a_frame_is_missing_is_refused(known: bool, tmp_path: Path) -> None:
    """libFLAC gives silence in its place."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 40_000), 16_000)
    content = path.read_bytes()
    third, fourth = (content.index(b"\xff\xf8\xc5\x08" + bytes([number])) for number in (2, 3))
    length = int.from_bytes(content[18:26], "big") if known else int.from_bytes(content[18:26], "big") >> 36 << 36
    path.write_bytes(content[:18] + length.to_bytes(8, "big") + content[26:third] + content[fourth:])
    with pytest.raises(AudioError, match=r"whole frames for 8192 of 40000|last FLAC frame is not whole"):
        decode.decode(path)


def test_an_mp3_in_a_wav_is_the_mp3(tmp_path: Path) -> None:
    (sound,) = oracle.sounds(tmp_path, wanted=[(44_100, 2)])
    path = tmp_path / "a.wav"
    for bit_rate in ("64k", "128k"):
        assert oracle.write(path, sound, "-c:a", "libmp3lame", "-b:a", bit_rate)
        header = decode.header(path)
        assert round(header.seconds * 44_100) == oracle.samples(path)
        assert decode.decode(path, channel=1).flags == ()
        content = path.read_bytes()
        path.write_bytes(of_unknown_length(content[: data_end(path)], 0xFFFF_FFFF))
        assert decode.header(path) == header and decode.decode(path, channel=1).flags == ("unbounded",)
        for kept in (0.3, 0.7, 0.99):
            path.write_bytes(content[: int(kept * len(content))])
            with pytest.raises(AudioError, match="ends early"):
                decode.decode(path)


def test_an_mp3_that_tells_no_length_is_flagged(tmp_path: Path) -> None:
    time = np.arange(3 * 44_100) / 44_100
    sound = np.sin(2 * np.pi * 300 * time) * time / 10
    soundfile.write(tmp_path / "a.mp3", sound, 44_100, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    content = (tmp_path / "a.mp3").read_bytes()
    assert decode.decode(tmp_path / "a.mp3").flags == ()
    (tmp_path / "b.mp3").write_bytes(content[mp3_frames(content)[1] :])
    assert decode.decode(tmp_path / "b.mp3").flags == ("unbounded",)
