"""What a comparison says: the answer, in one sentence, and the names and costs of its runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import kinds, stats
from toolkit.result.compare import COSTS, Comparison, Line
from toolkit.result.jackknife import FEWEST_TESTED, Score
from toolkit.result.paired import EQUAL, LEVEL, Difference
from toolkit.result.report import narrative

# In a run's provenance, by which two rows of a table may differ
SETTINGS = ("recipe", "features", "trials", "minutes", "inner_folds", "context", "learnt_from", "layers", "seed")
MOST_SETTINGS = 3  # that distinguish rows


def answer(comparison: Comparison, say: Language = ENGLISH) -> str:
    """All of `sentences`."""
    return say("common.sentences").join(sentences(comparison, say))


def sentences(comparison: Comparison, say: Language = ENGLISH) -> list[str]:
    """The answer and those that belong to it; a sentence for all predictions that were made elsewhere."""
    elsewhere = [line for line in comparison.lines if line.kind == "outside"]
    main = [] if elsewhere and comparison.tuned is None else _frozen_or_tuned(comparison, say)
    return [*main, *(_elsewhere(line, comparison, say) for line in elsewhere)]


def _elsewhere(line: Line, comparison: Comparison, say: Language) -> str:
    """Predictions from outside against the best frozen probe."""
    assert comparison.frozen is not None
    found = line.difference
    fields = {"file": line.folder, "score": say.figure(line.score), "probe": _probe(comparison.frozen, say),
              "metric": narrative.metric_in_full(comparison.run, say)}  # fmt: skip
    if found.score is None or found.score.lower is None or found.p_value is None or found.score.estimate is None:
        return say("compare.outside_alone", **fields)
    kind = "level" if found.p_value >= LEVEL else "ahead" if found.score.estimate > 0 else "back"
    signed = f"{100 * found.score.estimate:+z.1f}"
    return say(f"compare.outside_{kind}", **fields, signed=signed, points=signed.lstrip("+-"),
               interval=points(found.score), p=p_text_of(found.p_value))  # fmt: skip


def _frozen_or_tuned(comparison: Comparison, say: Language) -> list[str]:
    """The answer in one sentence, and those that belong to it. Both runs were picked by development, not by this.

    Who gains follows from the p-value that is corrected for all comparisons; then what each learnt from, whether the
    difference holds for the methods, and whether the two are shown to be equal.
    """
    frozen, tuned = comparison.frozen, comparison.tuned
    if frozen is None:
        return [say("compare.only_tuned")]
    if tuned is None:
        return _best_of_frozen(comparison, frozen, say)
    metric, probe = narrative.metric_in_full(comparison.run, say), _probe(frozen, say)
    fields = {"backbone": tuned.run.backbone, "way": tuned.train_mode, "probe": probe, "metric": metric}
    run = say("compare.tuned_run", **fields)
    gained, found = tuned.difference.score, tuned.difference
    if gained is None or gained.estimate is None:
        why = tuned.why or say("compare.metric_undefined", metric=metric)
        return [say("compare.unpaired", tuned=run, probe=probe, why=why)]
    fields |= {"points": f"{100 * abs(gained.estimate):.1f}", "signed": f"{100 * gained.estimate:+z.1f}", "tuned": run}
    fields["times"] = times = _times(tuned, frozen, say)
    if gained.lower is None:
        return [say("compare.no_interval", **fields)]
    if found.p_value is None:
        many = narrative.unit(comparison.run.predictions, say)
        return [say("compare.untested", **fields, interval=points(gained), fewest=FEWEST_TESTED, unit=many)]
    fields |= {"interval": points(gained), "p": p_text_of(found.p_value)}
    shown = found.p_value < LEVEL
    kind = "level" if not shown else "gains" if gained.estimate > 0 else "loses"
    more = [say(f"compare.{kind}", **fields)]
    if not times and tuned.seconds is not None:
        more.append(say("compare.training_took", seconds=f"{tuned.seconds:,.0f}"))
    more.append(_as_methods(found, shown, narrative.unit(frozen.run.predictions, say), say))
    if found.equal_p is not None and found.equal_p < LEVEL:
        more.append(say("compare.equal", points=f"{100 * EQUAL:.0f}", p=p_text_of(found.equal_p)))
    return [*more, *_learnt_from(frozen, tuned, say)]


def _best_of_frozen(comparison: Comparison, best: Line, say: Language) -> list[str]:
    """Who is best by development, and what it scores."""
    probes, several = sum(line.kind == "frozen" for line in comparison.lines), len(best.runs)
    chance, _ = kinds.chance(best.run.predictions)
    answer = say(
        "compare.only_frozen",
        runs=say.counted(probes, "run"),
        model=narrative.model(best.run, best.run.backbone, best.choices, say),
        metric=narrative.metric_in_full(best.run, say),
        unseen=narrative.unseen(best.run, say),
        score=say.figure(best.score),
        chance=say.figure(chance),
    )
    return [answer] if several == 1 else [answer, say("compare.mean_of_series", runs=say.counted(several, "run"))]


def _as_methods(found: Difference, shown: bool, unit: str, say: Language) -> str:
    """unit: what intervals are over, in the plural."""
    assert found.method is not None and found.method_p is not None
    holds = "holds" if found.method_p < LEVEL else "open" if shown else "neither"
    return say(f"compare.method_{holds}", unit=unit, interval=points(found.method), p=p_text_of(found.method_p))


def _learnt_from(frozen: Line, tuned: Line, say: Language) -> list[str]:
    """What the clips were that each learnt from, where a run says so."""
    parts = [line.run.provenance.get("learnt_from") for line in (frozen, tuned)]
    if None in parts:
        return []
    if parts[0] == parts[1]:
        return [say("compare.learnt_alike", clips=say.name("clips_of", str(parts[0])))]
    return [say("compare.learnt_otherwise", **{name: say.name("clips_of", str(part))
                                               for name, part in zip(("frozen", "tuned"), parts)})]  # fmt: skip


def points(score: Score) -> str:
    """
    >>> points(Score(0.01, -0.004, 0.024))
    '[-0.4, +2.4]'
    """
    assert score.lower is not None and score.upper is not None
    return f"[{100 * score.lower:+z.1f}, {100 * score.upper:+z.1f}]"


def p_text_of(p_value: float) -> str:
    """
    >>> p_text_of(0.04321), p_text_of(0.00001)
    ('p = 0.043', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _probe(line: Line, say: Language) -> str:
    choices = line.choices
    layers, all_layers = {choice.layer for choice in choices}, {line.run.probe}  # a mix has one layer, itself
    kind = "probe_on_all" if layers == all_layers else "probe_on_layer" if len(layers) == 1 else "probe_of"
    if line.run.fusion:
        kind = "probe_of"
    fields = {"probe": line.run.probe, "backbone": line.run.backbone, "layer": min(layers)}
    return say(f"compare.{kind}", **fields, layers=narrative.in_rounds(choices, say))


def _times(tuned: Line, frozen: Line, say: Language) -> str:
    if tuned.seconds is None or not frozen.seconds:
        return ""
    times = tuned.seconds / frozen.seconds
    return say("compare.times", times=f"{times:,.0f}" if times >= 10 else f"{times:.2g}")


def training(line: Line, say: Language = ENGLISH) -> str:
    """ "fine-tuned, lora" or "linear probe"."""
    return say(f"compare.way_{line.kind}", way=line.train_mode, probe=line.run.probe)


def name(line: Line, comparison: Comparison, say: Language = ENGLISH) -> str:
    """The run as a legend names it: without the backbone where all have one."""
    one = len({other.run.backbone for other in comparison.lines}) == 1
    text = row(line, comparison, say)
    return text if one else f"{line.run.backbone}, {text}"


def row(line: Line, comparison: Comparison, say: Language = ENGLISH) -> str:
    """How it was trained, and how it differs from others that were trained so."""
    return training(line, say) + apart(line, comparison)


def apart(line: Line, comparison: Comparison) -> str:
    """Of two rows alike what differs in their settings, or else the end of the folder's name; "" of a single one."""
    alike = [
        other
        for other in comparison.lines
        if (other.run.backbone, other.run.probe) == (line.run.backbone, line.run.probe)
    ]
    settings = [dict(_settings(other.run.provenance)) for other in alike]
    names = dict.fromkeys(name for one in settings for name in one)
    differing = [name for name in names if len({repr(one.get(name)) for one in settings}) > 1][:MOST_SETTINGS]
    texts = [", ".join(f"{name.replace('_', ' ')} {one.get(name, '–')}" for name in differing) for one in settings]
    this = next(text for other, text in zip(alike, texts) if other is line)
    more = [line.folder[-4:]] if texts.count(this) > 1 else []
    return "".join(f", {text}" for text in (this, *more) if text)


def _settings(provenance: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a run's options were, by name; what was measured, and the seed that a series varies, are left out."""
    for name in SETTINGS:
        value = provenance.get(name)
        if isinstance(value, Mapping):
            yield from value.items()
        elif value is not None:
            yield name, value


def tooltip_text(line: Line, say: Language = ENGLISH) -> str:
    """For a tooltip: the score, and the difference where there is one."""
    if line.difference.score is None:
        return say.figure(line.score)
    return say("compare.minus_told", score=say.figure(line.score), difference=say.figure(line.difference.score))


def runs(line: Line, say: Language = ENGLISH) -> str:
    """How many runs a line is the mean of, and how far they are apart; "1" for a single one."""
    if len(line.runs) == 1:
        return "1"
    return say("compare.runs_spread", number=len(line.runs), spread=say.figure(line.spread_of_runs))


def cautions(comparison: Comparison, say: Language = ENGLISH) -> list[str]:
    """What a reader must see before the figures."""
    notes = [say(note) for line in comparison.lines for run in line.runs.values() for note in run.notes]
    if any(len(line.runs) > 1 for line in comparison.lines):
        notes.append(say("compare.several_runs", unit=narrative.unit(comparison.run.predictions, say)))
    caution = stats.caution(comparison.run.predictions, say)
    notes += [caution] if caution else []
    notes += [
        say("compare.no_difference", backbone=line.run.backbone, way=training(line, say), why=line.why)
        for line in comparison.lines
        if line.why
    ]
    return list(dict.fromkeys(notes))


def costs(line: Line) -> dict[str, tuple[str, float | None]]:
    """What a run took, by column, as a reader wants it and as a number; "" where the run did not record it."""
    units = {"peak_memory_bytes": (1e9, " GB", 1), "bytes_on_disk": (1e6, " MB", 1)}
    found = {}
    for key in COSTS:
        value = line.cost(key)
        scale, unit, digits = units.get(key, (1.0, "", 0))
        found[key] = ("" if value is None else f"{value / scale:,.{digits}f}{unit}", value)
    rate = line.throughput
    found["throughput"] = ("" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", rate)
    return found
