"""The trainable modules against the encoders of extraction: the same states, and a gradient for every weight."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.reference import BOUND, own_states, relative_error
from tests.models.tiny import FAMILIES, speech_like
from toolkit.core.errors import InputError
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.load import load
from toolkit.models.load_trainable import load_trainable
from toolkit.models.trainable import last_states

CLIPS = [speech_like(seconds, seed) for seed, seconds in enumerate((0.613, 1.0, 0.02, 2.31))]


@pytest.fixture(scope="module", params=list(FAMILIES))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = FAMILIES[request.param](tmp_path_factory.mktemp("models") / request.param)
    return locate(str(folder), folder.parent)


def contexts(checkpoint: Checkpoint) -> list[tuple[str, bool]]:
    return [("full", True), ("clip", True)] if checkpoint.backbone.decoder_layers else [("full", False)]


def states(model: torch.nn.Module, clips: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    found: list[dict[str, np.ndarray]] = [{} for _ in clips]
    with torch.no_grad():
        for name, values, lengths in model.states(**model.collate(list(map(model.prepare, clips)))):  # type: ignore[operator]
            for clip, row, length in zip(found, values, lengths):
                clip[name] = row[: int(length)].numpy()
    return found


def test_untrained_every_layer_of_a_batch_is_what_extraction_gives(checkpoint: Checkpoint) -> None:
    for context, decoder in contexts(checkpoint):
        last = f"decoder.{checkpoint.backbone.decoder_layers}" if decoder else None
        model = load_trainable(checkpoint, last, context)  # type: ignore[arg-type]
        encoder = load(checkpoint, torch.device("cpu"), torch.float32, context=context, decoder=decoder)  # type: ignore[arg-type]
        for found, expected in zip(states(model, CLIPS), own_states(encoder, CLIPS), strict=True):
            assert found.keys() == expected.keys()
            for name in expected:
                assert relative_error(found[name], expected[name]) < BOUND, name


def test_cut_at_a_layer_it_gives_that_layer_and_computes_no_other(checkpoint: Checkpoint) -> None:
    clips = CLIPS[:2] if checkpoint.family.fixed_context else CLIPS
    whole = states(load_trainable(checkpoint), clips)
    for layer in ("encoder.0", "encoder.1"):
        cut = load_trainable(checkpoint, layer)
        assert len(cut.layers) == int(layer[-1])  # type: ignore[arg-type]
        with torch.no_grad():
            values, lengths = last_states(cut, **cut.collate(list(map(cut.prepare, clips))))  # type: ignore[operator]
        for clip, row, length in zip(whole, values, lengths):
            assert relative_error(row[: int(length)].numpy(), clip[layer]) < BOUND


@pytest.mark.parametrize(
    ("checkpoint", "recompute"),
    [*((name, False) for name in FAMILIES), ("hubert-stable", True), ("wavlm-group", True), ("whisper-80", True)],
    indirect=["checkpoint"],
    scope="module",
)
def test_every_weight_gets_a_gradient_when_everything_is_trained(checkpoint: Checkpoint, recompute: bool) -> None:
    layer = f"decoder.{checkpoint.backbone.decoder_layers}" if checkpoint.backbone.decoder_layers else None
    model = load_trainable(checkpoint, layer).requires_grad_(True).train()
    model.recompute = recompute  # type: ignore[assignment]
    clips = CLIPS[:2] if checkpoint.family.fixed_context else CLIPS
    values, _ = last_states(model, **model.collate(list(map(model.prepare, clips))))  # type: ignore[operator]
    (values * torch.linspace(-1, 1, values.shape[-1])).square().sum().backward()
    silent = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    unused = {
        name
        for name in silent
        if any(part in name for part in ("k_proj.bias", ".self_attn.q_proj", ".self_attn.k_proj"))
    }
    assert silent == unused, silent - unused


def test_recordings_longer_than_the_context_are_taken_in_pieces(tmp_path: Path) -> None:
    checkpoint = locate(str(FAMILIES["whisper-80"](tmp_path / "whisper")), tmp_path)
    model = load_trainable(checkpoint)
    batch = model.collate([model.prepare(speech_like(seconds)) for seconds in (31.0, 1.0)])  # type: ignore[operator]
    assert batch["owner"].tolist() == [0, 0, 1] and batch["input_lengths"].tolist() == [1500, 50, 50]


@pytest.mark.parametrize("layer", ["encoder.9", "decoder.1", "mix", "encoder.-1"])
def test_a_layer_that_is_not_there_is_refused(tmp_path: Path, layer: str) -> None:
    checkpoint = locate(str(FAMILIES["hubert-group"](tmp_path / "hubert")), tmp_path)
    with pytest.raises(InputError, match="Bad layer"):
        load_trainable(checkpoint, layer)
