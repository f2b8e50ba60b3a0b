"""The README's lines of Python, run as they are."""

import doctest
from pathlib import Path

import pytest

from tests.extract.test_extract import corpus
from tests.models import tiny
from toolkit.corpus import manifest
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.models.checkpoint import inspect

README = Path(__file__).parents[1] / "README.md"


def test_the_lines_for_notebooks_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = inspect(tiny.hubert(tmp_path / "models" / "tiny-hubert"), "tiny-hubert")
    recorded = corpus(tmp_path, count=12)
    labelled = [(*clip.cells, ("joy", "fear")[number // 3 % 2]) for number, clip in enumerate(recorded.clips)]
    manifest.write(tmp_path / "manifest.csv", (*recorded.columns, "emotion"), labelled)
    extract(recorded, checkpoint, tmp_path / "features", Options(dtype="float32"))
    rows = [
        f"c{k},s{k // 4},0,{'joy' if k % 2 else 'fear'},{'joy' if k % 2 and k % 7 else 'fear'}\n" for k in range(24)
    ]
    (tmp_path / "predictions.csv").write_text("id,speaker,fold,truth,prediction\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    lines = README.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    test = doctest.DocTestParser().get_doctest(lines, {}, "README", "README.md", 0)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.attempted == 9 and result.failed == 0
