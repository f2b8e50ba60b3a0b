"""docs/backbones.md: its table has every family, and says of each what its row and its tiny checkpoint say."""

import re
from pathlib import Path

from bench import backbones
from tests.models.tiny import hubert
from toolkit.models.families import FAMILIES
from toolkit.models.generic import BOUND, FIXED_PROOF_CLIPS, MODES, PROOF_CLIPS

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_families_and_no_error_is_beyond_the_bound() -> None:
    rows = [line for line in PAGE.partition(backbones.HEAD)[2].splitlines() if line.startswith("| `")]
    assert {name.split("`")[1] for name in rows} == set(FAMILIES)
    for name, line in zip(backbones.variants(), rows, strict=True):
        cells = line.strip("| ").split(" | ")
        assert float(cells[7]) <= BOUND, line
        cells[7] = ""
        assert cells == backbones.facts(name)


def test_the_words_around_it_say_what_the_code_does() -> None:
    assert f"{PROOF_CLIPS} random clips of 0.03 to 1.2 s ({FIXED_PROOF_CLIPS} where" in PAGE
    assert re.findall(r"^\| (\w+) \| [pcoe]", PAGE, re.MULTILINE) == list(MODES)


def test_a_row_is_measured_by_a_batch_against_each_clip_alone(tmp_path: Path) -> None:
    hubert(tmp_path / "hubert-group")
    assert 0 < backbones.measured("hubert-group", tmp_path) <= BOUND
