"""Studies: the same proposals whatever happened in between, and nothing half-made on disk."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from toolkit.core.study_file import StudyFile
from toolkit.probe.optuna_study import PRUNED_AFTER, Report, Trial, best, search
from toolkit.probe.protocol import LogUniform, Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.search import BATCH, explain

SPACE = {"C": LogUniform(1e-3, 1e3)}


def journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def losses(settings: Sequence[Setting], _: Report) -> list[float]:
    return [abs(math.log10(float(setting["C"])) - 1) for setting in settings]


def run(path: Path, trials: int, seed: int = 0, signature: str = "same") -> list[tuple[float, float]]:
    file = StudyFile(path)
    found = search(file, "linear encoder.0 round 0", signature, SPACE, trials, seed, losses)
    return [(float(trial.setting["C"]), trial.loss) for trial in found]


def test_the_same_seed_proposes_the_same_and_another_does_not(tmp_path: Path) -> None:
    first = run(tmp_path / "a.jsonl", 25)
    assert first == run(tmp_path / "b.jsonl", 25)
    assert first != run(tmp_path / "c.jsonl", 25, seed=1)


@pytest.mark.parametrize("stopped_after", [3, 10, 14, 25])
def test_a_search_that_was_stopped_anywhere_ends_as_if_it_had_not_been(tmp_path: Path, stopped_after: int) -> None:
    undisturbed = run(tmp_path / "a.jsonl", 30)
    whole = optuna.load_study(study_name="linear encoder.0 round 0", storage=journal(tmp_path / "a.jsonl"))
    file = StudyFile(tmp_path / "b.jsonl")
    file.finished("linear encoder.0 round 0", "same")
    file.append("linear encoder.0 round 0", whole.trials[:stopped_after])  # a kill can leave half a batch
    assert run(tmp_path / "b.jsonl", 30) == undisturbed


def test_finished_trials_are_not_evaluated_again(tmp_path: Path) -> None:
    run(tmp_path / "a.jsonl", 20)
    requests: list[int] = []

    def counted(settings: Sequence[Setting], report: Report) -> list[float]:
        requests.append(len(settings))
        return losses(settings, report)

    file = StudyFile(tmp_path / "a.jsonl")
    search(file, "linear encoder.0 round 0", "same", SPACE, 30, 0, counted)
    assert requests == [BATCH]


def test_optuna_itself_reads_the_file_and_finds_only_finished_trials(tmp_path: Path) -> None:
    found = run(tmp_path / "a.jsonl", 12)
    study = optuna.load_study(study_name="linear encoder.0 round 0", storage=journal(tmp_path / "a.jsonl"))
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert [trial.params["C"] for trial in study.trials] == [strength for strength, _ in found]


def test_what_is_worse_than_the_median_on_the_way_is_given_up_and_never_the_best(tmp_path: Path) -> None:
    def stepwise(settings: Sequence[Setting], report: Report) -> Iterator[float]:
        for number, final in enumerate(losses(settings, report)):
            # The last step of what is given up would have been the best of all.
            yield -10.0 if report(number, 1, final) else final

    def run_stepwise(path: Path) -> list[Trial]:
        file = StudyFile(path)
        return search(file, "s", "same", SPACE, 30, 0, stepwise)

    found = run_stepwise(tmp_path / "a.jsonl")
    pruned = [trial.number for trial in found if trial.pruned]
    assert 5 <= len(pruned) < 25 and min(pruned) >= PRUNED_AFTER
    assert best(found).loss == min(trial.loss for trial in found if not trial.pruned)
    study = optuna.load_study(study_name="s", storage=journal(tmp_path / "a.jsonl"))
    assert [trial.number for trial in study.get_trials(states=[optuna.trial.TrialState.PRUNED])] == pruned
    assert study.trials[pruned[0]].intermediate_values.keys() == {1}
    assert run_stepwise(tmp_path / "a.jsonl") == found == run_stepwise(tmp_path / "b.jsonl")


def test_the_search_gets_better_than_its_first_guesses(tmp_path: Path) -> None:
    file = StudyFile(tmp_path / "a.jsonl")
    trials = search(file, "s", "same", SPACE, 60, 0, losses)
    assert best(trials).loss < best(trials[:BATCH]).loss
    assert best(trials).loss < 0.1


def test_every_probe_has_a_space_and_is_explained() -> None:
    for name, row in PROBES.items():
        assert name in explain()
        for parameter, values in row.space.items():
            (line,) = [line for line in explain(name).splitlines() if line.startswith(f"  {parameter} ")]
            assert str(values) in line and line.split(str(values))[1].strip()  # what it means
