"""Matrix products by the fastest library that is there: the same numbers to rounding, at up to twice the speed."""

import os
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN compiles a kernel for each shape it meets and keeps 1,024 of them unless told, 0.6 MB each; so does ideep,
# torch's layer before it: memory that lengths of clips would fill up slowly. Where compiling one takes 0.8 ms, without
# AMX, only those of one batch need to come again, in its next layer: 16 are as fast as 512. Both look at first use.
KEPT, FEW = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"), "16"
for name in KEPT:
    os.environ.setdefault(name, FEW)


# cuDNN plans each shape of attention that it meets, for 165 ms (H200); clips of all lengths have as many shapes as
# batches, so a first pass took 5.5 s with it and 1.1 s without, a second one 0.55 s in both.
torch.backends.cuda.enable_cudnn_sdp(False)


def keep_kernels() -> None:
    """Before the first product, where shapes come again, or compiling is dear: 2 to 13 ms for AMX in bfloat16."""
    for name in KEPT:
        if os.environ[name] == FEW:
            os.environ[name] = "512"


def sigmoid(logits: Tensor) -> Tensor:
    """Of each element by itself: torch's own rounds otherwise at the end of an array (AVX-512), so that the last bit of
    a clip's probability would depend on the clips beside it. Its exp does not.
    """
    return 1 / (1 + (-logits).exp())


def allow_tensor_float_32(allowed: bool) -> None:
    """Whether CUDA devices may round what float32 products multiply, for the whole process: to 10 bits of 23, too few
    for float32, 8 times finer than bfloat16. Whoever multiplies says so first: `toolkit run` does all in one process.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


@cache
def onednn_is_faster() -> bool:
    """Whether float32 products should leave MKL, which uses half of a processor that is not Intel's, for oneDNN.

    Measured on an AMD EPYC with AVX-512, one thread: 80 GFLOP/s by MKL, 170 by oneDNN; with ten columns 19 and 121.
    """
    try:
        return _onednn_is_there() and "GenuineIntel" not in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


@cache
def _onednn_is_there() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


@cache
def goes_to_onednn(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `linear` multiplies in oneDNN: bfloat16 on a CPU that can, float32 where MKL is slower."""
    if device.type != "cpu":
        return False
    if dtype == torch.bfloat16:
        return _onednn_is_there() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32 and onednn_is_faster()


def rounded_up(rows: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many rows or frames a product should get for `rows`: as many, where no kernels are kept for later batches."""
    return _one_of_few(rows) if os.environ[KEPT[0]] != FEW and goes_to_onednn(dtype, device) else rows


def _one_of_few(rows: int) -> int:
    """The next of the few numbers whose kernels are kept, to serve clips of all lengths.

    Multiples of 16 up to 512, then of a 32nd to a 16th of the rows.
    """
    step = 16 if rows <= 512 else (1 << (rows - 1).bit_length()) // 32
    return -(-rows // step) * step


PACKED_ROWS = 256  # for so many rows a weight is laid out; half and four times as many are as fast with it


def packed(weight: Tensor) -> Tensor:
    """The weight (out, in), without gradient, as `linear` reads it fastest; only for `linear` from then on.

    oneDNN would lay out a bfloat16 weight anew for each product, which takes as long as multiplying 140 rows by it
    (Xeon with AMX: 970 to 1,230 GFLOP/s, 1,630 to 1,970 packed).
    """
    if weight.dtype == torch.bfloat16 and goes_to_onednn(weight.dtype, weight.device):
        laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_ROWS)
        return laid_out
    return weight


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """values @ weight.T + bias. values: (..., in); weight: (out, in); bias: (out,). Returns (..., out).

    gelu: the exact GELU of that; where the library can, before it is rounded to the dtype and without a second pass.
    """
    if goes_to_onednn(values.dtype, values.device):
        activation: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, *activation)
        return product
    product = F.linear(values, weight, bias)
    return F.gelu(product) if gelu else product
