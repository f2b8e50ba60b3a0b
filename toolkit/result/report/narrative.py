"""What a run found and how, in sentences: for the report, the terminal and the figures, in either language."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

import numpy as np

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import kinds, metrics, stats
from toolkit.result.controls import Control
from toolkit.result.jackknife import FEWEST_GROUPS, MOST_UNITS
from toolkit.result.paired import widening
from toolkit.result.predictions import Predictions
from toolkit.result.run import TUNED, Choice, Point, Run
from toolkit.result.stats import Evaluation

# micro-averages and the weighted recall are the accuracy then, the macro recall is UAR
EQUAL_FOR_ONE_LABEL = ("f1_micro", "precision_micro", "recall_micro", "recall_weighted", "recall_macro")
_TARGETS = {"ordinal": "run.levels_of", "regression": "run.number_of"}  # how a page names what is predicted


def metric_name(run: Run, say: Language = ENGLISH) -> str:
    """The headline metric inside a sentence: "UAR", "macro F1"."""
    return inside(metrics.title(run.metric, say))


def inside(title: str) -> str:
    """
    >>> inside("F1, macro")
    'macro F1'
    """
    return " ".join(reversed(title.split(", ")))


def words(run: Run, say: Language = ENGLISH) -> Language:
    """Of a run's pages, which count units where it predicts these."""
    return say.of_units if "unit" in run.provenance else say


def unit(predictions: Predictions, say: Language = ENGLISH) -> str:
    """What an interval resamples, in the plural."""
    return say.many("clip" if predictions.groups == predictions.ids else predictions.group)


def run_title(run: Run, say: Language = ENGLISH) -> str:
    """The run's title; one that the toolkit gave it, in the language."""
    fields = {"task": run.task.name, "backbone": run.backbone}
    return say("run.title", **fields) if run.title == ENGLISH("run.title", **fields) else run.title


def protocol_line(run: Run, say: Language = ENGLISH) -> str:
    """Data and protocol in a few words, under every figure's title."""
    predictions, folds = run.predictions, run.folds
    dealt = _dealt(run)
    fields = {
        "clips": say.counted(len(predictions.ids), "clip"),
        "how": say("protocol.fixed_split") if folds.scheme == "fixed" else say.counted(folds.count, "fold"),
        "apart": say.many(dealt) if dealt else say.name("noun", folds.group_by),
    }
    if predictions.groups == predictions.ids:
        return say("protocol.line", **fields)
    return say("protocol.line_groups", groups=say.counted(len(set(predictions.groups)), predictions.group), **fields)


def terms(run: Run, say: Language = ENGLISH) -> str:
    """What a probe, a round, the development set and the headline metric are; once on each page."""
    return say("page.terms", metric=say(f"page.terms_{run.metric}"))


def metric_in_full(run: Run, say: Language = ENGLISH) -> str:
    """The headline metric where a page names it first: "unweighted average recall (UAR)"."""
    return say(f"metric_in_full.{run.metric}")


def answer(run: Run, evaluation: Evaluation, say: Language = ENGLISH) -> str:
    """One or two sentences that come first: which model, on which layer, and what it scores."""
    name = metric_in_full(run, say)
    score = evaluation.overall[run.metric]
    chance, _ = kinds.chance(run.predictions)
    if score.estimate is None:
        return say("run.undefined", metric=name, task=run.task.name)
    text = say(
        "run.answer_number" if run.task.regression else "run.answer",
        model=model(run, run.backbone, run.choices, say),
        target=say(_TARGETS.get(run.task.kind, "run.labels_of"), number=len(run.task.labels), task=run.task.name),
        metric=name,
        score=score,
        unseen=unseen(run, say),
        chance=say.figure(chance),
    )
    lower = score.estimate if score.lower is None else score.lower
    if run.task.regression or run.task.ordinal:
        # of nothing to learn, each pair of clips moves the sum twice: as training and as test (docs/honesty.md)
        lower = score.estimate - widening(run.folds) * (score.estimate - lower)
    return text + (say("run.no_knowledge") if lower <= chance else "")


def model(run: Run, backbone: str, choices: Sequence[Choice], say: Language) -> str:
    """The probe and its layer, at the beginning of a sentence. choices: of the rounds of the run, or of its series."""
    layers = {choice.layer for choice in choices}
    if layers == {run.probe}:  # of a probe on all layers at once
        kind = run.fusion or "all"
    else:
        kind = ("tuned_" if run.tuned else "") + ("layer" if len(layers) == 1 else "layers")
    return say(
        f"run.model_{kind}",
        probe=run.probe.removeprefix(f"{run.fusion}-") if run.fusion else run.probe,
        way=run.probe.removeprefix(TUNED),
        backbone=backbone,
        layer=min(layers),
        layers=in_rounds(choices, say),
    )


def in_rounds(choices: Sequence[Choice], say: Language) -> str:
    """Each chosen layer and in how many of the rounds."""
    rounds = Counter(choice.layer if "layer" in choice.setting else choice.layers for choice in choices)
    if len(rounds) == 1:
        (layer,) = rounds
        return say("run.in_only_round" if len(choices) == 1 else "run.in_all_rounds", layer=layer, rounds=len(choices))
    parts = [say("run.in_some", layer=layer, number=number) for layer, number in rounds.most_common()]
    return say("run.of_rounds", parts=say("common.list").join(parts), rounds=len(choices))


def chosen(run: Run, say: Language = ENGLISH) -> str:
    """Which layers the rounds settled on, or ended their models at."""
    layers = in_rounds(run.choices, say)
    if not run.tuned:
        return say("run.chosen_probe", layers=layers)
    still = sum(choice.setting.get("best epoch") == 0 for choice in run.choices)
    frozen = run.probe == f"{TUNED}head" or still == len(run.choices)
    text = say("run.chosen_untrained" if frozen else "run.chosen_tuned", layers=layers)
    return text + (say("run.not_improved", number=still, rounds=len(run.choices)) if still else "")


def shown_metrics(evaluation: Evaluation) -> list[str]:
    """The names of the metrics that say something of their own: where every clip has one label, several are equal."""
    single = "unweighted_average_recall" in evaluation.overall
    return [name for name in evaluation.overall if not (single and name in EQUAL_FOR_ONE_LABEL)]


def may_be_best(points: Sequence[Point], say: Language = ENGLISH) -> str:
    """Which layers no other is shown to be ahead of; nothing of a single layer."""
    layers = [point.layer for point in points if point.may_be_best]
    fields = {"layers": say("common.list").join(layers), "number": len(layers), "all": len(points)}
    return say("report.may_be_best", **fields) if len(points) > 1 else ""


def _dealt(run: Run) -> str:
    """What was dealt out one by one: "clip", or "recording" of windows; "" where groups are kept apart."""
    if run.folds.group_by != "clip":
        return ""
    return "clip" if run.folds.groups == run.folds.ids else "recording"


def _who_leaks(run: Run) -> str:
    """Who may be on both sides where clips are dealt out one by one; windows of a recording never are."""
    group = run.predictions.group
    return "speaker" if group in ("clip", "recording") else group


def unseen(run: Run, say: Language = ENGLISH) -> str:
    """Whom the tested clips are of, as the folds kept them apart."""
    if _dealt(run):
        return say("run.unseen_leaky", groups=say.many(_who_leaks(run)))
    return say("run.unseen", groups=say.many(run.folds.group_by))


def control_name(run: Run, other: Control, say: Language = ENGLISH) -> str:
    """A nuisance's name, or what kind of run this is."""
    group = say.name("noun", run.predictions.group)
    if other.kind == "nuisance":
        return other.name
    return say(f"control.name_{other.kind}", group=group, name=other.name)


def control(run: Run, other: Control, say: Language = ENGLISH) -> str:
    """What another run says about this one."""
    sentence = say(
        f"control.{other.kind}{_gain(other)}",
        name=other.name,
        metric=inside(metrics.title(other.metric, say)) if other.kind == "nuisance" else metric_name(run, say),
        group=say.name("noun", run.predictions.group),
        score=say.figure(other.score),
        minus=say.figure(other.minus),
        chance=say.figure(other.chance),
        unit=unit(run.predictions, say),
        others=say("common.list").join(name for name in run.backbone.split("+") if name != other.name),
    )
    if not other.shuffles:
        return sentence
    many = say(
        "control.shuffles",
        shuffles=len(other.shuffles),
        mean=say.figure(mean(other.shuffles)),
        low=say.figure(min(other.shuffles)),
        high=say.figure(max(other.shuffles)),
        p=say.figure(other.p_value),
    )
    return say("common.sentences").join([sentence, many])


def _gain(other: Control) -> str:
    """Of a store alone: whether the fusion is shown to be above it."""
    if other.kind != "alone":
        return ""
    minus = other.minus
    if minus is None or minus.lower is None or minus.upper is None:
        return "_few"
    return "_adds" if minus.lower > 0 else "_takes" if minus.upper < 0 else "_open"


def protocol(run: Run, evaluation: Evaluation, say: Language = ENGLISH) -> list[tuple[str, str]]:
    """Data and protocol: (heading, sentences) pairs."""
    predictions = run.predictions
    clips, alone = say.counted(evaluation.clips, "clip"), predictions.groups == predictions.ids
    groups = say.counted(evaluation.units, predictions.group)
    tested = say("protocol.tested", clips=clips) if alone else say("protocol.tested_groups", clips=clips, groups=groups)
    labels = say("common.list").join(f"{label} {number:,}" for label, number in evaluation.support.items())
    kind = run.task.kind if run.task.kind in ("multilabel", *_TARGETS) else "single"
    if run.task.regression:
        labels = say("common.list").join(_range(run, place, say) for place in range(len(run.task.labels)))
    left_out = say("protocol.left_out_none")
    if run.left_out:
        left_out = say("protocol.left_out", clips=say.counted(len(run.left_out), "clip"))
    intervals = {
        "unit": say.name("noun", "clip" if alone else predictions.group),
        "units": unit(predictions, say),
        "models": say.counted(len(run.choices), "model"),
        "blocks": MOST_UNITS,
        "fewest": FEWEST_GROUPS,
        "scale": say(f"protocol.scale_{metrics.METRICS[run.metric].scale}"),
    }
    few, many = evaluation.units < FEWEST_GROUPS, evaluation.units > MOST_UNITS
    method = "intervals_none" if few else "intervals_blocks" if many else "intervals"
    pairs = {
        "clips": tested,
        "labels": say(f"protocol.labels_{kind}", number=len(run.task.labels), labels=labels),
        "apart": _kept_apart(run, say),
        "chosen": say(f"protocol.chosen_{_learnt(run)}", chosen=chosen(run, say)),
        "left_out": left_out,
        "intervals": say(f"protocol.{method}", **intervals),
    }
    headings = {"labels": f"labels_heading_{run.task.kind}"} if run.task.kind in _TARGETS else {}
    return [(say(f"protocol.{headings.get(name, f'{name}_heading')}"), text) for name, text in pairs.items()]


def _range(run: Run, place: int, say: Language) -> str:
    """A target's lowest and highest number, and its clips."""
    values = run.predictions.truth[:, place]
    low, high, clips = np.nanmin(values), np.nanmax(values), int((~np.isnan(values)).sum())
    label = run.task.labels[place]
    return say("protocol.range", label=label, low=f"{low:g}", high=f"{high:g}", clips=say.counted(clips, "clip"))


def _learnt(run: Run) -> str:
    """How a run's models came about, as the phrases name it."""
    scale = "_scale" if run.task.kind in _TARGETS else ""
    if not run.tuned:
        return f"probe{scale}"
    return ("tuned_refit" if run.provenance.get("learnt_from") == "train+development" else "tuned") + scale


def _kept_apart(run: Run, say: Language) -> str:
    folds = run.folds
    if folds.scheme == "fixed":
        train, development, test = (int((folds.fold == part).sum()) for part in (2, 1, 0))
        text = say("protocol.apart_fixed", train=train, development=development, test=test)
    else:
        text = say("protocol.apart_folds", folds=say.counted(folds.count, "fold"), rest=folds.count - 2)
    if dealt := _dealt(run):
        together = say("protocol.together") if dealt == "recording" else ""
        return say("protocol.apart_leaky", text=text, together=together, group=say.name("noun", _who_leaks(run)))
    group, number = say.name("noun", folds.group_by), len(set(folds.groups))
    return say("protocol.apart_groups", text=text, group=group, number=number)


def cautions(run: Run, evaluation: Evaluation, say: Language = ENGLISH) -> Sequence[str]:
    """What the reader must see before the figures: the run's own notes, and what the statistics add."""
    added = stats.caution(run.predictions, say)
    return [*map(say, run.notes), *([added] if added else [])]
