"""What `toolkit manifest check` and a misspelt folder are refused with."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Run

DEFECTS = {
    "duplicate id": "id,path\na,0.wav\na,0.wav\n",
    "no such file": "id,path\na,9999.wav\n",
    "leaves the audio root": "id,path\na,../outside.wav\n",
    "not after start": "id,path,start,end\na,0.wav,2,1\n",
    "no column 'path'": "id,file\na,0.wav\n",
    "cells, expected": "id,path\na\n",
    "no clips": "id,path\n",
}


@pytest.mark.parametrize("sentence", DEFECTS)
def test_each_defect_of_a_manifest_is_one_sentence_with_its_line(
    run: Run, corpus: Path, tmp_path: Path, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.extract.setup.load", lambda *_, **__: pytest.fail("a model was loaded"))
    shutil.copy(corpus / "0.wav", corpus.parent / "outside.wav")
    bad = tmp_path / "bad.csv"
    bad.write_text(DEFECTS[sentence], encoding="utf-8")
    code, out, err = run("extract", "--model", "tiny-hubert", "-w", corpus, "--manifest", bad, "--audio-root", corpus)
    assert code == 2 and out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("toolkit: bad.csv, line ") and sentence in line


def test_a_misspelt_workspace_is_not_begun(run: Run, corpus: Path, tmp_path: Path) -> None:
    words = ("--model", corpus / "models" / "tiny-hubert", "--manifest", corpus / "manifest.csv")
    code, out, err = run("extract", *words, "-w", tmp_path / "wrkspace")
    assert (code, out) == (2, "") and "No workspace folder 'wrkspace'; make it, or name another" in err
    assert list(tmp_path.iterdir()) == []
