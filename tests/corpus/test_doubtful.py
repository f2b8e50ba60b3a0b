"""Names cut by a spreadsheet or made dates, and several labels in one cell, are refused; ordinary ones pass."""

import pytest

from toolkit.core.errors import LabelError, SplitError
from toolkit.corpus.doubtful import doubtful, several_names
from toolkit.corpus.spellings import Rules, names, settle

CUT, DATE, LIST = "looks cut by a spreadsheet, which keeps 15 digits", "looks like a date", "lists several labels"


@pytest.mark.parametrize(
    ("cells", "group", "at", "wrong"),
    [
        (["s1", "1.38E+11", "1.38e+11"], True, 1, CUT),
        (["202301011234567000", "202301011234568000", "20230101123456900"], True, 0, CUT),
        (["3-4", "2-Jan"], True, 1, DATE),
        (["7-9", "2-Jan"], False, 1, DATE),
        (["02. Mrz", "03. Dez"], False, 0, DATE),
        (["1-3", "4月6日"], False, 1, DATE),
        (["a1", "2021-01-02 00:00:00"], True, 1, DATE),
        (["sad", "joy", "sad,joy"], False, 2, LIST),
        (["sad,joy", "Joy; Sad"], False, 1, LIST),
        (["1", "2", "1;3"], False, 2, LIST),
        (["悲伤", "焦虑", "焦虑、悲伤"], False, 2, LIST),
    ],
)
def test_a_doubtful_name_is_refused_with_what_to_write(cells: list[str], group: bool, at: int, wrong: str) -> None:
    found = doubtful(cells, group)
    assert found is not None and found[0] == at and found[1].startswith(wrong)
    lines = range(2, 2 + len(cells))
    with pytest.raises(SplitError if group else LabelError) as refused:
        settle("who", cells, lines, Rules("merge"), group)
    assert f"column 'who': {cells[at]!r} (line {2 + at}" in str(refused.value)
    assert str(refused.value).endswith("or --unknown keep (takes it for a name like any other)")
    assert settle("who", cells, lines, Rules("keep", "keep"), group).cells == tuple(cells)


@pytest.mark.parametrize(
    ("cells", "group"),
    [
        (["1e11", "2E7", "12E+3"], True),
        (["202301011234567000", "202301011234568000", "202301011234569001"], True),
        (["202301011234567000", "202301011234568000"], True),
        (["138001380001000", "138001380002000", "138001380003000"], True),
        (["s1", "1.38E+11"], False),
        (["2021-01-02", "2021-01-03"], True),
        (["2021-01-02", "2021-01-03", ""], False),
        (["Jan", "Mai", "Ses01-F"], True),
        (["a/1", "a/2", "a", "1"], True),
        (["angry/frustrated", "happy/excited", "neutral"], False),
        (["mother, father", "child"], False),
        (["1", "1,5", "2"], False),
        (["C++", "C"], False),
        (["y >= 8", "y < 8"], False),
        (["not sad", "sad"], False),
        ([""], False),
    ],
)
def test_ordinary_names_pass(cells: list[str], group: bool) -> None:
    assert doubtful(cells, group) is None


def test_who_was_not_sure_wrote_the_same_label() -> None:
    cells, lines = ["sad", "sad?", "joy", "sad (?)", "3？"], range(2, 7)
    assert [name.key for name in names(cells, lines)] == ["sad", "joy", "3"]
    with pytest.raises(LabelError, match=r"'sad' \(line 2\) and 'sad\?' \(line 3\).*are spellings of one name"):
        settle("emotion", cells, lines, Rules())
    assert settle("emotion", cells, lines, Rules("merge")).cells == ("sad", "sad", "joy", "sad", "3？")


@pytest.mark.parametrize("cell", ["#REF!", "#NAME?", "keine Angabe", "k.A.", "Weiß nicht", "Don't know", "xxx", "拒答"])
def test_what_programs_and_people_write_for_nothing_is_refused(cell: str) -> None:
    with pytest.raises(LabelError, match="may stand for an unknown value"):
        settle("emotion", ["sad", cell, "joy"], range(2, 5), Rules())


@pytest.mark.parametrize(
    ("callers", "same"),
    [
        (["s1_call1", "s2_call1", "S1_Call2", "s3"], [["s1_call1", "S1_Call2"]]),
        (["张三-第1次", "李四-第1次", "张三-第2次"], [["张三-第1次", "张三-第2次"]]),
        (["13800138000", "+86 138-0013-8000", "13800138001"], [["+86 138-0013-8000", "13800138000"]]),
        (["030 1234567", "0049301234567"], [["0049301234567", "030 1234567"]]),
        (["138 0013 8000", "13800138000"], [["138 0013 8000", "13800138000"]]),
        (["hotline_call1", "hotline_call2", "hotline_call3"], []),
        (["call1", "call2"], []),
        (["s_1", "s_2", "t_1"], []),
        (["Ses01F", "Ses01M", "Ses02F"], []),
        (["8613800138000", "13800138000", "3800138000"], []),
        (["speaker_0001", "speaker_0002"], []),
        (["1001", "1002", "F01_01"], []),
    ],
)
def test_one_caller_under_several_names_is_seen(callers: list[str], same: list[list[str]]) -> None:
    assert several_names(callers) == same
