"""The README's block for data of one's own, from generated calls and a table to the page, on a tiny backbone."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest

ROOT = Path(__file__).parents[1]
STEPS = ("manifest", "extract", "probe")  # fetching needs a network; fine-tuning and predicting have tests of their own
SMALLER = {
    "extract": ("--dtype", "float32"),
    "probe": ("--folds", "3", "--trials", "1", "--shuffles", "0"),
}


def commands(page: str) -> list[list[str]]:
    block = (ROOT / page).read_text(encoding="utf-8").split("```sh\n")[1].split("```")[0]
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("toolkit ")]
    return [[word.replace("whisper-medium", "tiny-hubert") for word in line] for line in lines if line[0] in STEPS]


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_block_leads_from_a_table_to_the_page(
    page: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.hubert(tmp_path / "models" / "tiny-hubert")
    rows = []
    for caller in range(6):
        (tmp_path / "calls").mkdir(exist_ok=True)
        left, right = (tiny.speech_like(6.0, seed=2 * caller + side, rate=8_000) for side in (0, 1))
        soundfile.write(tmp_path / "calls" / f"{caller}.wav", list(zip(left, right)), 8_000)
        for turn in range(4):
            mood = ("怒", "悲")[(turn + caller) % 2]
            rows.append((f"calls\\{caller}", f"C{caller}", mood, f"00:0{turn}.5", f"00:0{turn + 1},25", "右"))
    pd.DataFrame(rows, columns=["音频", "说话人", "emotion", "开始", "结束", "声道"]).to_excel(
        "calls.xlsx", index=False
    )
    done = commands(page)
    assert [words[0] for words in done] == ["manifest", "manifest", "extract", "probe"]
    for words in done:
        code, _, err = run(*words, *SMALLER.get(words[0], ()))
        assert code == 0, (words, err)
    clips = manifest.read(tmp_path / "manifest.csv").clips
    assert len(clips) == 24 and {clip.channel for clip in clips} == {1}
    for name in ("report.html", *(["report.zh.html"] if "zh" in page else [])):
        (made,) = tmp_path.glob(f"result/emotion-tiny-hubert-linear-*/{name}")
        assert "怒" in made.read_text(encoding="utf-8")
