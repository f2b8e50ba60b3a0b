"""Matrix products by the fastest library that is there: the same numbers to rounding, at up to twice the speed."""

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def _onednn_is_faster() -> bool:
    """Whether float32 products should leave MKL, which uses half of a processor that is not Intel's, for oneDNN.

    Measured on an AMD EPYC with AVX-512, one thread: 80 GFLOP/s by MKL, 170 by oneDNN; with ten columns 19 and 121.
    """
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (available and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """values @ weight.T + bias. values: (..., in); weight: (out, in); bias: (out,). Returns (..., out)."""
    if values.device.type == "cpu" and values.dtype == torch.float32 and _onednn_is_faster():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
        return product
    return F.linear(values, weight, bias)
