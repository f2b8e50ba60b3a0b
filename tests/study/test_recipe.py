"""Recipes as files: what is read, what is refused and where, and that no bytes whatever give more than our error."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.core.errors import RecipeError
from toolkit.study.recipe import Option, Shape, read
from toolkit.study.toml_positions import offsets, place

SHAPES = {
    "study": Shape({"target": Option(str, several=True), "folds": Option(str), "seed": Option(int)}, ("target",)),
    "probe": Shape({"trials": Option(int, low=1), "minutes": Option(float, low=0, high=60)}),
    "finetune": Shape({"train": Option(str), "rate": Option(float), "gradient-checkpointing": Option(bool)}, many=True),
}
GOOD = """\
[study] # a comment
target = ["fear", 'joy']
folds = 5

[probe]
minutes = 2

[[finetune]]
train = "full"
gradient-checkpointing = true
[[finetune]]
rate = 1e-4
"""


def test_a_recipe_is_read_with_the_place_of_every_value(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(GOOD.replace("\n", "\r\n"), encoding="utf-8", newline="")
    tables = read(file, SHAPES)
    assert {name: [dict(table.values) for table in found] for name, found in tables.items()} == {
        "study": [{"target": ["fear", "joy"], "folds": "5"}],
        "probe": [{"minutes": 2.0}],
        "finetune": [{"train": "full", "gradient-checkpointing": True}, {"rate": 1e-4}],
    }
    second = tables["finetune"][1]
    assert str(second.refusal("rate", "too fast")) == "r.toml, line 12, column 8: too fast"
    assert str(second.refusal("train", "none")) == "r.toml, line 11, column 1: none"  # it is not there: the table
    file.write_text('study.target = "a"')
    alone = read(file, SHAPES)
    assert alone["study"][0].values == {"target": ["a"]} and alone["study"][0].places["target"] == (1, 16)
    assert alone["finetune"] == () and alone["probe"][0].values == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1, column 1: no table [study]; expected one with target"),
        ("[study]\nfolds = 5\n", "line 1, column 1: [study] has no 'target'; expected text, or a list of texts"),
        ("[study\n", "line 1, column 7: it is not TOML: expected ']'"),
        ('[study]\ntarget = "a', "line 2, column 12: it is not TOML: "),
        ("[study]\ntarget = 'a'\ntarget = 'b'", "line 3, column 13: it is not TOML: cannot overwrite"),
        (b"[study]\ntarget = '\xe9\xe9'", "line 2, column 11: byte 0xe9 is not UTF-8"),
        ("\ufeff[study]", "line 1, column 1: it is not TOML"),
        ("[study]\ntarget = 'a'\n[studio]", "line 3, column 1: unknown table: 'studio', did you mean 'study'?"),
        ("[study]\ntarget = 'a'\n  seeds = 1", "line 3, column 3: unknown key in [study]: 'seeds', did you mean"),
        ("[study]\ntarget = ['a', 3.0]", "line 2, column 16: target = 3.0, expected text"),
        ("[study]\ntarget = []", "line 2, column 10: target is an empty list"),
        ('[study]\ntarget = "a\\nb"', r"line 2, column 10: target = 'a\nb', expected text in one line"),
        ("[study]\ntarget = 'a'\nseed = true", "line 3, column 8: seed = true, expected a whole number"),
        ("[study]\ntarget = 'a'\nseed = 9223372036854775808", "line 3, column 8: seed = a number beyond 64 bits"),
        ("[study]\ntarget = 'a'\nseed = " + "1" * 9999, "line 3, column 8: too long a number"),
        ("[study]\ntarget = 'a'\nfolds = [5]", "line 3, column 9: folds = a list, expected text"),
        ("[study]\ntarget = 'a'\n[probe]\ntrials = 0", "line 4, column 10: trials = 0, expected a whole number from 1"),
        ("[study]\ntarget = 'a'\n[probe]\nminutes = inf", "line 4, column 11: minutes = inf, expected a number"),
        ("[study]\ntarget = 'a'\n[probe]\nminutes = 61", "line 4, column 11: minutes = 61, expected a number"),
        ("[study]\ntarget = 'a'\n[[finetune]]\n[[finetune]]\ngradient-checkpointing = 1", "line 5, column 26: grad"),
        ("[study]\ntarget = 'a'\n[[probe]]\n[[probe]]", "line 4, column 1: a second [probe]; expected one"),
        ("probe = 3\n[study]\ntarget = 'a'", "line 1, column 9: probe = 3, expected a table [probe]"),
        ("[study]\ntarget = " + "[" * 5000 + "]" * 5000, "line 1, column 1: its lists or tables are nested too deep"),
        ("#" * 1_000_001, "line 1, column 1: it has 1,000,001 bytes; a recipe has 1,000,000 at most"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_by_line_and_column(text: str | bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as caught:
        read(file, SHAPES)
    assert str(caught.value).startswith(f"r.toml, {expected}")
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for path, expected in ((tmp_path / "absent", "there is no such file"), (tmp_path, "it is not a regular file")):
        with pytest.raises(RecipeError, match=f"^{path.name}, line 1, column 1: {expected}"):
            read(path, SHAPES)


names = st.text("ab._-\"'é \n\\", max_size=4)
scalars = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.just(']}#\'"""')
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


def quoted(text: str) -> str:
    return (
        '"' + "".join(f"\\U{ord(sign):08x}" if not sign.isalnum() or ord(sign) > 127 else sign for sign in text) + '"'
    )


def written(value: Any, gap: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(one, gap)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + gap + ",".join(written(one, gap) + gap for one in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


def keys(value: Any, key: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {found for name, one in pairs for found in ({(*key, name)} | keys(one, (*key, name)))}


@given(
    st.dictionaries(names, st.dictionaries(names, values, max_size=3) | values, max_size=3),
    st.sampled_from(["", " ", "\n", " # ] \n\t"]),
)
def test_every_key_and_value_of_any_toml_has_its_place(content: dict[str, Any], gap: str) -> None:
    plain = {name: one for name, one in content.items() if not isinstance(one, dict)}
    tables = {name: one for name, one in content.items() if isinstance(one, dict)}
    lines = [f"{quoted(name)} = {written(one, gap)}" for name, one in plain.items()]
    for name, own in tables.items():
        lines += [f"[ {quoted(name)} ] # x", *(f"  {quoted(key)}= {written(one, gap)}#" for key, one in own.items())]
    text = "\n".join(lines)
    read_back = tomllib.loads(text)
    found = offsets(text)
    assert set(found) == keys(read_back)
    for name in tables:
        assert text[found[name,][0]] == "["
    for name in plain:
        key, value = found[name,]
        assert text[key:].startswith(quoted(name)) and place(text, key)[1] == 1
        assert text[value:].startswith(written(plain[name], gap))


@given(st.binary(max_size=200) | st.text("[]{}=.,#\"'\\\n studytarget19", max_size=200).map(str.encode))
@example(b"[study]\ntarget = 2020-13-01")
@example(b"a = 0x" + b"f" * 9000)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    checked(tmp_path / "r.toml", content)


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 8), st.sampled_from(['"', "[", "]", "'", "\n", "=",
                "{", "}", "0", "nan", "1e999", "é", "\0", ".", "#", '"""', ""])), min_size=1, max_size=4))  # fmt: skip
def test_a_damaged_recipe_is_read_or_refused(tmp_path: Path, edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    checked(tmp_path / "r.toml", text.encode())


def checked(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        tables = read(file, SHAPES)
    except RecipeError as error:
        lines = content.replace(b"\r\n", b"\n").split(b"\n")
        assert 1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1
    else:
        assert tables["study"][0].values["target"]
