"""kill -9 at random, started again until it is done: nothing that was committed is lost, done twice or changed."""

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from faults import study
from faults.children import KILL_BEFORE, KILL_WITHIN, Arm, Ended, run
from faults.rows import Outcome
from toolkit.probe.search import BATCH

EXTRACTIONS, SEARCHES = 200, 100


def extraction(folder: Path) -> Outcome:
    """200 of extract: half at a call that changes the disk, before it or within, half at a moment of the processor."""

    def began(workspace: Path) -> None:
        from toolkit.extract.pipeline import Pipeline

        honest = Pipeline._window

        def reporting(self, window, *rest):  # type: ignore[no-untyped-def]
            _report(workspace, *(item.clip.id for item in window))
            return honest(self, window, *rest)

        Pipeline._window = reporting  # type: ignore[method-assign]
        study.extract(workspace)

    return _campaign(folder, EXTRACTIONS, study.make(folder / "study"), began, clips_of, "clips")


def search(folder: Path) -> Outcome:
    """100 of probe: a trial that is in study.jsonl stays there and is whole; of a whole batch, it is not run again."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made)).code

    def began(workspace: Path) -> None:
        from toolkit.probe import optuna_study as study_file

        search, evaluate, here = study_file.search, study_file._evaluate_batch, threading.local()

        def searched(file, name, *rest):  # type: ignore[no-untyped-def]
            here.name = name
            return search(file, name, *rest)

        def evaluated(done, size, *rest):  # type: ignore[no-untyped-def]
            _report(workspace, *(f"{here.name}/{len(done) + number}" for number in range(size)))
            return evaluate(done, size, *rest)

        study_file.search, study_file._evaluate_batch = searched, evaluated
        study.probe(workspace)

    return _campaign(folder, SEARCHES, made, began, trials_of, "trials", "features")


def training(folder: Path) -> Outcome:
    """100 of finetune: a round that is committed is not trained again."""

    def began(workspace: Path) -> None:
        from toolkit.finetune import run as finetune_run

        honest = finetune_run.train

        def reporting(job, round_, *rest):  # type: ignore[no-untyped-def]
            _report(workspace, f"round-{round_.fold}.json")
            return honest(job, round_, *rest)

        finetune_run.train = reporting
        study.finetune(workspace)

    return _campaign(folder, SEARCHES, study.make(folder / "study"), began, rounds_of, "rounds")


def clips_of(workspace: Path) -> dict[str, bytes]:
    """Every committed clip, as its sidecar has it."""
    found = {}
    for path in workspace.glob("features/*/shard-*.json"):
        for clip, *rest in json.loads(path.read_text())["clips"]:
            found[clip] = json.dumps(rest).encode()
    return found


def rounds_of(workspace: Path) -> dict[str, bytes]:
    """Every committed round of a fine-tuning that is not finished: what it predicts; its seconds are its own."""
    found = {}
    for path in workspace.glob("result/*/rounds/round-*.json"):
        content = json.loads(path.read_text())
        found[path.name] = json.dumps([content["prediction"], content["probability"]]).encode()
    return found


def trials_of(workspace: Path) -> dict[str, bytes]:
    """Every trial of a study.jsonl, read by Optuna alone; what the kill tore is the next run's to write over."""
    found: dict[str, bytes] = {}
    for file in workspace.glob("result/*/study.jsonl"):
        whole = workspace.parent / "whole.jsonl"
        content = file.read_bytes()
        whole.write_bytes(content[: content.rfind(b"\n") + 1])
        storage = JournalStorage(JournalFileBackend(str(whole)))
        for name in optuna.get_all_study_names(storage):
            for trial in optuna.load_study(study_name=name, storage=storage).trials:
                assert trial.state.is_finished(), f"trial {trial.number} of {name} is {trial.state.name}"
                found[f"{name}/{trial.number}"] = json.dumps([trial.value, trial.params]).encode()
    return found


def _report(workspace: Path, *names: str) -> None:
    """What is computed now, beside the workspace, where a kill cannot undo it."""
    with (workspace.parent / "computed").open("a") as file:
        file.write("".join(f"{name}\n" for name in names))


def _campaign(
    folder: Path,
    kills: int,
    made: Path,
    began: Callable[[Path], None],
    committed: Callable[[Path], dict[str, bytes]],
    what: str,
    *keep: str,
) -> Outcome:
    generator = random.Random(0)
    whole = study.fresh(made, folder / "whole", *keep)
    undisturbed = run(lambda: began(whole), Arm(whole, KILL_BEFORE, -1))
    assert not undisturbed.code, undisturbed.output
    expected, kept, calls = study.contents(whole), committed(whole), undisturbed.calls
    seconds = processor_seconds(study.fresh(made, folder / "killed", *keep), began)
    done = lost = again = other = campaigns = 0
    workspace = folder / "killed"
    fresh = True
    while done < kills or not fresh:
        if fresh:
            study.fresh(made, workspace, *keep)
        before, was_whole = committed(workspace), _run_is_whole(workspace)
        log = folder / "computed"
        log.unlink(missing_ok=True)
        if done >= kills:
            ended = run(lambda: began(workspace))
        elif generator.random() < 0.5:
            how = generator.choice((KILL_BEFORE, KILL_WITHIN))
            ended = run(lambda: began(workspace), Arm(workspace, how, generator.randrange(calls)))
        else:
            ended = _killed_at(generator.uniform(0.05, 1.0) * seconds, lambda: began(workspace))
        assert ended.killed or not ended.code, ended.output
        after = committed(workspace)
        finished = not ended.killed
        if not (what == "rounds" and _run_is_whole(workspace)):  # it has taken its rounds up, and tidies them away
            lost += sum(after.get(name) != content for name, content in before.items())
        computed = log.read_text().splitlines() if log.exists() else []
        again += len(computed) - (0 if was_whole else len(set(computed) - _for_good(before, kept)))
        done += ended.killed
        fresh = finished
        if finished:
            campaigns += 1
            other += study.contents(workspace) != expected or committed(workspace) != kept
    sentence = (
        f"{done} kills in {campaigns} runs: {lost} committed {what} lost, {again} computed again, "
        f"{other} runs ended in other bytes"
    )
    return Outcome(done, sentence, not (lost or again or other))


def _for_good(before: Mapping[str, bytes], kept: Mapping[str, bytes]) -> set[str]:
    """What need not be done again: of a batch of trials that a kill tore, all are."""
    there, whole = Counter(map(_batch, before)), Counter(map(_batch, kept))
    return {name for name in before if there[_batch(name)] == whole[_batch(name)]}


def _batch(name: str) -> str:
    study, _, number = name.rpartition("/")
    return f"{study}/{int(number) // BATCH}" if study else name


def _run_is_whole(workspace: Path) -> bool:
    return any(workspace.glob("result/*/run.json"))


def processor_seconds(workspace: Path, began: Callable[[Path], None]) -> float:
    before = os.times()
    assert not run(lambda: began(workspace)).code
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _killed_at(seconds: float, what: Callable[[], None]) -> Ended:
    return run(what, until=lambda used: 9 if used >= seconds else None)
