import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import LabelError
from toolkit.corpus import labels


def task_of(target: str, **columns: list[str]) -> tuple[labels.Task, labels.IntArray]:
    length = len(next(iter(columns.values())))
    return labels.task_of(target, columns, range(2, 2 + length))


def test_the_hotline_preset_has_the_papers_eleven_labels_in_its_order() -> None:
    columns = {name: ["0", "1"] for name in labels.HOTLINE}
    task, truth = task_of("hotline", **columns)
    assert task == labels.Task("hotline", "multilabel", labels.HOTLINE, labels.HOTLINE)
    assert " ".join(task.labels) == (
        "despair sadness pain guilt confuse helplessness resentment fear numbness anxiety grievance"
    )
    assert truth.tolist() == [[0] * 11, [1] * 11]


def test_zeros_and_ones_are_binary_with_the_positive_last() -> None:
    task, truth = task_of("negative", negative=["1", "0", "1"])
    assert (task.kind, task.labels) == ("binary", ("not negative", "negative"))
    assert truth.tolist() == [1, 0, 1]
    assert labels.one_hot(task, truth).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_two_words_are_binary_in_alphabetical_order() -> None:
    task, truth = task_of("sex", sex=["male", "female", "male"])
    assert (task.kind, task.labels, truth.tolist()) == ("binary", ("female", "male"), [1, 0, 1])


def test_several_columns_keep_the_order_of_the_target() -> None:
    task, truth = task_of("fear, anger", anger=["0", "1"], fear=["1", "0"])
    assert (task.kind, task.labels, task.name, task.multilabel) == ("multilabel", ("fear", "anger"), "fear+anger", True)
    assert truth.tolist() == [[1, 0], [0, 1]]
    assert truth.dtype == np.int64


@given(st.lists(st.sampled_from(["joy", "fear", "怒", "sad"]), min_size=1, max_size=30))
def test_multiclass_truth_gives_every_cell_back(cells: list[str]) -> None:
    cells = ["joy", "fear", "sad", *cells]
    task, truth = task_of("emotion", emotion=cells)
    assert task.kind == "multiclass"
    assert [task.labels[index] for index in truth] == cells
    assert list(task.labels) == sorted(set(cells))
    hot = labels.one_hot(task, truth)
    assert hot.sum(axis=1).tolist() == [1] * len(cells)
    assert hot.argmax(axis=1).tolist() == truth.tolist()


@pytest.mark.parametrize(
    ("target", "columns", "sentence"),
    [
        ("joy", {"fear": ["0"], "sex": ["f"]}, r"No label column 'joy' in the manifest; it has \['fear', 'sex'\]"),
        ("fear,", {"fear": ["0"]}, "No label column ''"),
        ("fear", {"fear": ["0", " "]}, "Manifest line 3, column 'fear': the label is empty"),
        ("fear", {"fear": ["a", "b", "a "]}, "Manifest line 4, column 'fear': 'a ', expected a label without spaces"),
        ("fear", {"fear": ["a", "a"]}, r"holds the values \['a'\]; two or more"),
        ("fear", {"fear": []}, r"holds the values \[\]; two or more"),
        ("fear,joy", {"fear": ["0", "1"], "joy": ["1", "2"]}, "Manifest line 3, column 'joy': '2', expected 0 or 1"),
        (
            "fear,joy",
            {"fear": ["0", "1"], "joy": ["1", "1.0"]},
            "Manifest line 3, column 'joy': '1.0', expected 0 or 1",
        ),
        ("fear,fear", {"fear": ["0", "1"]}, "named twice"),
        ("text", {"text": [f"t{number}" for number in range(100)]}, "100 different values in 100 clips"),
        ("hotline", {"despair": ["0", "1"]}, "No label column 'sadness'"),
    ],
)
def test_bad_targets_are_refused_with_the_line(target: str, columns: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        task_of(target, **columns)


@pytest.mark.parametrize(("clips", "most"), [(60, 50), (400, 100)])
def test_a_column_of_so_many_values_is_a_label_and_of_one_more_is_not(clips: int, most: int) -> None:
    """50, and a quarter of the clips where that is more."""
    assert len(task_of("call", call=[f"{clip % most:03d}" for clip in range(clips)])[0].labels) == most
    with pytest.raises(LabelError, match=f"{most + 1} different values in {clips} clips"):
        task_of("call", call=[f"{clip % (most + 1):03d}" for clip in range(clips)])


@given(st.lists(st.text(min_size=1, max_size=100).filter(lambda name: "," not in name), min_size=1, max_size=12))
def test_a_tasks_name_is_safe_in_a_file_name(names: list[str]) -> None:
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not names or ",".join(names) in labels.PRESETS:
        return
    task, _ = task_of(",".join(names), **{name: ["0", "1"] for name in names})
    assert task.name
    assert len(task.name.encode()) <= 80
    assert not task.name.startswith((".", "-"))
    assert not set(task.name) & set("/\\ \0\n\t:*?\"<>|'")
    assert task.columns == tuple(names)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (["a" * 40], "a" * 40),
        (["a" * 41], "a" * 36),
        (["a" * 20, "b" * 19], "a" * 20 + "+" + "b" * 19),
        (["a" * 20, "b" * 20, "c"], "a" * 20 + "+2"),
        (["怒" * 13], "怒" * 13),
        (["怒" * 14], "怒" * 12),  # of three bytes each
        ([".é/x"], "é_x"),
        (["..."], "target"),
    ],
)
def test_a_tasks_name_is_its_columns_or_the_first_of_them_where_they_are_long(columns: list[str], name: str) -> None:
    assert task_of(",".join(columns), **{column: ["0", "1"] for column in columns})[0].name == name


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal", "regression"])
def test_a_task_knows_its_kind(kind: labels.Kind) -> None:
    task = labels.Task("t", kind, ("a", "b"), ("t",))
    told = {"multilabel": task.multilabel, "ordinal": task.ordinal, "regression": task.regression}
    assert [name for name, holds in told.items() if holds] == [name for name in told if name == kind]


NUMBERS = labels.Task("v+a", "regression", ("valence", "arousal"), ("valence", "arousal"))
SOME = np.array([[1.0, 0.1], [np.nan, 0.1], [4.0, 0.1], [4.0, np.nan]])


def test_the_middle_of_labels_is_their_share_and_of_numbers_their_mean_and_deviation() -> None:
    three = labels.Task("mood", "multiclass", ("a", "b", "c"), ("mood",))
    share, none = labels.middle_of(three, np.array([0, 2, 2, 2]))
    assert share.tolist() == [0.25, 0.0, 0.75] and none.shape == (0,)
    mean, spread = labels.middle_of(NUMBERS, SOME)
    assert mean == pytest.approx([3.0, 0.1]) and spread == pytest.approx([2**0.5, 0.0])
    assert spread[1] == 0.0  # though the mean of three times 0.1 is not 0.1 to the last bit
    mean, spread = labels.middle_of(NUMBERS, np.full((2, 2), np.nan))
    assert mean.tolist() == spread.tolist() == [0.0, 0.0]


def test_labels_of_all_clips_or_none_and_numbers_that_do_not_vary_are_constant() -> None:
    many = labels.Task("m", "multilabel", ("a", "b", "c"), ("a", "b", "c"))
    assert labels.constant_labels(many, np.array([[0, 1, 0], [0, 1, 1]])) == ["a", "b"]
    assert labels.constant_labels(NUMBERS, SOME) == ["arousal"]


def test_the_truth_is_listed_for_json_without_nan() -> None:
    assert labels.listed(NUMBERS, SOME[:2]) == [[1.0, 0.1], [None, 0.1]]
    assert labels.listed(labels.Task("y", "binary", ("n", "y"), ("y",)), np.array([0, 1])) == [0, 1]


def test_numbers_are_dealt_out_by_five_parts_of_equal_size_of_each_target() -> None:
    values = np.stack([np.arange(10.0), np.array([0.0, 1.0] * 5)], axis=1)
    values[3, 1] = np.nan
    parts = labels.strata(NUMBERS, values)
    assert parts.dtype == np.int64 and parts[:, :5].argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert parts[:, 5:].tolist() == [[1, 0], [0, 1], [1, 0], [0, 0], *[[1, 0], [0, 1]] * 3]
    assert parts[:, :5].sum(axis=1).tolist() == [1] * 10
