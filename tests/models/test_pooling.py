"""Masked mean and standard deviation against numpy in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.models.pooling import mean_and_std


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    width=st.integers(1, 9),
    offset=st.floats(-1000, 1000),
    seed=st.integers(0, 1000),
)
def test_own_frames_alone_count_and_agree_with_float64(
    lengths: list[int], width: int, offset: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.normal(size=(len(lengths), max(lengths) + 2, width)) + offset).astype(np.float32)
    for row, length in zip(values, lengths):
        row[length:] = np.nan
    mean, std = mean_and_std(torch.from_numpy(values), torch.tensor(lengths))
    for i, length in enumerate(lengths):
        exact = values[i, :length].astype(np.float64)
        np.testing.assert_allclose(mean[i].numpy(), exact.mean(axis=0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(std[i].numpy(), exact.std(axis=0), rtol=1e-3, atol=2e-4)


def test_a_single_frame_has_deviation_zero_and_no_nan() -> None:
    values = torch.full((1, 5, 3), float("inf"))
    values[:, 0] = 7
    mean, std = mean_and_std(values, torch.tensor([1]))
    assert mean.tolist() == [[7.0] * 3] and std.tolist() == [[0.0] * 3]


def test_large_offsets_keep_their_small_deviation() -> None:
    frames = torch.tensor([[[4095.5], [4096.5]]])
    assert mean_and_std(frames, torch.tensor([2]))[1].item() == 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_pooled_in_float32_and_left_as_it_was(dtype: torch.dtype) -> None:
    values = torch.randn(2, 3000, 4, generator=torch.Generator().manual_seed(0)).to(dtype) + 3
    before = values.clone()
    mean, std = mean_and_std(values, torch.tensor([3000, 2999]))
    assert mean.dtype == std.dtype == torch.float32
    assert torch.equal(values, before)
    np.testing.assert_allclose(mean[0].numpy(), values[0].double().mean(dim=0).numpy(), rtol=1e-5)
    np.testing.assert_allclose(std[1].numpy(), values[1, :2999].double().std(dim=0, correction=0).numpy(), rtol=1e-5)


def test_float32_states_are_left_as_they_were() -> None:
    values = torch.randn(2, 30, 4)
    before = values.clone()
    mean_and_std(values, torch.tensor([30, 7]))
    assert torch.equal(values, before)
