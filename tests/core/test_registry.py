"""Rows of ours and of installed packages: which there are, who has them, and what is said of names that nobody has."""

import sys
from pathlib import Path

import pytest

from tests import plugins
from toolkit.core.errors import InputError, MachineError
from toolkit.core.registry import GROUP, Registry


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("more_numbers", "other_numbers", "single"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def numbers() -> Registry[int]:
    return Registry("number", "numbers", int, {"one": 1, "lazy": "errno:ENOSPC", "gone": "no_such_module:X"})


def package(site: Path, source: str, points: dict[str, str], name: str = "more_numbers") -> None:
    (site / name).mkdir()
    (site / name / "__init__.py").write_text(source)
    plugins.describe(site, name.replace("_", "-"), {f"{GROUP}.numbers": points}, "2.1")


def test_a_row_is_loaded_when_it_is_asked_for(site: Path) -> None:
    found = numbers()
    assert list(found) == ["one", "lazy", "gone"] and len(found) == 3 and "gone" in found and "two" not in found
    assert found["one"] == 1 and found["lazy"] == 28
    assert found.plugin("one") is None and found.stated("one") == {}
    with pytest.raises(KeyError):
        found["two"]
    with pytest.raises(ModuleNotFoundError):
        found["gone"]


def test_an_installed_package_adds_rows_and_is_named_with_its_files(site: Path) -> None:
    package(site, "TWO = 2", {"two": "more_numbers:TWO"})
    found = numbers()
    assert list(found) == ["one", "lazy", "gone", "two"] and found["two"] == 2
    before = found.stated("two")["number plugin"]
    assert (before["distribution"], before["version"]) == ("more-numbers", "2.1")
    (site / "more_numbers" / "__pycache__").mkdir(exist_ok=True)
    (site / "more_numbers" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert numbers().stated("two")["number plugin"] == before
    (site / "more_numbers" / "data.txt").write_text("changes what is computed")
    assert numbers().stated("two")["number plugin"]["sha256"] != before["sha256"]


def test_a_package_of_one_module_is_hashed_too(site: Path) -> None:
    (site / "single.py").write_text("TWO = 2")
    plugins.describe(site, "single", {f"{GROUP}.numbers": {"two": "single:TWO"}})
    first = numbers().plugin("two")
    (site / "single.py").write_text("TWO = 3")
    second = numbers().plugin("two")
    assert first and second and first.sha256 != second.sha256


def test_a_name_that_nobody_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"Bad number 'onne', expected one of \['one', 'lazy', 'gone'\]; did you mean 'one'\?"
    ):
        numbers().find("onne")
    with pytest.raises(InputError, match=r"expected one of \['one', 'lazy', 'gone'\]$"):
        numbers().find("xyz")


@pytest.mark.parametrize(
    "source, point, sentence",
    [
        ("raise OSError('no such library')", "two", "more-numbers 2.1: its number 'two' cannot be loaded: OSError"),
        ("", "two", "its number 'two' cannot be loaded: AttributeError"),
        ("TWO = 'two'", "two", "more_numbers:TWO is a str, expected a int"),
        ("TWO = 2", "one", "The toolkit and more-numbers 2.1 both have the number 'one'; uninstall"),
    ],
)  # fmt: skip
def test_a_package_that_does_not_fit_is_named(site: Path, source: str, point: str, sentence: str) -> None:
    package(site, source, {point: "more_numbers:TWO"})
    with pytest.raises(MachineError, match=sentence):
        numbers().find(point) if point == "two" else list(numbers())


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    package(site, "TWO = 2", {"two": "more_numbers:TWO"})
    package(site, "TWO = 22", {"two": "other_numbers:TWO"}, "other_numbers")
    with pytest.raises(MachineError, match=r"\w+-numbers 2\.1 and \w+-numbers 2\.1 both have the number 'two'"):
        len(numbers())
