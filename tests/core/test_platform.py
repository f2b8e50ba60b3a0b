"""Windows has no fcntl, resource, SIGALRM, poll or fork: what is left must work, and say what is not there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from toolkit.core import platform

# What makes this system as poor as Windows, before anything of ours is loaded
HIDDEN = """
import os, select, signal, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
for module, names in {
    signal: ("SIGALRM", "setitimer", "ITIMER_REAL", "pthread_sigmask"),
    select: ("poll",),
    os: ("fork", "register_at_fork", "readv", "sched_getaffinity"),
}.items():
    for name in names:
        delattr(module, name)
"""


def run(code: str, *words: object, before: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", before + HIDDEN + code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_module_is_imported_without_them() -> None:
    code = """
import importlib, pkgutil, toolkit
names = [found.name for found in pkgutil.walk_packages(toolkit.__path__, "toolkit.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = run(code, before="import psutil, torch")  # which need them on this system
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


def test_commands_say_what_is_lacking_and_run(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['toolkit', *sys.argv[1:]]; from toolkit.cli import main; main()"
    done = run(code, "models", "list", "-w", tmp_path)
    assert done.returncode == 0 and "hubert" in done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("mind: ")]
    assert len(said) == 3 and "not locked" in said[0] and "memory" in said[1] and "hangs" in said[2]
    assert platform.lacking() == []  # here


def test_audio_is_decoded_apart_and_a_hang_is_ended_by_a_timer(tmp_path: Path) -> None:
    for name in ("a.wav", "hang.wav"):
        soundfile.write(tmp_path / name, np.linspace(-0.5, 0.5, 8_000), 16_000)
    worker = f"""{HIDDEN}
import time
from toolkit.audio import decode as audio, decode_worker
honest = audio.decode
decode_worker.ALLOWED_SECONDS = 3.0
audio.decode = lambda path, *rest, **named: time.sleep(60) if path.stem == "hang" else honest(path, *rest, **named)
decode_worker.main()
"""
    code = f"""
from pathlib import Path
from toolkit.audio import decode_pool
from toolkit.core.errors import AudioError
decode_pool.PROGRAM = "exec(" + repr({worker!r}) + ")"
for name in ("a.wav", "hang.wav", "a.wav"):
    try:
        print(decode_pool.decode(Path({str(tmp_path)!r}, name)).seconds)
    except AudioError as error:
        print(error)
"""
    done = run(code)
    assert done.stdout.splitlines() == ["0.5", "hung the decoder, which was ended", "0.5"], done.stderr


def test_a_folder_is_locked_here_and_held_by_nobody_there(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from toolkit.core.artifacts import locked
with locked(Path(sys.argv[1])), locked(Path(sys.argv[1])):
    print("twice")
"""
    assert run(code, tmp_path).stdout == "twice\n"
    with (tmp_path / "a").open("w") as one, (tmp_path / "a").open("w") as other:
        platform.lock(one)
        with pytest.raises(BlockingIOError):
            platform.lock(other)


def test_peak_memory_is_in_bytes() -> None:
    held = np.ones(10_000_000)
    assert held.nbytes < platform.peak_memory() < psutil.virtual_memory().total


def test_an_alarm_ends_the_process_and_0_takes_it_back() -> None:
    code = "import time; from toolkit.core import platform; platform.alarm(0.2); platform.alarm({}); time.sleep(0.6)"
    for head in ("", HIDDEN):
        for seconds, ended in ((0, False), (0.1, True)):
            done = subprocess.run([sys.executable, "-c", head + code.format(seconds)])
            assert (done.returncode != 0) == ended
            assert done.returncode in (0, platform.ALARMED, platform.ALARM_EXIT)


def test_a_pipe_is_readable_when_there_is_something() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb", 0) as out, os.fdopen(write, "wb", 0) as into:
        began = time.monotonic()
        assert not platform.readable(out, 0.05) and time.monotonic() - began >= 0.05
        into.write(b"1")
        assert platform.readable(out, 5.0)
