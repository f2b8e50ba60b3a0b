"""Families that run by transformers' own forward: every layer is what plain transformers gives each clip alone."""

from pathlib import Path

import pytest
import torch

from tests.models import zoo
from tests.models.conftest import Saved
from tests.models.reference import BOUND, own_states, worst_error
from tests.models.tiny import speech_like
from toolkit.audio.decode import SAMPLE_RATE
from toolkit.models import generic
from toolkit.models.checkpoint import inspect
from toolkit.models.generic import PADDED, GenericEncoder
from toolkit.models.load import load

CPU = torch.device("cpu")
LAST_FRAME_IS_MASKED = (
    "parakeet",
    "canary",
    "cohere",
    "wav2vec2-bert",
    "seamless",
)  # by its own extractor, in some clips
NOT_IN_FLOAT64 = ("gemma4", "qwen3_asr")  # which turn some of their states into float32
CLIPS = [speech_like(seconds, seed=n) for n, seconds in enumerate((0.313, 1.0, 0.52, 2.003, 0.161, 0.07))]


def encoder(folder: Path, mode: str | None = None, last_layer: int | None = None) -> GenericEncoder:
    found = load(inspect(folder, folder.name), CPU, torch.float32, mode=mode, last_layer=last_layer)
    assert isinstance(found, GenericEncoder)
    return found


@pytest.mark.filterwarnings("ignore:Using padding='same' with even", "ignore:At least one mel filter has all zero")
@pytest.mark.parametrize("name", list(zoo.ZOO))
def test_a_batch_has_the_states_that_transformers_gives_each_clip_alone(
    name: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not name.startswith(LAST_FRAME_IS_MASKED):  # a leak that few clips show
        monkeypatch.setattr(generic, "PROOF_CLIPS", 4)
        monkeypatch.setattr(generic, "FIXED_PROOF_CLIPS", 2)
    folder = saved(name)
    reference, loaded = zoo.Reference(folder), encoder(folder, zoo.ZOO[name].mode)
    family = inspect(folder, name).family
    assert family.feed is not None
    rate, seconds = family.feed.rate, family.feed.fixed if family.feed.whole else 6
    clips = [*(CLIPS[:2] if family.feed.fixed else CLIPS), speech_like(family.feed.shortest / SAMPLE_RATE)]
    expected = [reference.states(clip) for clip in clips]
    assert loaded.frames(6 * rate) / seconds == pytest.approx(family.frame_rate, rel=0.06)
    exact = [mode for mode, error in loaded.proof.errors.items() if isinstance(error, float) and error <= BOUND]
    assert zoo.ZOO[folder.name].mode == exact[0]
    for mode in (*exact, "alone"):
        found = own_states(loaded.in_mode(mode), clips)
        if name.startswith(LAST_FRAME_IS_MASKED):
            expected = [{name: states[: len(mine[name])] for name, states in theirs.items()}
                        for mine, theirs in zip(found, expected)]  # fmt: skip
        assert worst_error(found, expected) < BOUND
    if zoo.ZOO[name].mode in PADDED and name not in NOT_IN_FLOAT64 and not family.feed.fixed:
        assert_no_trace_in_float64(loaded)


def assert_no_trace_in_float64(loaded: GenericEncoder) -> None:
    """Of a batch's other clips, in any of them."""
    network, prepare = loaded.network, loaded.network.prepare
    network.model.double()
    network.prepare = lambda clip: {  # type: ignore[method-assign]
        key: values.double() if values.is_floating_point() else values for key, values in prepare(clip).items()
    }
    clips = [*CLIPS[:2], CLIPS[-1]]
    alone = own_states(loaded.in_mode("alone"), clips)
    assert worst_error(own_states(loaded, clips), alone) < 1e-6


@pytest.mark.usefixtures("proved_by_two")
@pytest.mark.parametrize(
    ("of_padded", "wanted", "taken"),
    [(0.59, None, "masked"), (0.61, None, "equal"), (0.61, "masked", "masked"), (0.1, "equal", "equal")],
)
def test_padding_is_taken_where_it_is_much_faster_than_one_by_one(
    of_padded: float, wanted: str | None, taken: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = GenericEncoder._run
    seconds = {"masked": of_padded, "alone": 1.0, "equal": 1.0}
    monkeypatch.setattr(GenericEncoder, "_run", lambda self, clips, mode: (run(self, clips, mode)[0], seconds[mode]))
    assert encoder(saved("wav2vec2-bert"), wanted).mode == taken
