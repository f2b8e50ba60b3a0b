"""Matrix products by the fastest library that is there: the same numbers to rounding, at up to twice the speed."""

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN compiles a kernel for each shape it meets and keeps 1,024 of them by default, 0.6 MB each; so does ideep,
# torch's layer before it: memory that lengths of clips would fill up slowly. Where compiling one takes 0.8 ms, without
# AMX, only those of one batch need to come again, in its next layer: 16 are as fast as 512. Both look at first use.
KEPT, FEW = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"), "16"
for name in KEPT:
    os.environ.setdefault(name, FEW)


# cuDNN plans each shape of attention that it meets, for 165 ms (H200); clips of all lengths have as many shapes as
# batches, so a first pass took 5.5 s with it and 1.1 s without, a second one 0.55 s in both.
torch.backends.cuda.enable_cudnn_sdp(False)
# cuBLAS may add up parts of a float16 product in float16, which ends at 65,504.
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def keep_kernels() -> None:
    """Before the first product, where shapes come again, or compiling is dear: 2 to 13 ms for AMX in bfloat16."""
    for name in KEPT:
        if os.environ[name] == FEW:
            os.environ[name] = "512"


def sigmoid(logits: Tensor) -> Tensor:
    """Of each element by itself: torch's own rounds otherwise at the end of an array (AVX-512), so that the last bit of
    a clip's probability would depend on the other clips. Its exp does not.
    """
    return 1 / (1 + (-logits).exp())


def allow_tensor_float_32(allowed: bool) -> None:
    """Whether CUDA devices may round what float32 products multiply, for the whole process: to 10 bits of 23, too few
    for float32, 8 times finer than bfloat16. Whoever multiplies sets it first: `toolkit run` does all in one process.
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


SPLIT_WORTH = 0.9  # of float32's time: measurements of the same machine differ by less
PACKED_ROWS = 256  # for so many rows a weight is laid out; half and four times as many are as fast with it


def packed(weight: Tensor) -> Tensor:
    """The weight (out, in), without gradient, as `linear` reads it fastest; only for `linear` from then on.

    oneDNN would lay out a bfloat16 weight again for each product, which takes as long as multiplying 140 rows by it
    (Xeon with AMX: 970 to 1,230 GFLOP/s, 1,630 to 1,970 packed).
    """
    if weight.dtype == torch.bfloat16 and goes_to_onednn(weight.dtype, weight.device):
        laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_ROWS)
        return laid_out
    return weight


def side_by_side(values: Tensor) -> Tensor:
    """What `split_linear` multiplies by what `weight_side_by_side` made. (..., in) -> (..., 3 * in) float32."""
    high, low = halves(values.float())
    return torch.cat([high, low, high], dim=-1).float()


def weight_side_by_side(weight: Tensor) -> Tensor:
    """(out, in) float32 -> (out, 3 * in) float32."""
    high, low = halves(weight)
    return torch.cat([high, high, low], dim=-1).float()


def halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values in bfloat16 and, in bfloat16 too, what that rounding took off them."""
    high = values.bfloat16()
    return high, (values - high).bfloat16()


def split_linear(values: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """`linear` by three bfloat16 products whose sums stay float32: side by side, so that they are one.

        v w = [v' (v - v') v'] . [w' w' (w - w')],    x' = x in bfloat16,    less (v - v')(w - w'), under 2^-16 of v w

    values, weight: of the two functions above. Both are float32 tensors of bfloat16 numbers: a bfloat16 product of
    oneDNN's rounds its sums, and one in float32 that may take bfloat16 inside does not. Only AMX does; elsewhere it is
    three times the work in float32, and the same numbers.
    """
    settings: Any = getattr(torch.backends.mkldnn, "matmul", None)  # from torch 2.9 on
    if settings is None or not _onednn_is_there():
        return linear(values, weight, bias, gelu=gelu)
    activation: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, *activation)
    finally:
        settings.fp32_precision = before
    return product


@cache
def split_is_faster() -> bool:
    """Whether `split_linear` takes at most SPLIT_WORTH of float32's time: measured, once a process, where AMX is.

    Without AMX never: on an AMD EPYC with AVX-512 BF16 three bfloat16 products take 1.4 times as long as one in
    float32, and by oneDNN's float32, which keeps the sums, three times.
    """
    if not torch.cpu._is_amx_tile_supported():
        return False
    values, weight = torch.randn(1024, 768), torch.randn(1536, 768)
    wide = weight_side_by_side(weight)
    variants = (lambda: linear(values, weight), lambda: split_linear(side_by_side(values), wide))
    turns = [[_seconds(variant) for variant in variants] for _ in range(4)]
    exact, split = (min(times) for times in zip(*turns[1:]))  # the first compiles
    return bool(split <= SPLIT_WORTH * exact)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


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
