"""What a page says of a fine-tuned run: how its models came about, and where training improved nothing."""

from dataclasses import replace

import pytest

from tests.result.conftest import make_run
from toolkit.core.i18n import of
from toolkit.result import stats
from toolkit.result.report import narrative
from toolkit.result.run import Run


def tuned(best: tuple[int, ...], learnt_from: str = "train+development") -> Run:
    run = make_run(probe="finetune-full")
    choices = tuple(replace(choice, setting={"best epoch": epoch}) for choice, epoch in zip(run.choices, best))
    return replace(run, choices=choices, provenance={**run.provenance, "learnt_from": learnt_from})


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ((1, 2, 3, 1, 1), "Trained up to: encoder.2 in all 5 rounds."),
        (
            (1, 0, 3, 0, 1),
            "Trained up to: encoder.2 in all 5 rounds. In 2 of 5 rounds training did not improve on development: the "
            "model of those rounds is the head alone, fitted to the frozen layer.",
        ),
        (
            (0, 0, 0, 0, 0),
            "Models end at: encoder.2 in all 5 rounds. In 5 of 5 rounds training did not improve on development: the "
            "model of those rounds is the head alone, fitted to the frozen layer.",
        ),
    ],
)
def test_rounds_whose_training_improved_nothing_are_counted(best: tuple[int, ...], said: str) -> None:
    assert narrative.chosen(tuned(best)) == said
    chinese = narrative.chosen(tuned(best), of("zh"))
    still = best.count(0)
    assert (f"5 轮中有 {still} 轮的训练没有改善开发集结果" in chinese) == bool(still)


def test_where_the_head_alone_was_trained_nothing_is_trained_up_to_a_layer() -> None:
    head = replace(tuned((1, 2, 3, 1, 1)), probe="finetune-head")
    assert narrative.chosen(head) == "Models end at: encoder.2 in all 5 rounds."


@pytest.mark.parametrize(("learnt", "again"), [("train+development", True), ("train", False)])
def test_the_protocol_says_what_the_models_learnt_from(learnt: str, again: bool) -> None:
    run = tuned((1, 1, 1, 1, 1), learnt)
    ((_, said),) = (pair for pair in narrative.protocol(run, stats.evaluate(run.predictions)) if pair[0] == "Chosen")
    assert ("for as many epochs, on training and development clips together" in said) == again
    assert ("the model of that epoch predicts the test clips" in said) != again
