"""What FFmpeg alone reads, held to the count of an FFmpeg program of another version than the one that decodes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audio import oracle
from tests.conftest import WriteSound
from toolkit.audio import decode, decode_pool, ffmpeg, sequential
from toolkit.core.errors import AudioError
from toolkit.corpus import adhoc

# Suffix, codec, and whether the file tells its length
WRITTEN = [
    ("m4a", "aac", True),
    ("m4a", "alac", True),
    ("mp4", "libopus", True),
    ("mov", "pcm_s16be", True),
    ("3gp", "libopencore_amrnb", True),
    ("aac", "aac", False),
    ("amr", "libopencore_amrnb", False),
    ("amr", "libvo_amrwbenc", False),
    ("wma", "wmav2", True),
    ("asf", "libmp3lame", True),
    ("webm", "libopus", True),
    ("webm", "libvorbis", True),
    ("mka", "flac", True),
    ("avi", "libmp3lame", True),
    ("avi", "pcm_u8", True),
    ("oga", "flac", True),
    ("wav", "g722", True),
    ("wav", "g726", True),
    ("wav", "wmav2", True),
    ("wav", "libmp3lame", True),
]
SOUND = {"libopencore_amrnb": (8_000, 1), "g726": (8_000, 1), "libvo_amrwbenc": (16_000, 1), "g722": (16_000, 1)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A file of each, 1.5 s, stereo where the codec has it."""
    folder = tmp_path_factory.mktemp("written")
    made = {}
    for suffix, codec, _ in WRITTEN:
        (sound,) = oracle.sounds(folder, wanted=[SOUND.get(codec, (48_000, 2))])
        made[suffix, codec] = folder / f"{codec}.{suffix}"
        assert oracle.write(made[suffix, codec], sound, "-c:a", codec)
    return made


@pytest.mark.parametrize(("suffix", "codec", "bounded"), WRITTEN)
def test_all_samples_come_at_the_files_own_rate(
    suffix: str, codec: str, bounded: bool, files: dict[tuple[str, str], Path]
) -> None:
    path = files[suffix, codec]
    rate, channels = SOUND.get(codec, (48_000, 2))
    header, audio = decode.header(path), decode.decode(path, channel=0)
    count = round(header.seconds * header.rate)
    assert (header.rate, header.channels, count) == (rate, channels, oracle.samples(path))
    assert len(audio.samples) == pytest.approx(count * 16_000 / rate, abs=1)
    assert audio.flags == (() if bounded else ("unbounded",))
    sound = decode.decode(path.parent / f"sound-{rate}-{channels}.wav", channel=0).samples
    shifted = (
        np.corrcoef(sound[4_000:16_000], audio.samples[4_000 + lag : 16_000 + lag])[0, 1]
        for lag in sorted(range(-1_000, 2_000, 2), key=abs)
    )
    assert any(each > 0.9 for each in shifted)  # but for the codec's delay, of which FFmpeg drops too much in WMA


@pytest.mark.parametrize(("suffix", "codec", "bounded"), WRITTEN)
def test_a_cut_file_is_refused_or_said_to_tell_no_length(
    suffix: str, codec: str, bounded: bool, files: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    content, path = files[suffix, codec].read_bytes(), tmp_path / f"a.{suffix}"
    for kept in (20, *np.linspace(0.1, 0.95, 8) * len(content), len(content) - 1):
        path.write_bytes(content[: int(kept)])
        try:
            audio = decode.decode(path, channel=0)
        except AudioError as error:
            assert str(tmp_path) not in str(error)
        else:
            assert "unbounded" in audio.flags and not bounded


def test_lossless_samples_are_the_files_own(files: dict[tuple[str, str], Path]) -> None:
    path = files["m4a", "alac"]
    sound = path.parent / "sound-48000-2.wav"
    for channel in (None, 0, 1):
        found, expected = decode.decode(path, channel=channel), decode.decode(sound, channel=channel)
        assert found.sha256 == expected.sha256
        assert found.flags == expected.flags == (("averaged",) if channel is None else ())
        np.testing.assert_allclose(
            decode.decode(files["avi", "pcm_u8"], channel=channel).samples, expected.samples, atol=0.01
        )
    with pytest.raises(AudioError, match=r"channel 2 asked for, the file has 2"):
        decode.decode(path, channel=2)


@pytest.mark.parametrize("suffix_and_codec", [("m4a", "aac"), ("webm", "libopus"), ("amr", "libopencore_amrnb")])
def test_a_segment_is_the_slice_of_the_whole_and_a_file_is_decoded_once_for_its_windows(
    suffix_and_codec: tuple[str, str], files: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files[suffix_and_codec]
    rate = SOUND.get(suffix_and_codec[1], (48_000, 2))[0]
    monkeypatch.setattr(decode.soxr, "resample", lambda mono, *rates, quality: mono)
    monkeypatch.setattr(sequential, "BLOCK", 2**12)
    whole = decode.decode(path).samples
    opened: list[str] = []
    honest = ffmpeg.decoded
    monkeypatch.setattr(ffmpeg, "decoded", lambda *words: [opened.append("again"), honest(*words)][1])  # type: ignore[func-returns-value]
    for start, end in ((0.0, 0.3), (0.2, 0.5), (0.5, 1.4)):
        part = decode.decode(path, start, end)
        assert np.array_equal(part.samples, whole[round(start * rate) : round(end * rate)])
        assert part.flags == (("averaged",) if rate == 48_000 else ())  # its end is told, by the manifest
    assert len(opened) == 1


def test_channels_in_anti_phase_are_refused_in_these_formats_too(tmp_path: Path) -> None:
    (sound,) = oracle.sounds(tmp_path, wanted=[(16_000, 1)])
    path = tmp_path / "a.m4a"
    assert oracle.write(path, sound, "-af", "pan=stereo|c0=c0|c1=-1*c0", "-c:a", "alac")
    with pytest.raises(AudioError, match="2 channels in anti-phase"):
        decode.decode(path)


def test_of_a_video_the_one_audio_stream_is_read(tmp_path: Path) -> None:
    (sound,) = oracle.sounds(tmp_path, wanted=[(16_000, 1)])
    for name in ("a.mp4", "a.mkv", "a.avi", "a.wmv", "a.mov"):
        codec = "wmav2" if name == "a.wmv" else "aac"
        assert oracle.write(tmp_path / name, sound, *oracle.VIDEO, "-c:a", codec)
        assert decode.decode(tmp_path / name).seconds == pytest.approx(1.5, abs=0.11)
    twice = ("-map", "0:a", "-map", "0:a", "-c:a", "aac")
    assert oracle.write(tmp_path / "twice.mp4", sound, *twice)
    with pytest.raises(AudioError, match=r"has 2 audio streams, expected one; `ffmpeg -i FILE -map 0:a:0 OUT.wav`"):
        decode.decode(tmp_path / "twice.mp4")
    assert oracle.write(tmp_path / "silent.mp4", sound, *oracle.VIDEO[:-3], "-map", "1:v", "-t", "1", "-c:v", "mpeg4")
    with pytest.raises(AudioError, match="has no audio stream"):
        decode.decode(tmp_path / "silent.mp4")


@pytest.mark.parametrize(
    ("suffix", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("amr", "libopencore_amrnb"), ("wma", "wmav2")]
)
@settings(max_examples=40)
@given(position=st.floats(0, 1), patch=st.binary(min_size=1, max_size=40))
def test_a_damaged_file_is_refused_or_as_long_as_it_was(
    suffix: str, codec: str, position: float, patch: bytes, files: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    whole, path = files[suffix, codec].read_bytes(), tmp_path / f"a.{suffix}"
    at = int(position * len(whole))
    path.write_bytes((whole[:at] + patch + whole[at + len(patch) :])[: len(whole)])
    try:
        audio = decode.decode(path, channel=0)
    except AudioError as error:
        assert str(tmp_path) not in str(error)
    else:
        assert audio.seconds > decode.header(files[suffix, codec]).seconds - 0.1 or "unbounded" in audio.flags


def test_a_live_recording_from_which_a_part_is_missing_is_refused_by_its_time_stamps(tmp_path: Path) -> None:
    (sound,) = oracle.sounds(tmp_path, wanted=[(48_000, 2)])
    path = tmp_path / "a.webm"
    assert oracle.write(path, sound, "-c:a", "libopus", "-f", "webm", "-cluster_time_limit", "200", piped=True)
    assert decode.decode(path, channel=0).flags == ("unbounded",)
    parts = path.read_bytes().split(b"\x1f\x43\xb6\x75")  # the name of a cluster
    assert len(parts) > 6
    path.write_bytes(b"\x1f\x43\xb6\x75".join(parts[:3] + parts[4:]))
    with pytest.raises(
        AudioError, match=r"time stamps that its samples do not fill: 0\.2\d s are missing at 0\.\d\d s"
    ):
        decode.decode(path)
    path.write_bytes(b"\x1f\x43\xb6\x75".join(parts[:-2]))  # as if it had been stopped there
    assert decode.decode(path, channel=0).flags == ("unbounded",)
    with pytest.raises(AudioError, match=r"the manifest says 1\.50 s"):
        decode.decode(path, duration=1.5)


def test_a_file_that_changes_its_rate_is_refused(tmp_path: Path) -> None:
    first, second = oracle.sounds(tmp_path, wanted=[(16_000, 1), (8_000, 1)])
    assert oracle.write(tmp_path / "a.aac", first, "-c:a", "aac") and oracle.write(
        tmp_path / "b.aac", second, "-c:a", "aac"
    )
    (tmp_path / "c.aac").write_bytes((tmp_path / "a.aac").read_bytes() + (tmp_path / "b.aac").read_bytes())
    with pytest.raises(AudioError, match=r"changes its rate or its channels at 1\.\d\d s|cannot be decoded"):
        decode.decode(tmp_path / "c.aac")


def test_without_the_extra_the_format_is_named_and_what_to_type(
    files: dict[tuple[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_sound: WriteSound
) -> None:
    monkeypatch.setattr(ffmpeg, "find_spec", lambda name: None)
    for key, name in (
        (("m4a", "aac"), "MP4"),
        (("amr", "libopencore_amrnb"), "AMR"),
        (("wav", "g722"), "WAV of a codec"),
    ):
        for read in (decode.decode, decode.header):
            with pytest.raises(AudioError) as refused:
                read(shutil.copy(files[key], tmp_path / files[key].name))
            assert f"is {name}" in str(refused.value)
            assert (
                "`pip install 'speech-layer-toolkit[formats]'` adds it; expected WAV, RF64, AIFF, FLAC, OGG or MP3"
                in str(refused.value)
            )
    assert decode.decode(write_sound("a.mp3")).seconds == 0.5


def test_pyav_is_loaded_where_audio_is_decoded_and_nowhere_else(files: dict[tuple[str, str], Path]) -> None:
    path = files["m4a", "aac"]
    code = f"""
import pathlib, sys
from toolkit.audio import decode_pool
found = decode_pool.decode(pathlib.Path({str(path)!r}), channel=1)
assert "av" not in sys.modules
print(found.sha256)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == decode.decode(path, channel=1).sha256
    assert decode_pool.header(path) == decode.header(path)


@pytest.mark.parametrize("name", ["a.wav", "a.m4a", "语音.flac"])
def test_a_git_lfs_pointer_is_called_one(name: str, tmp_path: Path) -> None:
    oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    (tmp_path / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n")
    for read in (decode.decode, decode_pool.header):
        with pytest.raises(AudioError, match="is a Git LFS pointer, not the audio; run `git lfs pull`"):
            read(tmp_path / name)


def test_a_voice_message_of_wechat_is_called_one(tmp_path: Path) -> None:
    for head in (b"", b"\x02"):
        (tmp_path / "a.amr").write_bytes(head + b"#!SILK_V3" + bytes(100))
        with pytest.raises(AudioError, match="is a SILK voice message"):
            decode.decode(tmp_path / "a.amr")


def test_a_folder_gives_what_can_be_read(tmp_path: Path, files: dict[tuple[str, str], Path]) -> None:
    for (suffix, codec), path in files.items():
        shutil.copy(path, tmp_path / f"{codec}.{suffix}")
    (tmp_path / "notes.txt").write_text("no audio")
    assert len(adhoc.gather([tmp_path]).clips) == len(files)
    assert set(ffmpeg.SUFFIXES) < set(decode.SUFFIXES)
