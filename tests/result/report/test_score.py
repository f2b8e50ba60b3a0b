import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from toolkit.result import stats
from toolkit.result.predictions import write_csv, write_paper_csv
from toolkit.result.probability_metrics import measure
from toolkit.result.report import terminal
from toolkit.result.report.score import score_file
from toolkit.result.run import curve


def shown(renderable, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_our_file_gives_the_runs_own_figures(tmp_path: Path, run):
    write_csv(tmp_path / "p.csv", run.predictions)
    scored = score_file(tmp_path / "p.csv")
    assert scored.evaluation == stats.evaluate(run.predictions)
    content = scored.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert {name: row["estimate"] for name, row in content["metrics"].items()} == pytest.approx(
        measure(run.predictions)
    )


def test_the_papers_file_is_scored_by_clips_and_says_so(tmp_path: Path, run):
    write_paper_csv(tmp_path / "p.csv", run.predictions)
    scored = score_file(tmp_path / "p.csv", run.task)
    values = measure(run.predictions)
    assert scored.evaluation.overall["f1_macro"].estimate == values["f1_macro"]
    assert scored.evaluation.overall["roc_auc"].estimate is None
    text = shown(scored.renderable())
    assert "95 % intervals over clips" in text
    assert "no probabilities, so ROC-AUC and average precision are missing" in text
    assert "too narrow" in " ".join(text.split())


def test_the_terminal_shows_every_figure_within_80_columns(run):
    evaluation = stats.evaluate(run.predictions)
    text = shown(terminal.summary(run, curve(run), evaluation))
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    for label, scores in evaluation.per_label.items():
        (line,) = (line for line in text.splitlines() if line.startswith(label + " "))
        assert str(scores["f1"]) in line and str(scores["recall"]) in line
    assert "note: The corpus is made up." in text and "note: 1 clip left out" in text
    assert "5 of 5" in text


def test_figures_stand_in_line(run):
    lines = shown(terminal.every_metric(stats.evaluate(run.predictions))).splitlines()[1:]
    assert len({line.index("0.") for line in lines if "0." in line}) == 1


def test_markup_in_a_label_is_shown_as_it_is(tmp_path: Path):
    (tmp_path / "p.csv").write_text("truth,prediction\n[red]a[/red],b\nb,b\n[red]a[/red],b\n")
    assert "[red]a[/red]" in shown(score_file(tmp_path / "p.csv").renderable())


def test_without_folds_each_model_is_one_so_that_its_clips_are_ranked_apart(tmp_path: Path):
    rows = ["a,round-1,y,y,0.1,0.9", "b,round-0,n,n,0.7,0.3", "c,round-1,n,n,0.4,0.6", "d,round-0,y,n,0.6,0.4"]
    head = "id,model,truth,prediction,probability:n,probability:y"
    (tmp_path / "p.csv").write_text("\n".join([head, *rows]) + "\n")
    scored = score_file(tmp_path / "p.csv")
    assert scored.predictions.fold.tolist() == [1, 0, 1, 0]
    assert scored.evaluation.overall["roc_auc"].estimate == 0.75  # pooled: c of one model is above d of the other
    assert scored.evaluation.overall["roc_auc_by_fold"].estimate == 1
    assert "no score:LABEL columns" in " ".join(shown(scored.renderable()).split())
