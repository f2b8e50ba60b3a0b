"""The container is read bit for bit, and every damage is one sentence."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.ct2_writer import bfloat16, container, float16, float32, string, variable
from toolkit.core.errors import CheckpointError
from toolkit.models.convert import ct2

VALUES = np.array([[1.5, -2.0, 0.25], [3.0, 0.0, -0.5]], dtype=np.float32)
VARIABLES = {
    "a/float": float32(VALUES),
    "a/half": float16(VALUES),
    "a/brain": bfloat16(VALUES),
    "a/byte": ("int8", np.array([[-127, 5], [0, 127]], dtype=np.int8)),
    "a/short": ("int16", np.array([-1024, 1024], dtype="<i2")),
    "a/scalar": ("int32", np.array(7, dtype="<i4")),
    "a/empty": ("float32", np.zeros((0, 4), dtype="<f4")),
}
VALID = container(VARIABLES, {"b/tied": "a/float"})


def test_every_stored_type_comes_back_as_it_was() -> None:
    read = ct2.parse(VALID)
    assert (read.version, read.specification, read.revision) == (6, "WhisperSpec", 3)
    assert read.aliases == {"b/tied": "a/float"}
    for name, (stored, values) in VARIABLES.items():
        assert read.variables[name].stored == stored
        np.testing.assert_array_equal(read.variables[name].raw, values)
    for name in ("a/float", "a/half", "a/brain"):
        np.testing.assert_array_equal(read.variables[name].float32(), VALUES)
    assert read.variables["a/scalar"].shape == ()
    assert read.variables["a/empty"].shape == (0, 4)


def test_folder_file_and_parts_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(VALID)
    parts = [tmp_path / f"model.bin.part{number}" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(VALID[number * 50 : (number + 1) * 50 if number < 2 else None])
    for source in (tmp_path, tmp_path / "model.bin", parts):
        read = ct2.read(source)
        assert {name: item.raw.tobytes() for name, item in read.variables.items()} == {
            name: values.tobytes() for name, (_, values) in VARIABLES.items()
        }
    with pytest.raises(CheckpointError, match="damaged at byte"):
        ct2.read(parts[:2])


def test_missing_and_empty_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file .*/model\.bin"):
        ct2.read(tmp_path)
    with pytest.raises(CheckpointError, match="No file was given"):
        ct2.read([])
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointError, match="the version takes 4 bytes but only 0 are left"):
        ct2.read(tmp_path)


@pytest.mark.parametrize("length", range(len(VALID)))
def test_truncation_anywhere_is_refused(length: int) -> None:
    with pytest.raises(CheckpointError):
        ct2.parse(VALID[:length])


HEAD = struct.pack("<I", 6) + string("S") + struct.pack("<I", 3)


def one(body: bytes) -> bytes:
    """A container with one variable, given as its bytes, and no alias."""
    return HEAD + struct.pack("<I", 1) + body + struct.pack("<I", 0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (VALID + b"\0", "1 bytes are left over"),
        (struct.pack("<I", 3) + VALID[4:], r"Bad container version 3, expected one of \[4, 5, 6\]"),
        (one(string("x") + struct.pack("<B4IBI", 4, *[2**32 - 1] * 4, 0, 8)), "is said to have 8 bytes"),
        (one(string("x") + struct.pack("<B2IBI", 2, 0, 2**32 - 1, 0, 4) + bytes(4)), "is said to have 4 bytes"),
        (one(string("x") + struct.pack("<BIBI", 1, 2**30 - 1, 0, 2**32 - 4)), "takes 4,294,967,292 bytes but only 4"),
        (one(string("x") + struct.pack("<BIBI", 1, 1, 6, 4) + bytes(4)), "has dtype 6, expected 0 to 5"),
        (one(string("x") + struct.pack("<B", 255)), "has rank 255"),
        (one(struct.pack("<H", 3) + b"\xff\xfe\0"), "is not UTF-8"),
        (one(struct.pack("<H", 2) + b"xy"), "does not end in one NUL"),
        (one(struct.pack("<H", 0)), "does not end in one NUL"),
        (HEAD + struct.pack("<I", 2) + 2 * variable("x", *float32(VALUES)), "a second variable 'x'"),
        (HEAD + struct.pack("<I", 2**32 - 1), "a variable's name takes 2 bytes but only 0 are left"),
        (container({"x": float32(VALUES)}, {"y": "z"}), "'y' stands for 'z', which is no variable"),
        (container({"x": float32(VALUES)}, {"y": "z", "z": "y"}), "'y' stands for 'z', which is no variable"),
        (container({"x": float32(VALUES)}, {"x": "x"}), "'x' is a name that is taken"),
    ],
)
def test_each_damage_has_its_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        ct2.parse(data)


def test_zero_beside_impossible_dimensions_is_refused() -> None:
    body = string("x") + struct.pack("<B", 8) + struct.pack("<8I", 0, *[2**32 - 1] * 7) + struct.pack("<BI", 0, 0)
    with pytest.raises(CheckpointError, match="impossible dimensions"):
        ct2.parse(one(body))


@given(data=st.data())
def test_mutations_are_read_or_refused_but_never_crash(data: st.DataObject) -> None:
    mutated = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        kind = data.draw(st.sampled_from(["byte", "word", "cut", "insert"]))
        if kind == "byte":
            mutated[at] = data.draw(st.integers(0, 255))
        elif kind == "word":
            mutated[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])))
        elif kind == "cut":
            del mutated[at : at + data.draw(st.integers(1, 8))]
        else:
            mutated[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if not mutated:
            return
    try:
        read = ct2.parse(bytes(mutated))
    except CheckpointError as error:
        assert re.search(r"at byte [\d,]+|container version", str(error))
    else:
        assert sum(item.raw.nbytes for item in read.variables.values()) <= len(mutated)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(CheckpointError):
        ct2.parse(struct.pack("<I", 6) + b"\x02\0x" + noise)
