"""A comparison for the terminal, as CSV and LaTeX, and the folder that holds it with its page and figures."""

import csv
import io
from pathlib import Path

from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.core.artifacts import commit_text, make_folder, sha256_of_file, signature
from toolkit.core.i18n import ENGLISH, Language
from toolkit.core.version import __version__
from toolkit.result.compare import COSTS, Comparison
from toolkit.result.jackknife import Score
from toolkit.result.metrics import title
from toolkit.result.paired import p_text
from toolkit.result.report import compare_narrative
from toolkit.result.report.standing import draw_once
from toolkit.result.run import RUN
from toolkit.result.safe_csv import plain_text

TABLE, LATEX, STANDING = "compare.csv", "compare.tex", "compare.json"
LATEX_SIGNS = {"\\": r"\textbackslash{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
               "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}  # fmt: skip


def terminal(comparison: Comparison) -> TerminalTable:
    """A row a run: headline, difference and what it took; the CSV has every metric."""
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    metric = title(comparison.run.metric)
    for name in ("backbone", "method", "runs", "up to layer (rounds)"):
        table.add_column(name, overflow="fold")
    for name in (f"{metric}, 95 %", "minus best probe", "p, Holm", "trained", "s", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in comparison.lines:
        minus = line.difference.score
        difference = "best probe" if line is comparison.frozen else "" if minus is None else str(minus)
        costs = compare_narrative.costs(line)
        table.add_row(
            Text(line.run.backbone), Text(compare_narrative.row(line, comparison)), compare_narrative.runs(line),
            Text("" if line.run.fusion else line.layers_chosen), str(line.score),
            difference, p_text(line.difference.p_value), costs["trained_parameters"][0],
            "" if line.seconds is None else f"{line.seconds:,.0f}", costs["peak_memory_bytes"][0],
            style="bold" if line in comparison.best else None,
        )  # fmt: skip
    return table


def matrix(comparison: Comparison) -> TerminalTable:
    """Of probes alone: backbones down, probes across; in each cell the score of the layers chosen on development."""
    probes = sorted({line.run.probe for line in comparison.lines})
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"{title(comparison.run.metric)}, 95 %", overflow="fold")
    for probe in probes:
        table.add_column(probe, justify="right", no_wrap=True)
    rows: dict[str, dict[str, str]] = {}  # a backbone can have several stores
    for line in comparison.lines:
        name = line.run.backbone + compare_narrative.apart(line, comparison)
        rows.setdefault(name, {})[line.run.probe] = str(line.score)
    for name, cells in rows.items():
        table.add_row(Text(name), *(cells.get(probe, "") for probe in probes))
    return table


def write(result: Path, comparison: Comparison, say: Language = ENGLISH) -> Path:
    """Commit table, LaTeX, figures and page to result/TASK-compare-SIG12/, and return that folder.

    The same runs share a folder, and what is there, drawn of the same runs by the same version, is left as it is.
    The page and its figures are in English; in another language next to it, where `say` is one. Raises DiskFullError.
    """
    names = [name for line in comparison.lines for name in line.runs]
    sha256 = signature({"runs": sorted(names)})
    folder = make_folder(result / f"{comparison.run.task.name}-compare-{sha256[:12]}")
    table, languages = to_csv(comparison), tuple(dict.fromkeys((ENGLISH, say)))
    runs = {name: result / name / RUN for name in names}
    outside = [line.run.provenance["sha256"] for line in comparison.lines if line.kind == "outside"]
    facts = {
        "version": __version__,
        "table": table,
        "runs": {name: sha256_of_file(file) for name, file in runs.items() if file.is_file()},
        **({"outside": outside} if outside else {}),
        "columns": {name: dict(cells) for name, cells in comparison.columns.items()},
        "languages": [language.tag for language in languages],
    }

    def draw() -> None:
        from toolkit.result.report import compare_page  # Altair takes a second to import

        commit_text(folder / TABLE, table)
        commit_text(folder / LATEX, to_latex(comparison))
        for language in languages:
            compare_page.page(comparison, language).write(folder)

    return draw_once(folder, STANDING, facts, draw)


def to_csv(comparison: Comparison) -> str:
    """Every metric with its interval, the difference, and the costs; a row a run."""
    names = list(comparison.lines[0].evaluation.overall)
    head = ["backbone", "way", "layers", "runs", "spread_of_runs", "development", "difference", "difference_lower",
            "difference_upper", "p_value_holm", "method_lower", "method_upper", "method_p_value_holm",
            "equal_p_value_holm", *COSTS, "audio_hours_per_hour", "clips", "folder"]  # fmt: skip
    head += [f"{name}{part}" for name in names for part in ("", "_lower", "_upper")]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for line in comparison.lines:
        found = line.difference
        numbers = [len(line.runs), line.spread_of_runs, line.development, *_parts(found.score), found.p_value]
        numbers += [*_parts(found.method)[1:], found.method_p, found.equal_p]
        numbers += [*(line.cost(name) for name in COSTS), line.throughput]
        scores = [value for name in names for value in _parts(line.evaluation.overall[name])]
        texts = [line.run.backbone, compare_narrative.row(line, comparison), line.layers_chosen]
        clips, folder = str(len(line.run.predictions.ids)), line.folder
        writer.writerow(
            [*map(plain_text, texts), *map(_number, numbers), clips, plain_text(folder), *map(_number, scores)]
        )
    return text.getvalue()


def to_latex(comparison: Comparison) -> str:
    """A tabular of the shown metrics, for a paper; it needs no package."""
    names = comparison.metrics
    heads = ["backbone", "", "layers", *(title(name) for name in names), "difference", "$p$", "parameters", "s"]
    rows = [[_escaped(head) if head != "$p$" else head for head in heads]]
    for line in comparison.lines:
        difference = "" if line.difference.score is None else _interval(line.difference.score, signed=True)
        seconds = "" if line.seconds is None else f"{line.seconds:,.0f}"
        scores = [_interval(line.evaluation.overall[name]) for name in names]
        texts = [
            _escaped(cell) for cell in (line.run.backbone, compare_narrative.row(line, comparison), line.layers_chosen)
        ]
        parameters, _ = compare_narrative.costs(line)["trained_parameters"]
        rows.append(
            [*texts, *scores, difference, p_text(line.difference.p_value).replace("<", "$<$"), parameters, seconds]
        )
    body = [" & ".join(row) + r" \\" for row in rows]
    columns = "lll" + "r" * (len(heads) - 3)
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\hline", body[0], r"\hline", *body[1:], r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _interval(score: Score, signed: bool = False) -> str:
    if score.estimate is None:
        return "--"
    sign = "+" if signed else ""
    if score.lower is None or score.upper is None:
        return f"${score.estimate:{sign}.3f}$"
    return f"${score.estimate:{sign}.3f}$ [${score.lower:{sign}.3f}$, ${score.upper:{sign}.3f}$]"


def _escaped(text: str) -> str:
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in text)


def _parts(score: Score | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if score is None else (score.estimate, score.lower, score.upper)


def _number(value: float | None) -> str:
    """Six decimals; what they would make 0, such as a p-value, has two digits and its power of ten.

    >>> _number(0.25), _number(3.0), _number(1.23e-9), _number(None)
    ('0.25', '3', '1.2e-09', '')
    """
    if value is None:
        return ""
    if 0 < abs(value) < 5e-7:
        return f"{value:.1e}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
