"""The words on two groups of callers: the finding in a sentence, and the names of what is measured."""

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result.calls import Measure, Source
from toolkit.result.contrast import Contrast, Difference
from toolkit.result.jackknife import FEWEST_GROUPS
from toolkit.result.paired import LEVEL, p_text

NEGATIVE = Measure("negative")


def value_of(group: str, say: Language = ENGLISH) -> str:
    """A column's value where only it is shown: in quotation marks, since it may be 0."""
    return say("contrast.value", value=group)


def measure(one: Measure, contrast: Contrast, say: Language = ENGLISH) -> str:
    """What is measured, with its unit."""
    by_time = "time" if contrast.calls.timed else "clips"
    key = one.kind if one.kind in ("changes", "probability") else f"{one.kind}_{by_time}"
    return say(f"contrast.measure_{key}", label=one.label)


def source(one: Source, say: Language = ENGLISH) -> str:
    return say(f"contrast.of_{one}")


def answer(contrast: Contrast, say: Language = ENGLISH) -> str:
    """The finding in a sentence: of the negative share where there is one, else in how many labels they differ."""
    row = contrast.row(NEGATIVE, "prediction")
    first, second = (value_of(group, say) for group in contrast.groups)
    callers = say.many(contrast.predictions.group)
    fields = {"callers": callers, "column": contrast.column, "first": first, "second": second}
    if row is None:
        shares = [one for one in contrast.rows if one.source == "prediction" and one.measure.kind == "share"]
        differ = sum(one.welch_p is not None and one.welch_p < LEVEL for one in shares)
        untested = sum(one.welch_p is None for one in shares)
        key = "contrast.answer_untested" if untested else "contrast.answer_labels"
        return say(key, **fields, labels=say.counted(len(shares), "label"), differ=differ, untested=untested)
    by_time = "time" if contrast.calls.timed else "clips"
    figures = {"one": say.figure(row.means[0].estimate), "other": say.figure(row.means[1].estimate),
            "difference": say.figure(row.difference), "share": say(f"contrast.share_{by_time}")}  # fmt: skip
    if row.welch_p is None or row.difference.estimate is None:
        return say("contrast.answer_bare", **fields, **figures)
    shown = "alike" if row.welch_p >= LEVEL else "more" if row.difference.estimate > 0 else "less"
    return say(f"contrast.answer_{shown}", **fields, **figures, p=p_text(row.welch_p))


def truth(contrast: Contrast, say: Language = ENGLISH) -> str:
    """How much of the true difference is left in the prediction; "" where that is not known of any share."""
    row = next((one for one in contrast.rows if one.source == "truth"), None)
    if row is None:
        return ""
    name, kept = measure(row.measure, contrast, say), contrast.attenuation(row.measure)
    if kept is None:
        return say("contrast.truth_unclear", measure=name, difference=say.figure(row.difference))
    return say("contrast.truth", measure=name, difference=say.figure(row.difference), kept=f"{kept:.2f}")


def cautions(contrast: Contrast, say: Language = ENGLISH) -> list[str]:
    """Who does not count, and what so few cannot show."""
    noun, found = contrast.predictions.group, []
    for group, few in zip(contrast.groups, contrast.few):
        if few:
            fields = {"callers": say.counted(few, noun), "column": contrast.column, "value": value_of(group, say)}
            found.append(say("contrast.few", **fields, least=contrast.least))
    if contrast.elsewhere:
        found.append(say("contrast.elsewhere", callers=say.counted(contrast.elsewhere, noun), column=contrast.column))
    if min(contrast.callers) < FEWEST_GROUPS:
        found.append(say("contrast.too_few", callers=say.many(noun), fewest=FEWEST_GROUPS))
    return found


def strips(contrast: Contrast) -> list[Measure]:
    """What is drawn call by call: the measures of the whole call; without any, the label that differs most."""
    whole = [one.measure for one in contrast.rows if one.source == "prediction" and not one.measure.label]
    labels = [one for one in contrast.rows if one.source == "prediction" and one.measure.kind == "share"]
    return whole or [min(labels, key=_order).measure]


def _order(row: Difference) -> float:
    return 2.0 if row.welch_p is None else row.welch_p
