"""What a comparison says: the answer, in one sentence, and the names and costs of its runs."""

from toolkit.result import stats, words
from toolkit.result.compare import COSTS, Comparison, Line
from toolkit.result.language import ENGLISH, Language


def answer(comparison: Comparison, say: Language = ENGLISH) -> str:
    """The sentence that stands first. Both runs were picked by their development scores, not by what is told here."""
    frozen, tuned = comparison.frozen, comparison.tuned
    if frozen is None or tuned is None:
        return say("compare.only_tuned" if frozen is None else "compare.only_frozen")
    metric, probe = words.metric_name(comparison.run, say), _probe(frozen, say)
    fields = {"backbone": tuned.run.backbone, "way": tuned.way, "probe": probe, "metric": metric}
    run = say("compare.tuned_run", **fields)
    gained = tuned.behind
    if gained is None or gained.estimate is None:
        why = tuned.why or say("compare.metric_undefined", metric=metric)
        return say("compare.unpaired", tuned=run, probe=probe, why=why)
    fields |= {"points": f"{100 * abs(gained.estimate):.1f}", "signed": f"{100 * gained.estimate:+z.1f}", "tuned": run}
    fields["times"] = times = _times(tuned, frozen, say)
    if gained.lower is None or gained.upper is None:
        return say("compare.no_interval", **fields)
    fields |= {"lower": f"{100 * gained.lower:+z.1f}", "upper": f"{100 * gained.upper:+z.1f}"}
    kind = "gains" if gained.lower > 0 else "loses" if gained.upper < 0 else "level"
    price = "" if times or tuned.seconds is None else say("compare.training_took", seconds=f"{tuned.seconds:,.0f}")
    return say(f"compare.{kind}", **fields) + price


def _probe(line: Line, say: Language) -> str:
    layers = {choice.layer for choice in line.run.choices}
    fields = {"probe": line.run.probe, "backbone": line.run.backbone, "layer": next(iter(layers))}
    one = len(layers) == 1 and fields["layer"] != line.run.probe  # a mix has one layer, itself
    return say("compare.probe_on_layer" if one else "compare.probe_of", **fields)


def _times(tuned: Line, frozen: Line, say: Language) -> str:
    if tuned.seconds is None or not frozen.seconds:
        return ""
    times = tuned.seconds / frozen.seconds
    return say("compare.times", times=f"{times:,.0f}" if times >= 10 else f"{times:.2g}")


def way(line: Line, say: Language = ENGLISH) -> str:
    """ "fine-tuned, lora" or "linear probe"."""
    return say("compare.way_tuned" if line.run.tuned else "compare.way_probe", way=line.way, probe=line.run.probe)


def name(line: Line, comparison: Comparison, say: Language = ENGLISH) -> str:
    """The run as a legend names it: without the backbone where all have one; the end of its folder tells two alike
    apart."""
    one = len({other.run.backbone for other in comparison.lines}) == 1
    text = way(line, say) if one else f"{line.run.backbone}, {way(line, say)}"
    alike = [
        other
        for other in comparison.lines
        if (other.run.backbone, other.run.probe) == (line.run.backbone, line.run.probe)
    ]
    return text if len(alike) == 1 else f"{text}, {line.folder[-4:]}"


def told(line: Line, say: Language = ENGLISH) -> str:
    """For a tooltip: the score, and the difference where there is one."""
    if line.behind is None:
        return say.figure(line.score)
    return say("compare.minus_told", score=say.figure(line.score), difference=say.figure(line.behind))


def cautions(comparison: Comparison, say: Language = ENGLISH) -> list[str]:
    """What a reader must see before the figures."""
    notes = [words.note(note, say) for line in comparison.lines for note in line.run.notes]
    caution = stats.caution(comparison.run.predictions, say)
    notes += [caution] if caution else []
    notes += [
        say("compare.no_difference", backbone=line.run.backbone, way=way(line, say), why=line.why)
        for line in comparison.lines
        if line.why
    ]
    return list(dict.fromkeys(notes))


def p_text(line: Line) -> str:
    return "" if line.p_value is None else f"{line.p_value:.4f}"


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
