"""Fine-tuning by transformers' own forward: the states of extraction, gradients for what learns, refusals elsewhere."""

import pytest
import torch

from tests.models import zoo
from tests.models.conftest import Saved
from tests.models.reference import BOUND, own_states, relative_error
from tests.models.tiny import speech_like
from toolkit.core.errors import AudioError, InputError
from toolkit.finetune.options import Recipe
from toolkit.finetune.recipe import choose_weights, parameter_groups, trained
from toolkit.models.checkpoint import inspect
from toolkit.models.generic import GenericEncoder
from toolkit.models.load import load
from toolkit.models.load_trainable import load_trainable
from toolkit.models.trainable import last_states

CLIPS = [speech_like(seconds, seed) for seed, seconds in enumerate((0.613, 1.0, 0.2, 2.31))]
PACKED = ("qwen2_5_omni", "qwen3_asr")
ANOTHERS = ("parakeet_rnnt", "parakeet_tdt", "musicflamingo")  # encoder: parakeet_ctc's, audioflamingo3's
MASKED = [
    name for name, entry in zoo.ZOO.items() if entry.mode == "masked" and name not in (*PACKED, *ANOTHERS, "clap")
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even", "ignore:At least one mel filter has all zero")
@pytest.mark.usefixtures("proved_by_two")
@pytest.mark.parametrize("name", MASKED)
def test_untrained_every_layer_of_a_batch_is_what_extraction_gives(name: str, saved: Saved) -> None:
    checkpoint = inspect(saved(name), name)
    encoder = load(checkpoint, torch.device("cpu"), torch.float32, mode="masked")
    assert isinstance(encoder, GenericEncoder) and checkpoint.family.feed is not None
    clips = CLIPS[:2] if checkpoint.family.feed.fixed else CLIPS
    expected = own_states(encoder.in_mode("alone"), clips)
    model = load_trainable(checkpoint)
    with torch.no_grad():
        for layer, values, lengths in model.states(**model.collate([model.prepare(clip) for clip in clips])):
            for clip, row, length in zip(expected, values, lengths):
                assert relative_error(row[: int(length)].numpy(), clip[layer]) < BOUND, layer


@pytest.mark.usefixtures("proved_by_two")
@pytest.mark.parametrize(("name", "layer"), [("wav2vec2-bert", "encoder.3"), ("parakeet_ctc", "encoder.2")])
def test_what_learns_gets_gradients_and_nothing_else(name: str, layer: str, saved: Saved) -> None:
    checkpoint = inspect(saved(name), name)
    for way in ("full", "top-1", "lora", "head"):
        recipe = Recipe(train=way)
        model = load_trainable(checkpoint, layer)
        assert len(model.layers) == int(layer[-1])
        torch.manual_seed(0)
        choose_weights(model, recipe)
        model.train()
        batch = model.collate([model.prepare(clip) for clip in CLIPS])
        if way != "head":
            last_states(model, **batch)[0].square().mean().backward()
        learns = dict(trained(model))
        assert all(weight.grad is not None for weight in learns.values())
        expected = {"full": ("layers.", "front.", "rest."), "top-1": (f"layers.{int(layer[-1]) - 1}.",)}
        assert all(key.startswith(expected.get(way, ("layers.",))) for key in learns)
        assert bool(learns) == (way != "head")
        assert all(("lora" in key) == (way == "lora") for key in learns)


@pytest.mark.usefixtures("proved_by_two")
def test_checkpointed_gradients_are_the_same(saved: Saved) -> None:
    checkpoint = inspect(saved("wav2vec2-bert"), "wav2vec2-bert")
    found = []
    for recompute in (False, True):
        model = load_trainable(checkpoint)
        model.recompute = recompute
        assert model.recompute == recompute
        model.layers.requires_grad_(True)
        last_states(model, **model.collate([model.prepare(clip) for clip in CLIPS]))[0].square().mean().backward()
        found.append({name: weight.grad for name, weight in trained(model)})
    plain, recomputed = found
    assert plain.keys() == recomputed.keys()
    assert all(relative_error(recomputed[name].numpy(), plain[name].numpy()) < 1e-4 for name in plain)


@pytest.mark.usefixtures("proved_by_two")
def test_rates_decay_from_layer_to_layer(saved: Saved) -> None:
    model = load_trainable(inspect(saved("parakeet_ctc"), "p"))
    model.requires_grad_(True)
    holder = torch.nn.Module()
    holder.backbone = model
    rates = {
        group["lr"] for group in parameter_groups(holder, Recipe(train="full", layer_decay=0.5, learning_rate=1.0))
    }
    assert rates == {1.0, 0.5, 0.25, 0.125}


def test_where_its_own_mask_is_not_exact_it_is_refused_in_a_sentence(saved: Saved) -> None:
    for name, reason in (("sew", "not exact by its own mask \\(off by"), ("qwen2_5_omni", "its clips are packed")):
        checkpoint = inspect(saved(name), name)
        with pytest.raises(InputError, match=f"{name}: it cannot be fine-tuned: .*{reason}"):
            load_trainable(checkpoint)


@pytest.mark.usefixtures("proved_by_two")
def test_a_clip_beyond_what_the_model_hears_is_refused(saved: Saved) -> None:
    model = load_trainable(inspect(saved("voxtral"), "voxtral"))
    with pytest.raises(AudioError, match=r"lasts 31\.0 s, and the model hears 30 s; --window"):
        model.prepare(speech_like(31))
