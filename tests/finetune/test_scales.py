"""Fine-tuning of scales: the losses are their formulas, a planted scale is learnt, and kept."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from tests.devices import DEVICES
from tests.finetune.conftest import make_job
from tests.finetune.test_export import said_by_the_readme
from toolkit.core.errors import InputError, SplitError
from toolkit.corpus import manifest
from toolkit.corpus.evaluation_task import build_task
from toolkit.corpus.labels import Task, middle_of
from toolkit.corpus.manifest import Manifest, read
from toolkit.corpus.spellings import Rules
from toolkit.finetune import rounds
from toolkit.finetune.apply import apply, kept_in
from toolkit.finetune.checks import check_learnable
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.export import _head, export
from toolkit.finetune.options import Recipe
from toolkit.finetune.origin import by_hand
from toolkit.finetune.run import Options, _device
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint
from toolkit.result.kinds import decide, headline_score
from toolkit.result.scale_metrics import Moments, clip_moments, concordance_correlation

NUMBERS = Task("two", "regression", ("a", "b", "still"), ("a", "b", "still"))
LEVELS = Task("risk", "ordinal", ("0", "1", "2", "3"), ("risk",))
RULES = {
    "regression": Rules(unlabelled="skip", kind="regression"),
    "ordinal": Rules(kind="ordinal", levels=tuple("abcd")),
}


def classifier(task: Task, truth: np.ndarray, loss: str = "") -> Classifier:
    share, spread = middle_of(task, truth)
    standard = torch.zeros(5), torch.ones(5)
    return Classifier(SimpleNamespace(width=4), task, share, standard, False, "mean", spread, loss)


@pytest.fixture
def numbers() -> np.ndarray:
    """Of two targets, some missing, and of one that does not vary."""
    truth = np.random.default_rng(0).normal((50, -2, 0.1), (10, 3, 0), (12, 3))
    truth[[0, 3, 7], [0, 1, 1]] = np.nan
    return truth


def test_numbers_are_taught_by_their_deviations_and_what_is_missing_does_not_count(numbers: np.ndarray) -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 3)))
    mean, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
    scaled = ((numbers - mean) / spread)[:, :2]
    squares = np.square(logits.numpy()[:, :2] - scaled)
    found = classifier(NUMBERS, numbers).loss(logits, torch.from_numpy(numbers))
    assert float(found) == pytest.approx(np.nansum(squares) / 24, rel=1e-5)
    moments = Moments.of(clip_moments(scaled, logits.numpy()[:, :2]).sum(axis=0), 2)
    expected = 1 - concordance_correlation(moments).mean()
    found = classifier(NUMBERS, numbers, "ccc").loss(logits, torch.from_numpy(numbers))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    given = classifier(NUMBERS, numbers).probability(logits.float())
    np.testing.assert_allclose(given[:, :2], (mean + spread * logits.numpy())[:, :2], rtol=1e-5)
    np.testing.assert_allclose(given[:, 2], 0.1, rtol=1e-6)


def test_a_batch_in_parts_gives_the_squares_of_the_whole(numbers: np.ndarray) -> None:
    model, logits, truth = classifier(NUMBERS, numbers), torch.randn(12, 3), torch.from_numpy(numbers)
    parts = [model.loss(logits[own], truth[own]) for own in (slice(0, 6), slice(6, 12))]
    assert float(sum(parts) / 2) == pytest.approx(float(model.loss(logits, truth)), rel=1e-5)
    one = classifier(NUMBERS, numbers, "ccc").loss(logits[:1].requires_grad_(), truth[:1])  # of one clip there is none
    assert torch.isfinite(one)


def test_levels_are_taught_by_being_above_each_with_one_slope() -> None:
    """CORAL: the sum of the cross entropies of being above each level; here no clip of the training has level 1."""
    truth = np.array([0, 0, 0, 2, 2, 3])
    model = classifier(LEVELS, truth)
    np.testing.assert_allclose(model.out.bias.detach(), np.log([1, 1 / 5]), atol=1e-6)  # 3 of 6 and 1 of 6 are above
    logits = model.head(torch.randn(6, 5)).detach()
    assert logits.shape == (6, 2) == (6, model.outputs)
    np.testing.assert_allclose(logits[:, 0] - logits[:, 1], np.log(5), rtol=1e-5)
    above = np.stack([truth > 0, truth > 2], axis=1)
    sure = 1 / (1 + np.exp(-logits.double().numpy()))
    expected = -np.where(above, np.log(sure), np.log(1 - sure)).sum(axis=1).mean()
    assert float(model.loss(logits, torch.from_numpy(truth))) == pytest.approx(expected, rel=1e-5)
    levels = np.stack([1 - sure[:, 0], 0 * sure[:, 0], sure[:, 0] - sure[:, 1], sure[:, 1]], axis=1)
    np.testing.assert_allclose(model.probability(logits), levels, atol=1e-7)


@pytest.fixture(scope="module")
def pitches(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """36 clips of 6 speakers, whose pitch is a number, in four levels too, and one that falls and that some miss."""
    folder, rows = tmp_path_factory.mktemp("pitches"), []
    for number in range(36):
        height = number * 7 % 12
        time = np.arange(int(16_000 * (0.25 + 0.01 * (number % 5)))) / 16_000
        tone = sum(np.sin(2 * np.pi * (110 + 25 * height) * step * time) / step for step in range(1, 9))
        noise = 0.01 * np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * (tone + noise), 16_000)
        cells = (f"{100 + 10 * height}", "" if number % 8 == 1 else f"{-3.5 * height}", "abcd"[height // 3])
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 6}", *cells))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "pitch", "depth", "grade"), rows)
    return read(folder / "manifest.csv")


@pytest.mark.parametrize(
    ("target", "kind", "loss", "way"),
    [
        ("pitch,depth", "regression", "", "full"),
        ("pitch", "regression", "ccc", "top-1"),
        ("grade", "ordinal", "", "lora"),
    ],
)
def test_a_planted_scale_is_learnt_and_what_was_kept_gives_the_same_bits(
    pitches: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, target: str, kind: str, loss: str, way: str
) -> None:  # fmt: skip
    checkpoint = checkpoints["hubert-group"]
    recipe = Recipe(way, learning_rate=1e-3, head_epochs=60, epochs=2, batch_size=6, statistics="both",
                    class_weights="none", loss=loss)  # fmt: skip
    job, question = make_job(pitches, checkpoint, target, recipe, RULES[kind])
    round_ = list(question.folds.rounds())[1]
    done = train(job, round_, "encoder.2", tmp_path, lambda _: None)
    score = headline_score(question.task, question.truth[round_.test], done.prediction)
    assert score is not None and score > 0.7 and done.development is not None
    finished = rounds.write(tmp_path, round_, done, {"context": "clip", "recipe": asdict(recipe), "threads": 1})
    np.testing.assert_array_equal(finished.prediction, done.prediction)
    weights = tmp_path / "weights" / "round-1.safetensors"
    kept = kept_in(weights, json.loads(weights.with_suffix(".json").read_text()))
    some = [5, 2, 9]
    (again,) = apply(question.task, [kept], checkpoint, job.recordings, job.ids, [round_.test[some]], "cpu")
    np.testing.assert_array_equal(again, done.probability[some])
    np.testing.assert_array_equal(decide(question.task, again, kept.bars), done.prediction[some])

    export(question.task, kept, checkpoint, tmp_path / "out")
    plain = said_by_the_readme(tmp_path / "out", pitches, job, round_.test[some])
    if kind == "regression":
        np.testing.assert_allclose(plain, again, rtol=1e-4)
        assert json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == "regression"
    else:
        np.testing.assert_allclose(plain.sigmoid(), again[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:], atol=1e-5)


def test_a_level_without_clips_is_exported_with_no_probability_of_its_own() -> None:
    middle, ends = (classifier(LEVELS, np.array(truth)) for truth in ([0, 2, 3], [1, 2]))
    first, second = middle.out.bias.tolist()
    assert _head(middle)["out.bias"].tolist() == [first, first, second]
    assert _head(ends)["out.bias"].tolist() == [np.inf, *ends.out.bias.tolist(), -np.inf]


def test_what_no_scale_can_be_taught_by_is_refused(
    pitches: Manifest, checkpoints: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="--loss ccc is of a whole batch, which 2 processes share"):
        _device(Options(Recipe(loss="ccc"), device="cpu"), lambda told: None)
    monkeypatch.undo()
    with pytest.raises(InputError, match="--loss ccc is of a whole batch, and --grad-accum-steps"):
        Recipe(loss="ccc", grad_accum_steps=2)
    with pytest.raises(InputError, match="Bad --loss 'l1', expected one of"):
        Recipe(loss="l1")
    question = build_task(pitches, "pitch", 3, 0, rules=RULES["regression"])
    heads = by_hand(checkpoints["hubert-group"], None, question, 1, None, "head").heads.values()
    assert {head.class_weights for head in heads} == {"none"}
    constant = np.where(question.folds.fold[:, None] == 0, question.truth, 3.0)
    with pytest.raises(SplitError, match="the training clips have nothing to tell apart"):
        check_learnable(question.task, constant, question.folds, True)
    none = np.where(question.folds.fold[:, None] == 1, np.nan, question.truth)
    with pytest.raises(SplitError, match="has a number in the development clips"):
        check_learnable(question.task, none, question.folds, True)
    two = replace(question.task, labels=("pitch", "still"), columns=("pitch", "still"))
    truth = np.concatenate([question.truth, np.full_like(question.truth, 0.1)], axis=1)
    notes = check_learnable(two, truth, question.folds, True)
    told = "'still' does not vary in the training clips; it is predicted at its mean."
    assert len(notes) == 3 and str(notes[0]).endswith(told)


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("kind", ["mse", "ccc", "coral"])
def test_another_device_teaches_the_same(numbers: np.ndarray, place: str, kind: str) -> None:
    task, truth = (LEVELS, np.array([0, 0, 3, 2] * 3)) if kind == "coral" else (NUMBERS, numbers)
    pooled, slopes, given = torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), [], []
    with DEVICES[place]() as device:
        for where in (torch.device("cpu"), device):
            torch.manual_seed(0)
            model = classifier(task, truth, "" if kind == "coral" else kind).to(where)
            logits = model.head(pooled.to(where))
            model.loss(logits, torch.from_numpy(truth).to(where)).backward()
            assert model.dense.weight.grad is not None
            slopes.append(model.dense.weight.grad.cpu())
            given.append(model.probability(logits.detach()))
    assert slopes[0].abs().max() > 0
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(*given, rtol=1e-5)
