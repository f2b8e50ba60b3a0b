"""Targets that are scales: read as numbers or as levels in their order, refused in a sentence, dealt out evenly."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, LabelError, SplitError
from toolkit.core.i18n import Note
from toolkit.corpus.evaluation_task import EvaluationTask, build_task
from toolkit.corpus.labels import Task, strata
from toolkit.corpus.manifest import inspect
from toolkit.corpus.scales import missing_levels
from toolkit.corpus.spellings import Rules
from toolkit.corpus.splits import Round

VALENCE = [f"{1 + 6 * (number * 7 % 40) / 39:.2f}" for number in range(40)]
REGRESSION = Rules(kind="regression")


def asked(
    folder: Path, columns: dict[str, Sequence[str]], rules: Rules, target: str | None = None, speakers: int = 8
) -> EvaluationTask:
    """A question of a manifest without recordings."""
    rows = [",".join(["id", "path", "speaker", *columns])]
    for number, cells in enumerate(zip(*columns.values(), strict=True)):
        quoted = (f'"{cell}"' for cell in cells)
        rows.append(",".join([f"c{number}", f"{number}.wav", f"s{number % speakers}", *quoted]))
    (folder / "manifest.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    found, defects = inspect(folder / "manifest.csv")
    assert found is not None, defects
    return build_task(found, target or ",".join(columns), 4, 0, rules=rules)


def with_cell(cell: str, row: int = 3) -> list[str]:
    return [*VALENCE[:row], cell, *VALENCE[row + 1 :]]


def test_a_regression_keeps_its_numbers(tmp_path: Path) -> None:
    found = asked(tmp_path, {"valence": VALENCE}, REGRESSION)
    assert found.task == Task("valence", "regression", ("valence",), ("valence",))
    assert found.truth.tolist() == [[float(cell)] for cell in VALENCE]
    assert found.rules.stated()["kind"] == "regression"


def test_a_missing_number_is_left_out_of_its_target_alone(tmp_path: Path) -> None:
    columns = {"valence": ["", "", *VALENCE[2:]], "arousal": ["", *VALENCE[1:]]}
    with pytest.raises(LabelError, match=r"line 2, column 'valence': the label is empty, .* or --unlabelled skip"):
        asked(tmp_path, columns, REGRESSION)
    found = asked(tmp_path, columns, Rules(kind="regression", unlabelled="skip"))
    assert found.truth.shape == (39, 2)  # the first clip has none
    assert np.isnan(found.truth).tolist()[0] == [True, False] and not np.isnan(found.truth[1:]).any()
    assert any("left out: 1 of 40 clips" in str(note) for note in found.notes)
    assert "Without a number in 'valence', left out of this target alone: 1 of 39 clips." in map(str, found.notes)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("nan", r"line 5, column 'valence': 'nan', expected a finite number such as 12.5"),
        ("inf", r"'inf', expected a finite number"),
        ("1e999", r"'1e999', expected a finite number"),
        ("1_0", r"'1_0', expected a finite number"),
        ("12,5", r"line 5, column 'valence': '12,5' has a decimal comma, expected a point: 12.5"),
        (
            "1,250",
            r"'1,250' has a comma, expected 1250 where it parts thousands, and 1.250 where it is a decimal comma",
        ),
        ("45 %", r"'45 %' has a percent sign, expected the number alone: 45"),
        ("1e9", r"line 5, column 'valence': 1e\+09 is more than 1000 times as far from the median, 4, as clips "),
    ],
)
def test_what_is_no_number_of_the_scale_is_refused(tmp_path: Path, cell: str, told: str) -> None:
    with pytest.raises(LabelError, match=told):
        asked(tmp_path, {"valence": with_cell(cell)}, REGRESSION)


@pytest.mark.parametrize(
    ("code", "rules"),
    [("999", REGRESSION), ("-9", REGRESSION), ("99", Rules(kind="ordinal")), ("88.0", Rules(threshold=4.0))],
)
def test_a_usual_code_for_no_answer_is_no_number_of_the_scale(tmp_path: Path, code: str, rules: Rules) -> None:
    cells = [str(1 + number % 7) for number in range(40)]
    cells[3] = code
    told = f"line 5, column 'risk': {float(code):g} is a usual code for no answer, and the other numbers are 1 to 7; "
    with pytest.raises(LabelError, match=told + r"clear such cells .*, or say --unknown keep"):
        asked(tmp_path, {"risk": cells}, rules)
    kept = asked(tmp_path, {"risk": cells}, replace(rules, unknown="keep"))
    assert len(kept.truth) == 40
    asked(tmp_path, {"risk": [str(10 * number % 97) for number in range(39)] + ["99"]}, REGRESSION)  # one of them


@pytest.mark.parametrize(
    "rules", [REGRESSION, Rules(kind="ordinal"), Rules(kind="classes"), Rules(threshold=1.0), Rules()]
)
@pytest.mark.parametrize("code", ["9", "8", "99"])
def test_so_is_one_digit_far_above_the_few_levels_of_a_scale_and_classes_have_codes_too(
    tmp_path: Path, code: str, rules: Rules
) -> None:
    cells = [str(number % 4) for number in range(40)]
    cells[3] = code
    with pytest.raises(
        LabelError, match=f"'risk': {code} is a usual code for no answer, and the other numbers are 0 to 3"
    ):
        asked(tmp_path, {"risk": cells}, rules)
    kept = Rules(kind="classes", unknown="keep")
    assert asked(tmp_path, {"risk": cells}, kept).task.labels == ("0", "1", "2", "3", code)


@pytest.mark.parametrize("levels", ["123456789", "1359", "0149", "12347", "19"])
def test_a_scale_of_one_digit_may_end_with_9(tmp_path: Path, levels: str) -> None:
    cells = [levels[number % len(levels)] for number in range(40)]
    assert len(asked(tmp_path, {"risk": cells}, Rules(kind="ordinal")).truth) == 40


def test_a_constant_and_an_unknown_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"'valence' holds the numbers \[3.0\]; two or more are needed to predict one"):
        asked(tmp_path, {"valence": ["3", "3.0"] * 20}, REGRESSION)
    with pytest.raises(LabelError, match="No label column 'joy' in the manifest"):
        asked(tmp_path, {"valence": VALENCE}, REGRESSION, "joy")
    with pytest.raises(LabelError, match="A label column is named twice in --target valence,valence"):
        asked(tmp_path, {"valence": VALENCE}, REGRESSION, "valence,valence")
    with pytest.raises(SplitError, match="--folds 4 needs at least 4 different values of 'speaker'; the clips have 1"):
        asked(tmp_path, {"valence": VALENCE}, REGRESSION, speakers=1)


def test_a_decimal_comma_is_refused_where_nothing_is_said_of_the_kind(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"line 2, .*'1,00' has a decimal comma, expected a point: 1.00"):
        asked(tmp_path, {"valence": [cell.replace(".", ",") for cell in VALENCE]}, Rules())
    shares = [f"{20 * (number % 4)}%" for number in range(40)]
    with pytest.raises(LabelError, match=r"line 2, .*'0%' has a percent sign, expected the number alone: 0; or --kind"):
        asked(tmp_path, {"share": shares}, Rules())
    assert len(asked(tmp_path, {"share": shares}, Rules(kind="classes")).task.labels) == 4


def test_levels_are_in_the_order_of_numbers_or_as_they_are_named(tmp_path: Path) -> None:
    risk = [str(1 + number * 5 % 16) for number in range(40)]
    found = asked(tmp_path, {"risk": risk}, Rules(kind="ordinal"))
    assert found.task.kind == "ordinal" and found.task.labels == tuple(map(str, range(1, 17)))
    assert found.truth.tolist() == [int(cell) - 1 for cell in risk]
    words = [("low", "medium", "high")[number % 3] for number in range(40)]
    found = asked(tmp_path, {"risk": words}, Rules(kind="ordinal", levels=("low", "medium", "high")))
    assert found.task.labels == ("low", "medium", "high") and found.truth.tolist()[:4] == [0, 1, 2, 0]
    found = asked(tmp_path, {"risk": ["1", "2", "4", "2"] * 10}, Rules(kind="ordinal"))
    assert "The levels of 'risk' (1, 2, 4) count as equally far apart, though the numbers are not." in map(
        str, found.notes
    )


@pytest.mark.parametrize(
    ("cells", "levels", "told"),
    [
        (["low", "high"], (), r"line 2, column 'risk': 'low' is no number .* --levels low,medium,high"),
        (["low", "huge"], ("low", "high"), r"line 3, column 'risk': Bad level 'huge', expected one of .* of --levels"),
        (["low", "high"], ("low", "high", "top"), r"--levels names 'top', and no clip has it in column 'risk'"),
        (["1", "2"], ("2", "1"), r"--levels 2,1 are numbers and not in their order"),
        (["1", "1"], (), r"'risk' holds the levels \['1'\]; two or more are needed to tell apart"),
    ],
)
def test_levels_without_an_order_are_refused(
    tmp_path: Path, cells: list[str], levels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(LabelError, match=told):
        asked(tmp_path, {"risk": cells * 20}, Rules(kind="ordinal", levels=levels))


def test_folds_share_out_numbers_evenly(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(400) % 40
    values = groups / 10 + generator.standard_normal(400)
    columns = {"valence": [f"{value:.3f}" for value in values], "arousal": [f"{-value:.3f}" for value in values]}
    found = asked(tmp_path, columns, REGRESSION, speakers=40)
    means = [found.truth[found.folds.fold == fold, 0].mean() for fold in range(4)]
    assert np.ptp(means) < 0.15 < np.std([found.truth[groups == group, 0].mean() for group in range(40)])
    bins = strata(found.task, found.truth)
    assert bins.shape == (400, 10) and (bins.sum(axis=0) == 80).all()
    assert strata(Task("x", "regression", ("x",), ("x",)), np.array([[0.0], [0], [0], [1], [np.nan]])).sum() == 4


def test_a_cut_scale_has_the_folds_of_the_scale(tmp_path: Path) -> None:
    """So that the binary answer and the ordinal one are of the same clips in the same rounds."""
    risk = {"risk": [str(1 + number * 5 % 16) for number in range(40)]}
    whole = asked(tmp_path, risk, Rules(kind="ordinal"))
    cut = asked(tmp_path, risk, Rules(kind="ordinal", threshold=8.0))
    assert cut.task.kind == "binary" and cut.task.labels == ("risk < 8", "risk >= 8")
    assert cut.folds.sha256 == whole.folds.sha256
    assert cut.truth.tolist() == (whole.truth >= 7).astype(int).tolist()


def test_levels_that_rounds_cannot_learn_are_one_note() -> None:
    task, truth = Task("risk", "ordinal", ("1", "2", "3"), ("risk",)), np.array([0, 1, 2, 0, 1, 0])
    rounds = [Round(0, np.array([0, 3]), np.array([1, 4]), np.array([2])), Round(1, np.arange(3), np.arange(0), truth)]
    never, late = missing_levels(task, truth, rounds)
    assert never == Note("missing_levels", {"list": "0: 3"})
    assert late == Note("missing_levels_search", {"list": "0: 2"})
    assert len(missing_levels(task, truth, rounds, refit=False)) == 1
    assert missing_levels(task, truth, rounds[1:]) == []


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [({"threshold": float("nan")}, "expected a finite number"), ({"levels": ("a", "a")}, "names a level twice")],
)
def test_a_threshold_is_finite_and_a_level_named_once(rules: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Rules(**rules)  # type: ignore[arg-type]
