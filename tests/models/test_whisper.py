"""Every layer of Whisper's encoder and decoder against plain transformers, one clip at a time."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import tiny
from tests.models.reference import BFLOAT16_BOUND, BOUND, Reference, own_states, recordings, relative_error, worst_error
from tests.models.tiny import FAMILIES, speech_like
from toolkit.audio.decode import Samples
from toolkit.models import fused_linear, whisper
from toolkit.models.checkpoint import locate
from toolkit.models.encoder import Encoder
from toolkit.models.load import load
from toolkit.models.whisper import Context

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["whisper-80", "whisper-128"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load(locate(str(folder), folder.parent), CPU, torch.float32, decoder=True)


@pytest.fixture(scope="module")
def clip_encoder(folder: Path) -> Encoder:
    return load(locate(str(folder), folder.parent), CPU, torch.float32, context="clip", decoder=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Samples]:
    return recordings(tmp_path_factory.mktemp("recordings"))[::2]


def test_each_layer_of_a_batch_is_what_transformers_gives_each_clip(
    encoder: Encoder, reference: Reference, clips: list[Samples]
) -> None:
    assert encoder.layer_names == tuple(f"{part}.{n}" for part in ("encoder", "decoder") for n in range(3))
    assert worst_error(own_states(encoder, clips), [reference.states(clip) for clip in clips]) < BOUND


def test_recordings_over_30_s_are_windows_whose_own_frames_are_joined(encoder: Encoder, reference: Reference) -> None:
    lengths = (30 * 16_000, 30 * 16_000 + 1, 31 * 16_000 + 321, 9_000)
    clips = [speech_like(n / 16_000, seed=n) for n in lengths]
    found = own_states(encoder, clips)
    assert [len(clip["encoder.1"]) for clip in found] == [math.ceil(n / 320) for n in lengths]
    assert [len(clip["decoder.1"]) for clip in found] == [1, 2, 2, 1]
    assert worst_error(found, [reference.states(clip) for clip in clips]) < BOUND


def test_clip_context_is_transformers_own_encoder_with_its_table_cut(
    folder: Path, clip_encoder: Encoder, reference: Reference, clips: list[Samples]
) -> None:
    found = own_states(clip_encoder, clips)
    model, extractor = reference.model, reference.feature_extractor
    table = model.encoder.embed_positions.weight.detach()
    for mine, clip in zip(found, clips):
        frames = math.ceil(len(clip) / 320)
        features = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features[..., : 2 * frames]
        cut = _with_positions(folder, table[:frames])
        start = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.no_grad():
            output = cut(features, decoder_input_ids=start, output_hidden_states=True, use_cache=False)
        states = {f"encoder.{k}": s[0].numpy() for k, s in enumerate(output.encoder_hidden_states)}
        states |= {f"decoder.{k}": s[0].numpy() for k, s in enumerate(output.decoder_hidden_states)}
        assert worst_error([mine], [states]) < BOUND


def _with_positions(folder: Path, table: torch.Tensor) -> torch.nn.Module:
    """The checkpoint with a shorter positional table, as transformers itself allows it."""
    model = Reference(folder).model
    model.encoder.embed_positions = torch.nn.Embedding.from_pretrained(table)
    model.encoder.config.max_source_positions = len(table)
    return model


@settings(max_examples=6, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 40_000), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_no_clip_knows_its_batch_in_clip_context(clip_encoder: Encoder, lengths: list[int], seed: int) -> None:
    clips = [speech_like(n / 16_000, seed + i) for i, n in enumerate(lengths)]
    alone = [own_states(clip_encoder, [clip])[0] for clip in clips]
    assert worst_error(own_states(clip_encoder, clips), alone) < BOUND


@settings(max_examples=2, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 520_000), min_size=1, max_size=2), seed=st.integers(0, 1000))
def test_no_clip_knows_its_batch_in_full_context(encoder: Encoder, lengths: list[int], seed: int) -> None:
    clips = [speech_like(n / 16_000, seed + i) for i, n in enumerate(lengths)]
    alone = [own_states(encoder, [clip])[0] for clip in clips]
    assert worst_error(own_states(encoder, clips), alone) < BOUND


def test_rows_behind_a_batch_s_own_reach_no_clip(clip_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [speech_like(0.5), speech_like(1.5, seed=1)]
    alone = [own_states(clip_encoder, [clip])[0] for clip in clips]
    for module in (whisper, fused_linear):
        monkeypatch.setattr(module, "rounded_up", lambda rows, *_: rows + 7)
    assert worst_error(own_states(clip_encoder, clips), alone) < BOUND


def test_clip_context_is_another_feature_and_costs_less(encoder: Encoder, clip_encoder: Encoder) -> None:
    clip = speech_like(2.0)
    difference = relative_error(
        own_states(clip_encoder, [clip])[0]["encoder.2"], own_states(encoder, [clip])[0]["encoder.2"]
    )
    assert difference > 0.01
    assert (encoder.padded_samples(32_000), clip_encoder.padded_samples(32_000)) == (480_000, 32_000)
    assert (encoder.padded_samples(480_001), clip_encoder.padded_samples(1)) == (960_000, 320)


def test_silence_is_finite_and_right(encoder: Encoder, reference: Reference) -> None:
    clips = [np.zeros(8_000, np.float32), speech_like(0.4)]
    assert worst_error(own_states(encoder, clips), [reference.states(clip) for clip in clips]) < BOUND


def test_without_the_decoder_only_the_encoder_is_read_and_run(folder: Path, encoder: Encoder) -> None:
    clip = speech_like(0.5)
    whole = own_states(encoder, [clip])
    for last in (0, 1, 2):
        short = load(locate(str(folder), folder.parent), CPU, torch.float32, last_layer=last)
        assert short.layer_names == tuple(f"encoder.{number}" for number in range(last + 1))
        assert worst_error(own_states(short, [clip]), whole) < 1e-6


@pytest.mark.parametrize("context", ["full", "clip"])
def test_a_batch_in_bfloat16_is_close_to_each_clip_alone_in_float32(
    folder: Path, tmp_path: Path, context: Context
) -> None:
    clips = [speech_like(0.5), speech_like(1.5, seed=1), speech_like(7.0, seed=2)]
    copy = tiny.calm(shutil.copytree(folder, tmp_path / folder.name))
    exact, half = (
        load(locate(str(copy), tmp_path), CPU, dtype, context=context, decoder=True)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert worst_error(own_states(half, clips), [own_states(exact, [clip])[0] for clip in clips]) < BFLOAT16_BOUND


def test_the_paper_s_decoder_state_is_that_of_the_start_token(tmp_path: Path) -> None:
    folders = [tiny.whisper(tmp_path / str(token), decoder_start_token_id=token) for token in (51, 52)]
    first, second = (load(locate(str(f), tmp_path), CPU, torch.float32, decoder=True) for f in folders)
    clip = speech_like(0.3)
    mine, other = own_states(first, [clip])[0], own_states(second, [clip])[0]
    assert relative_error(mine["encoder.2"], other["encoder.2"]) == 0
    assert relative_error(mine["decoder.2"], other["decoder.2"]) > 0.1
    assert F.cosine_similarity(torch.from_numpy(mine["decoder.0"]), torch.from_numpy(other["decoder.0"])) < 0.99
