"""The power goes at a random call; what was not fsynced is there or not, at random; the run goes on from that."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from faults import study
from faults.children import RECORD, Arm, mark, run
from faults.disk import Disk, calls
from faults.kills import clips_of, rounds_of, trials_of
from faults.rows import Outcome

CUTS = {"extract": 60, "probe": 25, "finetune": 15}
RUN = "run.json"


def cuts(folder: Path) -> Outcome:
    """100: 60 of extract, 25 of probe, 15 of finetune."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made)).code
    writers: dict[str, tuple[Callable[[Path], None], Callable[[Path], dict[str, bytes]], tuple[str, ...]]] = {
        "extract": (_extract, clips_of, ()),
        "probe": (_probe, trials_of, ("features",)),
        "finetune": (_finetune, rounds_of, ()),
    }
    total = lost = other = promises = 0
    for name, (began, committed, keep) in writers.items():
        whole = study.fresh(made, folder / "whole", *keep)
        before = Disk(whole)
        ended = run(lambda began=began, whole=whole: began(whole), Arm(whole, RECORD, record=folder / "record"))
        assert not ended.code, ended.output
        done, expected, kept = list(calls(folder / "record")), study.contents(whole), committed(whole)
        assert len(done) > 50, f"{name}: only {len(done)} calls were recorded"
        generator = random.Random(name)
        moments = sorted(generator.randrange(len(done)) for _ in range(CUTS[name]))
        promised: set[str] = set()
        at = 0
        for moment in moments:
            for call in done[at:moment]:
                promised |= {call.path} if call.kind == "M" else set()
                before.take(call)
            at = moment
            workspace = folder / "after"
            before.after_cut(workspace, generator)
            for sound in made.glob("*.wav"):  # the very files: a store knows them by their times
                (workspace / sound.name).unlink()
                os.link(sound, workspace / sound.name)
            finished = bool(list(workspace.glob(f"result/*/{RUN}")))
            found = committed(workspace) if not (finished and name == "finetune") else {}
            if RUN in promised:
                lost += not finished
            if not (finished and name == "finetune"):
                wanted = promised - {RUN}
                lost += sum(found.get(key) is None or (key in kept and found[key] != kept[key]) for key in wanted)
                promises += len(wanted)
            ended = run(lambda began=began, workspace=workspace: began(workspace))
            assert not ended.code, f"{name}, cut at call {moment} of {len(done)}: {ended.output}"
            other += study.contents(workspace) != expected
            total += 1
    sentence = (
        f"{total} cuts (60 of extract, 25 of probe, 15 of finetune), before which {promises:,} clips, trials and "
        f"rounds had been promised: {lost} of them lost; {other} runs went on to other bytes"
    )
    return Outcome(total, sentence, not (lost or other))


def _extract(workspace: Path) -> None:
    from toolkit.features.writer import Writer

    commit = Writer.commit

    def promised(self, content):  # type: ignore[no-untyped-def]
        sidecar = commit(self, content)
        for clip in content.clips:
            mark(clip.id)
        return sidecar

    Writer.commit = promised  # type: ignore[method-assign]
    study.extract(workspace)


def _probe(workspace: Path) -> None:
    from toolkit.core.study_file import StudyFile

    append = StudyFile.append

    def promised(self, name, trials):  # type: ignore[no-untyped-def]
        first = len(self.kept(name))
        append(self, name, trials)
        for number in range(len(trials)):
            mark(f"{name}/{first + number}")

    StudyFile.append = promised  # type: ignore[method-assign]
    _run_is_promised()
    study.probe(workspace)


def _finetune(workspace: Path) -> None:
    from toolkit.finetune import rounds

    write = rounds.write

    def promised(folder, round_, *rest):  # type: ignore[no-untyped-def]
        found = write(folder, round_, *rest)
        mark(f"round-{round_.fold}.json")
        return found

    rounds.write = promised
    _run_is_promised()
    study.finetune(workspace)


def _run_is_promised() -> None:
    from toolkit.result import run_files

    write = run_files.write

    def promised(*arguments):  # type: ignore[no-untyped-def]
        write(*arguments)
        mark(RUN)

    run_files.write = promised
