"""The README's lines of Python, run as they are, on a tiny backbone and with a short search."""

from pathlib import Path

import pytest

from tests.extract.conftest import corpus
from tests.models import tiny
from toolkit.corpus import manifest

ROOT = Path(__file__).parents[1]


@pytest.mark.usefixtures("specified")
@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_lines_of_python_do_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.hubert(tmp_path / "models" / "tiny-hubert")
    recorded = corpus(tmp_path, count=12)
    labelled = [(*clip.cells, ("joy", "fear")[number // 3 % 2]) for number, clip in enumerate(recorded.clips)]
    manifest.write(tmp_path / "manifest.csv", (*recorded.columns, "emotion"), labelled)
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / name).read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    made: dict[str, object] = {}
    smaller = lines.replace('extract("whisper-medium")', 'extract("tiny-hubert", dtype="float32")')
    smaller = smaller.replace("whisper-medium", "tiny-hubert").replace('"emotion")', '"emotion", folds=3, trials=2)')
    assert "folds=3" in smaller
    exec(smaller, made)  # noqa: S102
    found, layer = made["found"], made["layer"]
    assert list(made["table"].layer) == [f"encoder.{k}" for k in range(len(made["table"]))]  # type: ignore[attr-defined]
    assert "vconcat" in made["chart"].to_dict() or "layer" in made["chart"].to_dict()  # type: ignore[attr-defined]
    assert (made["errors"].truth != made["errors"].prediction).all()  # type: ignore[attr-defined]
    assert found.report.is_file() and layer.mean.shape == layer.std.shape == (12, 32)  # type: ignore[attr-defined]
    assert made["classifier"].predict_proba(layer.mean).shape == (12, 2)  # type: ignore[attr-defined]


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900
