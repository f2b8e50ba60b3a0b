"""Audio decoded apart: a decoder may crash, hang or ask for all memory, and only its clip is lost."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import psutil
import pytest
import soundfile

from tests.conftest import WriteSound
from toolkit.audio import decode, decode_pool
from toolkit.core.errors import AudioError, MachineError
from toolkit.corpus import manifest
from toolkit.features.loading import decode_all

# What the process runs instead of its own program: files by these names make its decoder misbehave, for real.
HOSTILE = """
import os, signal, time
import numpy as np
from toolkit.audio import decode as audio, decode_worker

decode = audio.decode
decode_worker.ALLOWED_SECONDS = 0.5

def broken(path, *rest, **named):
    if path.stem == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.stem == "hang":
        time.sleep(600)
    if path.stem == "bomb":
        np.ones(10 * 2**30, np.uint8)
    if path.stem == "fault":
        raise ZeroDivisionError(f"in {path}")
    if path.stem == "print":
        print("noise", flush=True)
    if path.stem == "long":
        named["announce"](60.0)
        time.sleep(1)
    return decode(path, *rest, **named)

audio.decode = broken
decode_worker.main()
"""


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    decode_pool._end_idle()
    monkeypatch.setattr(decode_pool, "PROGRAM", f"exec({HOSTILE!r})")
    yield
    decode_pool._end_idle()


def test_samples_are_those_of_the_decoder_itself(write_sound: WriteSound) -> None:
    for name, rate in (("a.wav", 22_050), ("b.flac", 16_000), ("c.mp3", 44_100), ("d.ogg", 48_000)):
        path = write_sound(name, seconds=1.3, rate=rate, channels=2)
        for part in ((None, None, None), (0.2, 0.9, 1)):
            apart, here = decode_pool.decode(path, *part), decode.decode(path, *part)
            assert np.array_equal(apart.samples, here.samples)
            assert (apart.sha256, apart.flags, apart.samples.dtype) == (here.sha256, here.flags, here.samples.dtype)
        assert decode_pool.header(path, 0.1) == decode.header(path, 0.1)


def test_what_the_decoder_refuses_is_refused_in_its_words(tmp_path: Path, write_sound: WriteSound) -> None:
    path = write_sound("a.wav")
    for ask in (decode_pool.decode, decode_pool.header):
        with pytest.raises(AudioError, match="channel 7 asked for"):
            ask(path, channel=7)
        with pytest.raises(AudioError, match="cannot be read: No such file"):
            ask(tmp_path / "nowhere \udc80.wav")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash", r"crashed the decoder \(SIGSEGV\)"),
        ("hang", "hung the decoder, which was ended"),
        ("bomb", "needs more than 4 GiB to be decoded"),
        ("fault", "cannot be decoded: ZeroDivisionError in the decoder$"),
    ],
)
def test_a_clip_that_breaks_its_decoder_is_named_and_the_next_one_is_decoded(
    name: str, reason: str, hostile: None, write_sound: WriteSound
) -> None:
    bad, good = write_sound(f"{name}.wav"), write_sound("good.wav")
    with pytest.raises(AudioError, match=reason):
        decode_pool.decode(bad)
    assert decode_pool.decode(good).sha256 == decode.decode(good).sha256


def test_time_is_given_in_proportion_and_what_a_library_prints_is_no_answer(
    hostile: None, write_sound: WriteSound
) -> None:
    for name in ("long", "print"):
        assert decode_pool.decode(write_sound(f"{name}.wav")).seconds == 0.5


def test_the_order_stays_and_every_broken_clip_is_one_of_many(
    hostile: None, tmp_path: Path, write_sound: WriteSound
) -> None:
    names = ["0.wav", "crash.wav", "1.wav", "hang.wav", "2.wav", "3.wav", "2/crash.wav", "4.wav"]
    for name in names:
        write_sound(name)
    rows = [(f"c{number}", name) for number, name in enumerate(names)]
    manifest.write(tmp_path / "manifest.csv", ("id", "path"), rows)
    corpus = manifest.read(tmp_path / "manifest.csv")
    decoded = list(decode_all(corpus, corpus.clips, 2))
    assert [item.clip.id for item in decoded] == [f"c{number}" for number in range(8)]
    assert [item.clip.path for item in decoded if item.audio is None] == ["crash.wav", "hang.wav", "2/crash.wav"]


def test_what_is_no_longer_wanted_is_given_up_at_once(hostile: None, write_sound: WriteSound) -> None:
    hanging = [write_sound("long.wav"), write_sound("hang.wav")]
    before, began = _children(), time.monotonic()
    with contextlib.closing(
        decode_pool.ahead(_seconds, [hanging[0], *hanging[1:] * 8], 2, lambda found: found)
    ) as every:
        next(every)
    assert time.monotonic() - began < 10 and not [child for child in _children() if child not in before]


def _seconds(path: Path, stop: Event) -> float:
    try:
        return decode_pool.decode(path, stop=stop).seconds
    except AudioError:
        return 0.0


def _children() -> list[psutil.Process]:
    idle = {decoder.process.pid for decoder in decode_pool._idle}
    return [child for child in psutil.Process().children() if child.pid not in idle]


def test_a_broken_installation_is_not_taken_for_broken_audio(
    monkeypatch: pytest.MonkeyPatch, write_sound: WriteSound
) -> None:
    decode_pool._end_idle()
    monkeypatch.setattr(decode_pool, "PROGRAM", "import a_module_that_is_not_there")
    with pytest.raises(MachineError, match="No process that decodes audio can be begun"):
        decode_pool.decode(write_sound("a.wav"))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_decoder_outlives_the_program(end: signal.Signals, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hang.wav", np.zeros(1000), 16_000)
    code = f"""
import pathlib
from toolkit.audio import decode_pool
decode_pool.PROGRAM = "exec(" + repr({HOSTILE.replace("= 0.5", "= 1.5")!r}) + ")"
idle, busy = decode_pool._Decoder(), decode_pool._Decoder()
print(idle.process.pid, busy.process.pid, flush=True)
decode_pool._idle += [idle, busy]
decode_pool.decode(pathlib.Path({str(tmp_path / "hang.wav")!r}))
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = [int(word) for word in program.stdout.readline().split()]
    time.sleep(0.3)
    program.send_signal(end)
    program.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while any(map(_lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_fork_does_not_share_its_parents_decoders(write_sound: WriteSound) -> None:
    path = write_sound("a.wav")
    expected = decode_pool.decode(path).sha256
    program = f"""
import os, pathlib
from toolkit.audio import decode_pool
path = pathlib.Path({str(path)!r})
assert decode_pool.decode(path).sha256 == {expected!r}
child = os.fork()
right = all(decode_pool.decode(path).sha256 == {expected!r} for _ in range(20))
if child:
    assert os.waitpid(child, 0)[1] == 0 and right
else:
    os._exit(0 if right else 1)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
