import pytest
import torch
import torch.nn.functional as F

from toolkit.core import matmul
from toolkit.core.matmul import FEW, KEPT, linear, rounded_up


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("shape", [(33, 64), (2, 17, 64)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_a_product_is_torch_s_whichever_library_multiplies(
    dtype: torch.dtype, bound: float, shape: tuple[int, ...], biased: bool, gelu: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    values, weight, bias = (torch.randn(size, generator=generator) for size in (shape, (24, 64), (24,)))
    found = linear(values.to(dtype), weight.to(dtype), bias.to(dtype) if biased else None, gelu=gelu)
    expected = F.linear(
        values.to(dtype).double(), weight.to(dtype).double(), bias.to(dtype).double() if biased else None
    )
    expected = F.gelu(expected) if gelu else expected
    assert found.dtype == dtype and found.shape == (*shape[:-1], 24)
    assert (found.double() - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 16, 17, 500, 512, 513, 700, 1504, 20_000])
def test_rows_are_rounded_up_where_kernels_are_kept_by_a_16th_at_most(
    dtype: torch.dtype, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "goes_to_onednn", lambda *_: True)
    cpu = torch.device("cpu")
    monkeypatch.setenv(KEPT[0], FEW)
    assert rounded_up(rows, dtype, cpu) == rows
    monkeypatch.setenv(KEPT[0], "512")
    assert rows <= rounded_up(rows, dtype, cpu) < rows + max(16, rows / 16 + 1)
    monkeypatch.setattr(matmul, "goes_to_onednn", lambda *_: False)
    assert rounded_up(rows, dtype, cpu) == rows


def test_few_numbers_of_rows_serve_all_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "goes_to_onednn", lambda *_: True)
    monkeypatch.setenv(KEPT[0], "512")
    found = {rounded_up(rows, torch.bfloat16, torch.device("cpu")) for rows in range(1, 2049)}
    assert len(found) == 32 + 16 + 16


def test_an_elements_sigmoid_is_its_own_wherever_it_is() -> None:
    values = 8 * torch.randn(1_003, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[:4] = torch.tensor([-800.0, 800.0, 0.0, -40.0])
    found = matmul.sigmoid(values)
    assert torch.equal(found, torch.cat([matmul.sigmoid(value[None]) for value in values]))
    torch.testing.assert_close(found, torch.sigmoid(values), rtol=1e-14, atol=1e-300)
