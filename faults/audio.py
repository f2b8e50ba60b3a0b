"""Hostile audio through `toolkit extract`, decoded in processes apart as it is for a user."""

import json
import os
import random
import re
import time
from pathlib import Path

import numpy as np
import soundfile

from faults import study
from faults.children import run
from faults.rows import Outcome
from tests.models import tiny
from toolkit.audio import decode_pool
from toolkit.core.errors import AudioError
from toolkit.corpus import manifest

DAMAGED = 1_000
SECONDS = 10.0
FORMATS = ("wav", "flac", "ogg", "mp3", "aiff")
LASTS = 1.0


def hostile(folder: Path) -> Outcome:
    """1,000 damaged files, bombs, forged lengths, a FIFO, devices, a symlink loop, a folder, among 20 good clips."""
    workspace = study.fresh(study.make(folder / "study"), folder / "hostile")
    generator = random.Random(0)
    names = []
    for suffix in FORMATS:
        sound = tiny.speech_like(LASTS, seed=1, rate=22_050)
        soundfile.write(workspace / f"whole.{suffix}", sound, 22_050)
        whole = (workspace / f"whole.{suffix}").read_bytes()
        for number in range(DAMAGED // len(FORMATS)):
            names.append(f"{suffix}-{number}.{suffix}")
            (workspace / names[-1]).write_bytes(_damaged(whole, generator, number % 5))
    bad = [*_bombs(workspace), *_no_files(workspace)]
    good = [f"{number}.wav" for number in range(20)]
    every = [name for name in [*names, *bad, *good]]
    generator.shuffle(every)
    slowest, codes, short = 0.0, {}, []
    for name in every:  # the clock of each one, and what comes out of it
        began = time.monotonic()
        try:
            seconds = decode_pool.decode(workspace / name).seconds
            codes[name] = "decoded"
            if name in names and abs(seconds - LASTS) > 0.1:
                short.append(name)
        except AudioError as error:
            codes[name] = str(error)
        slowest = max(slowest, time.monotonic() - began)
    decode_pool._end_idle()
    listed = [name for name in every if (workspace / name).is_file()]  # a manifest refuses the others by their line
    manifest.write(workspace / "manifest.csv", ("id", "path"), [(name, name) for name in listed])
    ended = run(lambda: study.extract(workspace, decode_here=False))
    sidecars = [json.loads(path.read_text()) for path in workspace.glob("features/*/shard-*.json")]
    stored = {clip[0] for sidecar in sidecars for clip in sidecar["clips"]}
    failed = {clip[0]: clip[2] for sidecar in sidecars for clip in sidecar["failed"]}
    reported = set(re.findall(r"failed: clip '([^']+)'", ended.output))
    betrayed = [name for name in short if not _silent(workspace / name)]
    right = (
        ended.code == 3 and stored | set(failed) == set(listed) and reported == set(failed) and set(good) <= stored
        and slowest <= SECONDS and not set(bad) & stored and not betrayed
        and not [reason for reason in failed.values() if not reason or str(workspace) in reason]
    )  # fmt: skip
    crashed = sum("crashed" in reason or "hung" in reason for reason in codes.values())
    refused = sum(codes[name] != "decoded" for name in names)
    sentence = (
        f"{refused} of {DAMAGED:,} damaged files refused and named, {DAMAGED - refused} decoded to the length "
        f"that their header tells ({len(short)} of them not the length before the damage); all {len(bad)} "
        f"bombs, forged lengths and non-files refused; {crashed} decoders crashed or hung, {len(betrayed)} came out "
        f"short unseen; the slowest took {slowest:.1f} s; the run went on (exit code {ended.code}, {len(stored)} clips "
        f"stored)"
    )
    return Outcome(len(names) + len(bad), sentence, right)


def _silent(path: Path) -> bool:
    """Whether the header itself, damaged, says the length that came out: nothing betrays such a file."""
    info = soundfile.info(path)
    return abs(info.frames / info.samplerate - decode_pool.decode(path).seconds) <= 0.1


def _damaged(whole: bytes, generator: random.Random, kind: int) -> bytes:
    at, length = generator.randrange(len(whole)), generator.randrange(1, 2000)
    if kind == 0:
        return whole[:at]
    if kind == 1:
        return whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :]
    if kind == 2:
        return whole[:at] + bytes(min(length, len(whole) - at)) + whole[at + length :]
    if kind == 3:
        return whole[:at] + whole[at + length :]
    head = generator.randrange(64)
    return whole[:head] + generator.randbytes(4) + whole[head + 4 :]


def _bombs(folder: Path) -> list[str]:
    with soundfile.SoundFile(folder / "silence.flac", "w", 8_000, 1, "PCM_16") as file:  # 6 hours in 1 MB
        for _ in range(6 * 60):
            file.write(np.zeros(60 * 8_000, dtype=np.int16))
    soundfile.write(folder / "forged.flac", tiny.speech_like(1.0), 16_000)
    content = bytearray((folder / "forged.flac").read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | 2**36 - 1).to_bytes(8, "big")
    (folder / "forged.flac").write_bytes(content)
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | 3_000 * 16_000).to_bytes(8, "big")
    (folder / "promised.flac").write_bytes(content)  # within the limit, and not there
    soundfile.write(folder / "forged.wav", tiny.speech_like(1.0), 16_000)
    content = bytearray((folder / "forged.wav").read_bytes())
    content[40:44] = (2**31).to_bytes(4, "little")
    (folder / "forged.wav").write_bytes(content)
    (folder / "empty.wav").write_bytes(b"")
    return ["silence.flac", "forged.flac", "promised.flac", "forged.wav", "empty.wav"]


def _no_files(folder: Path) -> list[str]:
    os.mkfifo(folder / "fifo.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "random.wav").symlink_to("/dev/urandom")
    (folder / "folder.wav").mkdir()
    return ["fifo.wav", "loop.wav", "zero.wav", "random.wav", "folder.wav"]
