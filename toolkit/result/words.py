"""What a run found and how, in sentences: for the report, the terminal and the figures."""

from collections import Counter
from collections.abc import Sequence

from toolkit.result import metrics
from toolkit.result.beside import Beside
from toolkit.result.run import Run
from toolkit.result.stats import COVERAGE, RANKED_RESAMPLES, RESAMPLES, Evaluation, decimal


def counted(number: int, singular: str) -> str:
    """
    >>> counted(1, "clip"), counted(2000, "clip")
    ('1 clip', '2,000 clips')
    """
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def metric_name(run: Run) -> str:
    """The headline metric inside a sentence: "UAR", "macro F1"."""
    return " ".join(reversed(metrics.title(run.metric).split(", ")))


def answer(run: Run, evaluation: Evaluation) -> str:
    """One or two sentences that stand first."""
    name = metric_name(run)
    score = evaluation.overall[run.metric]
    chance, _ = metrics.chance(run.predictions)
    target = f"the {len(run.task.labels)} labels of {run.task.name}"
    done = f"predicts {target}" if run.task.multilabel else f"tells {target} apart"
    if score.estimate is None:
        return f"The {name} of {run.task.name} is undefined for these clips."
    text = f"{run.backbone} {done} with a {name} of {score}, on {unheard(run)}; chance is {decimal(chance)}."
    if score.lower is not None and score.lower <= chance:
        text += " The interval reaches down to chance: no knowledge is shown."
    return text


def chosen(run: Run) -> str:
    """Which layers the rounds settled on, or ended their models at."""
    how = "Trained up to" if run.tuned else "Chosen on development"
    rounds = Counter(choice.layer for choice in run.choices)
    if len(rounds) == 1:
        (layer,) = rounds
        when = "in the only round" if len(run.choices) == 1 else f"in all {len(run.choices)} rounds"
        return f"{how}: {layer} {when}."
    parts = [f"{layer} in {number}" for layer, number in rounds.most_common()]
    return f"{how}: {', '.join(parts)} of {len(run.choices)} rounds."


def _by_clip(run: Run) -> bool:
    return run.folds.groups == run.folds.ids


def unheard(run: Run) -> str:
    """Whom the tested clips are of, as the folds kept them apart."""
    who = "model" if run.tuned else "probe"
    if _by_clip(run):
        return "clips whose speakers it may have heard"
    if run.folds.group_by == "speaker":
        return f"speakers that the {who} never heard"
    return f"clips whose {run.folds.group_by} the {who} never heard"


def beside(run: Run, other: Beside) -> str:
    """What another run says about this one."""
    name = metric_name(run)
    if other.kind == "split":
        return (
            f"Split clip by clip the {name} flatters. With every {run.predictions.group} kept apart, same probe and "
            f"search, it is {other.score}: the inflation is {other.minus}."
        )
    if other.kind == "shuffled":
        return (
            f"On labels shuffled by {run.predictions.group} the same probe scores {other.score}; selectivity, real "
            f"minus shuffled, is {other.minus}."
        )
    if other.kind == "random":
        return f"The same backbone with random weights scores {other.score}; what training it gave is {other.minus}."
    metric = " ".join(reversed(metrics.title(other.metric).split(", ")))
    return f"{other.name}: {metric} {other.score}; chance is {decimal(other.chance)}."


def protocol(run: Run, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Data and protocol: (heading, sentences) pairs."""
    predictions = run.predictions
    who = "" if predictions.unit == "clips" else f" of {counted(evaluation.units, predictions.group)}"
    labels = ", ".join(f"{label} {number:,}" for label, number in evaluation.support.items())
    what = "any number of them a clip" if run.task.multilabel else "one a clip"
    pairs = [
        ("Clips", f"{counted(evaluation.clips, 'clip')}{who} were tested."),
        ("Labels", f"{len(run.task.labels)}, {what}. Clips that have them: {labels}."),
        ("Kept apart", _kept_apart(run)),
    ]
    choice = (
        "Scaling, class weights, hyper-parameters, thresholds and the layer see training and development clips only. "
        "With the winner's setting the probe is fitted again on both and predicts the test clips. "
    )
    if run.tuned:
        choice = (
            "Each round begins with the checkpoint's own weights and learns from its training clips; its best epoch "
            "and the thresholds are chosen on its development clips, and that epoch's model predicts the test clips. "
        )
    pairs.append(("Chosen", choice + chosen(run)))
    if run.left_out:
        pairs.append(("Left out", f"{counted(len(run.left_out), 'clip')}; the reasons are listed below."))
    else:
        pairs.append(("Left out", "No clip."))
    interval = (
        f"{100 * COVERAGE:.0f} %, percentile, from {RESAMPLES:,} resamples of {evaluation.unit} "
        f"({RANKED_RESAMPLES:,} for ROC-AUC and average precision)"
    )
    interval += ", each drawn with all of its clips" if evaluation.unit != "clips" else ""
    pairs.append(("Intervals", f"{interval}. They do not cover chance in fitting or in dealing out the folds."))
    return pairs


def _kept_apart(run: Run) -> str:
    folds = run.folds
    groups = len(set(folds.groups))
    if folds.scheme == "fixed":
        parts = [int((folds.fold == part).sum()) for part in (2, 1, 0)]
        text = f"A fixed split: {parts[0]:,} clips train, {parts[1]:,} are for development, {parts[2]:,} for the test"
    else:
        text = (
            f"{folds.count} folds. Each in turn is the test, the next one the development set, the other "
            f"{folds.count - 2} train, so that every clip is predicted once"
        )
    if _by_clip(run):
        return f"{text}. Clips are dealt out one by one: a speaker may stand on both sides, and the figures flatter."
    text += f". All clips of one {folds.group_by} ({groups:,} of them) stay on one side."
    return text


def cautions(run: Run, evaluation: Evaluation) -> Sequence[str]:
    """What the reader must see before the figures: the run's own notes, and what the statistics add."""
    return [*run.notes, *([evaluation.caution] if evaluation.caution else [])]
