"""The disk is full at the n-th call that changes it, for every n, and stays full until the run has ended."""

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from faults import study
from faults.children import FULL, KILL_BEFORE, Arm, run
from faults.rows import Outcome

SENTENCE = re.compile(r"toolkit: No space left(, or a disk that fails \([^)]+\),)? for \S+: [\d,]+ bytes are free")
TMPFS_KILOBYTES = (16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536)


def store(folder: Path) -> Outcome:
    """Extraction: store, shards, sidecars, the batch budget."""
    return _every_call(folder, study.make(folder / "study"), study.extract)


def search(folder: Path) -> Outcome:
    """Probing one layer: folds, the studies, winners, CSV, metrics."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made, "--layers", 3)).code
    return _every_call(folder, made, study.probe, "features")


def checkpoint(folder: Path) -> Outcome:
    """Fine-tuning: Trainer's checkpoints, the best weights, rounds, kept models."""
    made = study.make(folder / "study")
    return _every_call(folder, made, lambda workspace: study.finetune(workspace, "--epochs", 2))


def report(folder: Path) -> Outcome:
    """A probe whose search is done: predictions, tables, every figure in every format, the page."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made, "--layers", 3)).code
    assert not run(lambda: study.probe(made)).code
    for path in made.glob("result/*/*"):
        if path.name != "study.jsonl":
            subprocess.run(["rm", "-r", path], check=True)

    def drawn(workspace: Path) -> None:
        import vl_convert

        for name, empty in (("vegalite_to_svg", ""), ("svg_to_pdf", b""), ("svg_to_png", b"")):
            setattr(vl_convert, name, lambda *_, empty=empty, **__: empty)  # slow, and the disk sees nothing of it
        study.probe(workspace, figures=True)

    return _every_call(folder, made, drawn, "features", "result")


def tmpfs(folder: Path) -> Outcome:
    """Real small file systems, each run to its end by making it larger; needs the right to mount."""
    place, done = folder / "small", 0
    made = study.make(folder / "study", clips=12)
    place.mkdir()
    lacking = []
    for command in (study.extract, study.finetune):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_KILOBYTES[0]}k", "none", place], check=True)
        try:
            for name in ("manifest.csv", "models"):
                (place / name).symlink_to(made / name)
            for size in TMPFS_KILOBYTES:
                subprocess.run(["mount", "-o", f"remount,size={size}k", place], check=True)
                ended = run(lambda command=command: command(place, "--audio-root", made))
                if not ended.code:
                    break
                done += 1
                if ended.code != 4 or not SENTENCE.search(ended.output):
                    lacking.append(f"{size} kB: {ended.code} {ended.output[-200:]}")
            else:
                lacking.append("it never ended")
        finally:
            subprocess.run(["umount", place], check=True)
    sentence = f"{done} runs on a full tmpfs said so and ended with 4, then went on in more space" + "".join(lacking)
    return Outcome(done, sentence, bool(done) and not lacking)


def _every_call(folder: Path, made: Path, began: Callable[[Path], None], *keep: str) -> Outcome:
    workspace = study.fresh(made, folder / "full", *keep)
    whole = run(lambda: began(workspace), Arm(workspace, KILL_BEFORE, -1))
    assert not whole.code, whole.output
    expected, calls = study.contents(workspace), whole.calls
    wrong: list[str] = []
    went_on: set[str] = set()
    survived = other = 0
    for number in range(calls):
        study.fresh(made, workspace, *keep)
        ended = run(lambda: began(workspace), Arm(workspace, FULL, number))
        if not ended.code:  # nothing that it needed
            survived += 1
            other += study.contents(workspace) != expected
            continue
        if ended.code != 4 or not SENTENCE.search(ended.output) or "Traceback" in ended.output:
            wrong.append(f"call {number}: exit code {ended.code}, {ended.output.strip()[-300:]}")
        state = _state(workspace)
        if state not in went_on:  # many calls leave the same behind
            went_on.add(state)
            ended = run(lambda: began(workspace))
            other += bool(ended.code) or study.contents(workspace) != expected
    sentence = (
        f"each of {calls} calls that change the disk: {calls - len(wrong) - survived} ended with 4 and the sentence, "
        f"{survived} could do without, {len(wrong)} otherwise; from the {len(went_on)} different states left, "
        f"{other} went on to other bytes" + "".join(f"; {one}" for one in wrong[:3]).replace("\n", " ")
    )
    return Outcome(calls, sentence, not wrong and not other)


def _state(workspace: Path) -> str:
    """Of every file but the inputs its name, and its bytes or, where clocks have a say, its size or nothing."""
    digest = hashlib.sha256()
    for path in sorted(workspace.rglob("*")):
        place = path.relative_to(workspace)
        if path.suffix == ".wav" or place.parts[0] == "models":
            continue
        digest.update(os.fsencode(place) + b"\0")
        if path.is_file() and (place.parts[0] == "features" or path.suffix == ".safetensors"):
            digest.update(path.read_bytes())
        elif path.is_file() and path.suffix != ".json":
            digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()
