"""What a layer tells as callers come in: its online code length and a learning curve; kept beside a run."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from toolkit.errors import StoreError
from toolkit.result import metrics, words
from toolkit.result.figures import Style, padded
from toolkit.result.language import Language
from toolkit.result.page import Cell, Row, Table, number_cell, table
from toolkit.result.run import Run
from toolkit.runs import commit_json, commit_text, signature

FILE, TABLE = "online.json", "online.csv"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Online:
    """Linear probes of one setting, fitted on more and more callers, in several orders of them.

    callers: how many each step learnt from. bits: by layer, of each order, the code length of all labels in bits a
    clip: what it takes to send them to somebody who has the features, when each block of callers is coded by a probe
    fitted on those before. uniform: the same without any features. scores: by layer, of each order, the headline metric
    of each step on all other callers; None where undefined.
    """

    metric: str
    callers: tuple[int, ...]
    uniform: float
    bits: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, tuple[tuple[float | None, ...], ...]]

    @property
    def best(self) -> str:
        """The layer with the shortest code, the mean over the orders."""
        return min(self.bits, key=lambda layer: float(np.mean(self.bits[layer])))

    def curve(self, layer: str) -> list[tuple[int, float, float, float]]:
        """Callers, and mean, lowest and highest score over the orders; steps that no order has a score for are left
        out."""
        found = []
        for step, count in enumerate(self.callers):
            values = [order[step] for order in self.scores[layer]]
            known = [value for value in values if value is not None]
            if known:
                found.append((count, float(np.mean(known)), min(known), max(known)))
        return found


def write(folder: Path, online: Online) -> None:
    """Commit to a run's folder. Raises DiskFullError."""
    content: dict[str, Any] = {"format": FORMAT_VERSION, **asdict(online)}
    content = json.loads(json.dumps(content))  # tuples as lists, as they will be read
    commit_json(folder / FILE, {**content, "sha256": signature(content)})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "bits_a_clip", *(f"{online.metric}_{count}_callers" for count in online.callers)])
    for layer, bits in online.bits.items():
        means = {count: mean for count, mean, _, _ in online.curve(layer)}
        cells = [f"{means[count]:.6f}" if count in means else "" for count in online.callers]
        writer.writerow([layer, f"{np.mean(bits):.6f}", *cells])
    commit_text(folder / TABLE, text.getvalue())


def read(folder: Path) -> Online | None:
    """What was kept beside a run, None where nothing was. Raises StoreError."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content.pop("sha256") != signature(content) or content.pop("format") != FORMAT_VERSION:
            raise ValueError("its hash or its format does not fit")
        bits = {layer: tuple(values) for layer, values in content["bits"].items()}
        scores = {layer: tuple(map(tuple, orders)) for layer, orders in content["scores"].items()}
        return Online(content["metric"], tuple(content["callers"]), content["uniform"], bits, scores)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder.name}/{FILE} is damaged: {error}; remove it, then start the command again") from None


def sentence(run: Run, online: Online, say: Language) -> str:
    """Which layer has the shortest code, and what twice the callers brought."""
    steps = online.curve(online.best)
    fields: dict[str, object] = {
        "layer": online.best,
        "bits": f"{np.mean(online.bits[online.best]):.3f}",
        "uniform": f"{online.uniform:.3f}",
    }
    text = say("online.code", **fields)
    if len(steps) < 2:
        return text
    (few, before, _, _), (many, after, _, _) = steps[-2:]
    group = run.predictions.group
    more = {"few": few, "many": say.counted(many, group), "points": f"{100 * (after - before):+z.1f}"}
    return text + say("online.gain", metric=words.metric_name(run, say), **more)


def chart(run: Run, online: Online, style: Style) -> Any:
    """The learning curve of the layer with the shortest code; the band reaches from the worst order to the best."""
    say, palette = style.say, style.palette
    rows = [
        {"callers": count, "mean": mean, "low": low, "high": high, "told": f"{mean:.3f} ({low:.3f} – {high:.3f})"}
        for count, mean, low, high in online.curve(online.best)
    ]
    metric, unit = metrics.title(run.metric, say), words.unit(run.predictions, say)
    chance, _ = metrics.chance(run.predictions, say)
    ends = [value for _, _, low, high in online.curve(online.best) for value in (low, high)]
    scale = padded([chance, *ends], 0.0, 1.0)
    across = alt.Scale(type="log", base=2, nice=False, padding=12)
    title = say("online.axis", unit=unit)
    x = alt.X(
        "callers:Q", scale=across, title=title, axis=alt.Axis(values=[row["callers"] for row in rows], format="d")
    )
    tooltip = [alt.Tooltip("callers:Q", title=title), alt.Tooltip("told:N", title=metric)]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, tooltip=tooltip)
    band = base.mark_area(opacity=0.2, color=palette.score).encode(
        y=alt.Y("low:Q", scale=scale, title=metric), y2="high:Q"
    )
    point = alt.OverlayMarkDef(size=45, filled=True, color=palette.score)
    line = base.mark_line(strokeWidth=2.5, color=palette.score, point=point).encode(y=alt.Y("mean:Q", scale=scale))
    known = alt.Chart(alt.Data(values=[{"chance": chance}])).mark_rule(strokeDash=[2, 3], color=palette.faint)
    rule = known.encode(y=alt.Y("chance:Q", scale=scale))
    heading = style.heading(
        say("online.title", title=words.run_title(run, say), unit=unit),
        [
            words.protocol_line(run, say),
            say("online.subtitle", layer=online.best, orders=len(online.bits[online.best])),
        ],
    )
    return alt.layer(band, rule, line).properties(title=heading, width=style.width, height=260)


def code_table(online: Online, say: Language) -> Table:
    """A row a layer: its code length, and the score after each step."""
    rows = []
    for layer, bits in online.bits.items():
        means = {count: mean for count, mean, _, _ in online.curve(layer)}
        cells = [number_cell(f"{np.mean(bits):.3f}", float(np.mean(bits)))]
        cells += [number_cell(say.figure(means.get(count)), means.get(count)) for count in online.callers]
        rows.append(Row([Cell(layer), *cells], chosen=layer == online.best))
    heads = [say("online.from", number=count) for count in online.callers]
    return table([say("column.layer"), say("online.bits"), *heads], rows)
