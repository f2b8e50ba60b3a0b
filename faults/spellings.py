"""One name in two spellings, and cells that name nothing, as label and as speaker: refused or merged, never silent."""

from functools import partial
from pathlib import Path

from faults import study
from faults.children import run
from faults.rows import Outcome
from tests.corpus.test_spellings import PAIRS
from toolkit.corpus import manifest
from toolkit.corpus.spellings import NAMELESS
from toolkit.result.safe_csv import csv_text

CLIPS = 18
COLUMNS = ("id", "path", "speaker", "mood")


def pairs(folder: Path) -> Outcome:
    """Every pair and every unknown name to manifest check, probe and score; then the pairs again, to be merged."""
    made = study.make(folder / "study", CLIPS)
    assert not run(partial(study.extract, made)).code
    faults, silent, merged = 0, [], 0
    for names, option in ((PAIRS, "--spellings"), ([(name, "x") for name in sorted(NAMELESS)], "--unknown")):
        for one, other in names:
            for place in ("speaker", "mood"):
                _write(made, place, one, other if option == "--spellings" else None)
                for command in (_check, _probe, _score):
                    ended = run(partial(command, made))
                    faults += 1
                    refused = (
                        option in ended.output or "expected text without spaces" in ended.output
                    )  # what no speaker may hold
                    if ended.code != 2 or not refused or "Traceback" in ended.output:
                        silent.append(
                            f"{command.__name__} {place} {one!r} {other!r}: {ended.code} {ended.output[-200:]}"
                        )
                if option == "--spellings":
                    ended = run(partial(_score, made, option, "merge", "--json"))
                    merged += ended.code == 0 and f"as {one!r}" in ended.output
    whole = 2 * len(PAIRS)
    sentence = (
        f"{len(PAIRS)} pairs of spellings and {len(NAMELESS)} unknown names, each as a label and as a speaker, to "
        f"manifest check, probe and score: {faults - len(silent)} of {faults} refused with the way out, "
        f"{len(silent)} silent; {merged} of {whole} merged by score when told"
    )
    return Outcome(faults, sentence + "".join(f"; {text}" for text in silent[:2]), not silent and merged == whole)


def _write(made: Path, place: str, one: str, other: str | None) -> None:
    """The manifest and the predictions: of one value of the column most clips have `one`, the others `other`."""
    rows = []
    for number in range(CLIPS):
        cells = {"speaker": f"s{number // 2 % 6}", "mood": ("joy", "fear")[number % 2]}
        if cells[place] in ("s0", "joy"):
            cells[place] = other if other is not None and number == 0 else one
        rows.append((f"clip{number}", f"{number}.wav", cells["speaker"], cells["mood"]))
    manifest.write(made / "manifest.csv", COLUMNS, rows)
    predictions = [(name, speaker, mood, mood) for name, _, speaker, mood in rows]
    (made / "p.csv").write_text(csv_text(("id", "speaker", "truth", "prediction"), predictions), encoding="utf-8")


def _check(made: Path) -> None:
    study.command("manifest", "check", "-w", made)


def _probe(made: Path) -> None:
    study.command("probe", "-m", "mine", "-t", "mood", "--folds", 3, "--trials", 2, "--workers", 1, "-w", made)


def _score(made: Path, *more: str) -> None:
    study.command("score", made / "p.csv", *more)
