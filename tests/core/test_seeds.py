import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from toolkit.core import seeds

EXPECTED_INTEGERS = [863368751, 2006095479, 1976847814]
EXPECTED_DRAWS = [413, 596, 939]


def test_integers_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert [seeds.integer(0), seeds.integer(0, "a"), seeds.integer(1, "probe", "encoder.3", 2)] == EXPECTED_INTEGERS


def test_generators_draw_the_same_on_every_machine() -> None:
    assert seeds.generator(0, "a").integers(0, 1000, 3).tolist() == EXPECTED_DRAWS


def test_another_process_with_another_hash_seed_draws_the_same() -> None:
    code = (
        "from toolkit.core import seeds; print(seeds.integer(7, 'x', 1), seeds.generator(7, 'x', 1).integers(1 << 30))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {f"{seeds.integer(7, 'x', 1)} {seeds.generator(7, 'x', 1).integers(1 << 30)}\n"}


@given(st.integers(), st.lists(st.text() | st.integers()))
def test_integers_fit_every_library(seed: int, names: list[object]) -> None:
    assert 0 <= seeds.integer(seed, *[str(name).encode(errors="ignore").decode() for name in names]) < 2**31


@given(st.integers(0, 10**6), st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_other_names_and_other_seeds_draw_otherwise(seed: int, one: str, other: str) -> None:
    draws = seeds.generator(seed, one).integers(0, 2**62, 2).tolist()
    assert draws == seeds.generator(seed, one).integers(0, 2**62, 2).tolist()
    assert (draws == seeds.generator(seed, other).integers(0, 2**62, 2).tolist()) == (one == other)
    assert draws != seeds.generator(seed + 1, one).integers(0, 2**62, 2).tolist()
    assert draws != seeds.generator(seed, one, "more").integers(0, 2**62, 2).tolist()
