"""What cells of other people's tables say."""

import pytest

from toolkit.corpus import cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14", 14), ("14.0", 14), ("14,25", 14.25), (".5", 0.5), ("1.4e1", 14), ("00:00:14.00", 14),
        ("1:02:03", 3723),
        ("02:13", 133), ("90:00", 5400), ("00：00：14", 14), ("0 days 00:00:14.500000", 14.5),
        ("1分30秒", 90), ("12秒", 12),
        ("250ms", 0.25), ("1:75", None), ("1:60:00", None), ("-1", None), ("1:2:3:4", None), ("1,234.5", None),
        ("x", None),
        ("1 2", None), ("1900-01-01 01:00:00", None),
    ],
)  # fmt: skip
def test_seconds_are_numbers_or_times_by_the_clock(text: str, value: float | None) -> None:
    assert cells.seconds(text) == value


def test_bare_numbers_may_be_milliseconds_and_times_never_are() -> None:
    assert [cells.seconds(text, milliseconds=True) for text in ("1500", "0:01.5", "2 s")] == [1.5, 1.5, 2.0]


@pytest.mark.parametrize("column", [["悲伤", "否"], ["2", "1"], ["x", "y"], ["f", "t"], []])
def test_other_columns_are_no_flags(column: list[str]) -> None:
    assert cells.flags(column) is None
