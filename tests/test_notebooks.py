"""The notebooks of examples/, cell by cell, on a small study."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.finetune.conftest import corpus
from tests.models import tiny

__all__ = ["corpus"]
EXAMPLES = Path(__file__).parents[1] / "examples"


def cells(name: str) -> list[str]:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "outputs are not kept: they may name callers"
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def executed(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; its last expression, as a notebook shows it."""
    *before, last = source.rstrip("\n").split("\n")
    exec("\n".join(before), names)  # noqa: S102
    try:
        return eval(last, names)  # noqa: S307
    except SyntaxError:
        exec(last, names)  # noqa: S102
        return None


@pytest.mark.usefixtures("specified")
def test_a_first_study(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.hubert(corpus / "models" / "tiny-hubert")
    for name, value in (("STUDY", str(corpus)), ("MODEL", "tiny-hubert"), ("TARGET", "high")):
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    shown = [executed(source, names) for source in cells("first_study.ipynb")]
    assert shown[0].label_columns and "36" in shown[1]._repr_html_()
    assert "encoder." in shown[2]._repr_html_() and shown[3].to_dict()["$schema"]
    assert list(shown[4].columns[:3]) == ["id", "speaker", "fold"] and shown[5] == "report.html"


def test_your_own_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    labels, speakers = np.tile(["calm", "sad"], 30), np.repeat([f"s{n}" for n in range(6)], 10)
    layers = generator.standard_normal((2, 60, 4))
    layers[1, :, 0] += 5 * (labels == "sad")
    for name, array in (("EMBEDDINGS", layers), ("LABELS", labels), ("SPEAKERS", speakers)):
        np.save(tmp_path / f"{name}.npy", array)
        monkeypatch.setenv(name, str(tmp_path / f"{name}.npy"))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    names: dict[str, Any] = {}
    shown = [executed(source, names) for source in cells("own_embeddings.ipynb")]
    assert "layer 1" in shown[0]._repr_html_() and shown[1] == "report.html"
    assert shown[2].shape == (3, 2) and (shown[2].argmax(axis=1) == [0, 1, 0]).all()
