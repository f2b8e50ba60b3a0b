"""Every layer of wav2vec 2.0, HuBERT, WavLM and data2vec against plain transformers, one clip at a time."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.models import tiny
from tests.models.reference import BFLOAT16_BOUND, BOUND, Reference, own_states, recordings, relative_error, worst_error
from tests.models.tiny import FAMILIES, speech_like
from toolkit.audio.decode import Samples
from toolkit.core.errors import AudioError
from toolkit.models import convolutions, fused_linear, positional_conv
from toolkit.models.attention import QUERIES
from toolkit.models.checkpoint import locate
from toolkit.models.encoder import Encoder
from toolkit.models.load import load
from toolkit.models.positional_conv import PositionalConvolutions
from toolkit.models.precision import BFLOAT16

WAVEFORM_FAMILIES = [name for name in FAMILIES if not name.startswith("whisper")]
POSITIONS = ["hubert-group", "wavlm-group", "data2vec-audio"]  # each with positions of its own
CPU = torch.device("cpu")
States = list[dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=WAVEFORM_FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load(locate(str(folder), folder.parent), CPU, torch.float32)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Samples]:
    return recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def expected(reference: Reference, clips: list[Samples]) -> States:
    return [reference.states(clip) for clip in clips]


def test_each_layer_of_each_clip_alone_is_what_transformers_gives(
    encoder: Encoder, clips: list[Samples], expected: States
) -> None:
    for clip, states in zip(clips, expected, strict=True):
        assert worst_error(own_states(encoder, [clip]), [states]) < BOUND


def test_a_batch_of_any_lengths_gives_each_clip_what_transformers_gives_it_alone(
    encoder: Encoder, clips: list[Samples], expected: States
) -> None:
    assert worst_error(own_states(encoder, clips), expected) < BOUND


def test_rows_behind_a_batch_s_own_reach_no_clip(
    encoder: Encoder, clips: list[Samples], expected: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (convolutions, positional_conv, fused_linear):
        monkeypatch.setattr(module, "rounded_up", lambda rows, *_: rows + 7)
    assert worst_error(own_states(encoder, clips), expected) < BOUND


@pytest.mark.parametrize("folder", POSITIONS, indirect=True, scope="module")
def test_a_long_clip_beside_a_click_changes_neither(encoder: Encoder, reference: Reference) -> None:
    """Of 50 frames a second, whose queries take two blocks."""
    clips = [speech_like(1.2 * QUERIES / 50, seed=1), speech_like(0.02, seed=2)]
    assert worst_error(own_states(encoder, clips), [reference.states(clip) for clip in clips]) < BOUND


@settings(max_examples=4, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 30_000), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_no_clip_knows_its_batch(encoder: Encoder, lengths: list[int], seed: int) -> None:
    clips = [speech_like(n / 16_000, seed + i) for i, n in enumerate(lengths)]
    alone = [own_states(encoder, [clip])[0] for clip in clips]
    assert worst_error(own_states(encoder, clips), alone) < BOUND


@pytest.mark.parametrize("kind", ["silence", "offset", "quiet", "loud"])
def test_signals_at_the_edge_stay_finite_and_right(encoder: Encoder, reference: Reference, kind: str) -> None:
    speech = speech_like(0.7, seed=3)
    signals = {"silence": 0 * speech, "offset": speech + 0.3, "quiet": speech * 1e-5, "loud": speech * 1e3}
    clips = [signals[kind].astype(np.float32), speech_like(1.1, seed=4)]
    found = own_states(encoder, clips)
    assert all(np.isfinite(values).all() for clip in found for values in clip.values())
    assert worst_error(found, [reference.states(clip) for clip in clips]) < BOUND


@pytest.fixture(scope="module")
def calm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Encoder]:
    """The same backbone in float32 and in bfloat16."""
    copy = tiny.calm(shutil.copytree(folder, tmp_path_factory.mktemp("calm") / folder.name))
    exact, half = (load(locate(str(copy), copy.parent), CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    return exact, half


@settings(max_examples=2, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(8_000, 30_000), min_size=1, max_size=4), seed=st.integers(0, 1000))
@example(lengths=[8_838], seed=316)  # a quiet frame, of which a layer norm amplified what rounding had taken
def test_a_batch_in_bfloat16_is_close_to_each_clip_alone_in_float32(
    calm: tuple[Encoder, Encoder], lengths: list[int], seed: int
) -> None:
    clips = [speech_like(n / 16_000, seed + i) for i, n in enumerate(lengths)]
    exact, half = calm
    assert worst_error(own_states(half, clips), [own_states(exact, [clip])[0] for clip in clips]) < BFLOAT16_BOUND


@pytest.mark.parametrize("channels", [4, 8, 16, 48])
def test_positions_in_bfloat16_are_right_whatever_the_library_makes_of_them(channels: int) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv1d(2 * channels, 2 * channels, 32, padding=16, groups=2).requires_grad_(False)
    embedding = SimpleNamespace(conv=convolution, activation=torch.nn.Identity())
    states = torch.randn(1, 40, 2 * channels)
    exact = PositionalConvolutions(embedding)(states, None)
    found = PositionalConvolutions(embedding, BFLOAT16)(states, None)
    assert (found - exact).norm() < BFLOAT16_BOUND * exact.norm()


def test_stopping_at_a_layer_gives_the_same_layers_and_no_more(
    folder: Path, encoder: Encoder, clips: list[Samples]
) -> None:
    whole = own_states(encoder, clips[:3])
    for last in (0, 1):
        short = load(locate(str(folder), folder.parent), CPU, torch.float32, last_layer=last)
        assert short.layer_names == tuple(f"encoder.{number}" for number in range(last + 1))
        for mine, all_layers in zip(own_states(short, clips[:3]), whole):
            assert max(relative_error(mine[name], all_layers[name]) for name in mine) < 1e-6


def test_padding_is_less_than_one_frame_and_no_clip_is_without_a_frame(encoder: Encoder) -> None:
    for n_samples in (1, 399, 400, 401, 719, 720, 16_000, 500_000):
        assert encoder.frames(n_samples) >= 1
        assert max(400, n_samples) <= encoder.padded_samples(n_samples) < max(400, n_samples) + 320


def test_an_empty_clip_is_refused(encoder: Encoder) -> None:
    with pytest.raises(AudioError, match="expected \\(n_samples,\\)"):
        next(encoder.states([speech_like(0.5), np.zeros(0, np.float32)]))
