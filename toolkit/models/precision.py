"""What a backbone's costly products multiply: the rungs between fast and exact, and which of them a device has."""

from dataclasses import dataclass

import torch

from toolkit.core.errors import InputError, one_of
from toolkit.core.matmul import keep_kernels

TENSOR_CORES_FOR_BFLOAT16 = 8  # CUDA compute capability from which tensor cores multiply it, and TensorFloat-32: Ampere
TENSOR_CORES_FOR_FLOAT16 = 7  # Volta
COSTLY = (
    "what the costly products multiply, and their biases but those of what joins the states; "
    "not where a layer norm follows a convolution, nor in Whisper's first attention"
)


@dataclass(frozen=True)
class Precision:
    """A rung.

    name: as the user writes it, and as a store's settings have it. dtype: of what the costly products multiply. split:
    of each factor what rounding took off it is multiplied, too. tensor_float_32: whether a CUDA device may round what
    float32 products multiply to 10 bits. rounded: what a store says of it; to be changed with what is rounded, so that
    no store holds both.
    """

    name: str
    dtype: torch.dtype
    split: bool = False
    tensor_float_32: bool = True
    rounded: str = ""


FLOAT32 = Precision("float32", torch.float32, tensor_float_32=False)
BFLOAT16 = Precision("bfloat16", torch.bfloat16, rounded=COSTLY)
FLOAT16 = Precision("float16", torch.float16, rounded=COSTLY)
TF32 = Precision("tf32", torch.float32, rounded="what products and convolutions multiply, to 10 bits")
SPLIT_BFLOAT16 = Precision(
    "split-bfloat16",
    torch.bfloat16,
    split=True,
    rounded="what the costly products multiply, to the sum of two bfloat16 numbers; the product of both remainders is "
    "left out; not where a layer norm follows a convolution, nor in Whisper's first attention",
)
PRECISIONS = {one.name: one for one in (BFLOAT16, FLOAT16, TF32, SPLIT_BFLOAT16, FLOAT32)}
# What can be chosen, fastest first; a device of another type is taken for a GPU.
BY_DEVICE = {"cpu": (BFLOAT16, SPLIT_BFLOAT16, FLOAT32), "mps": (FLOAT32,)}
ON_GPU = (BFLOAT16, FLOAT16, TF32, FLOAT32)


def known(dtype: Precision | torch.dtype) -> Precision:
    """The rung; of a torch dtype, the one of its name."""
    return dtype if isinstance(dtype, Precision) else PRECISIONS[str(dtype).removeprefix("torch.")]


def check_name(name: str) -> None:
    """Raises InputError for a dtype that no device has."""
    if name not in ("auto", *PRECISIONS):
        raise InputError(one_of("dtype", name, ["auto", *PRECISIONS]))


def ladder(name: str, device: torch.device) -> tuple[tuple[Precision, ...], str]:
    """The rungs to try, fastest first, and why, as a sentence: one that was chosen, or for "auto" all that the
    hardware multiplies faster than float32, with float32 last.

    Raises InputError for what is unknown, or cannot be computed on the device.
    """
    if name != "float32" and torch.cpu._is_amx_tile_supported():
        keep_kernels()  # of which `rounded_up` leaves few
    there = BY_DEVICE.get(device.type, ON_GPU)
    check_name(name)
    if name not in ("auto", *(one.name for one in there)):
        raise InputError(one_of("dtype", name, ["auto", *(one.name for one in there)], f" on {device.type}"))
    if device.type == "mps":
        return (FLOAT32,), "float32: on mps, which is untested; hold it to the CPU with `toolkit models check`."
    if device.type == "cuda":
        return _on_cuda(name, device)
    if name != "auto":
        return (PRECISIONS[name],), f"{name} as asked for."
    return _on_cpu() if device.type == "cpu" else ((FLOAT32,), f"float32: nothing is known of {device.type}.")


def _on_cuda(name: str, device: torch.device) -> tuple[tuple[Precision, ...], str]:
    major, minor = torch.cuda.get_device_capability(device)
    which = f"the device (compute capability {major}.{minor})"
    if name == TF32.name and major < TENSOR_CORES_FOR_BFLOAT16:
        raise InputError(f"Bad dtype 'tf32': {which} does not multiply it, expected float16 or float32")
    if name != "auto":
        return (PRECISIONS[name],), f"{name} as asked for."
    if major >= TENSOR_CORES_FOR_BFLOAT16:
        return ON_GPU, f"bfloat16: {which} multiplies it natively."
    if major >= TENSOR_CORES_FOR_FLOAT16:
        return (FLOAT16, FLOAT32), f"float16: {which} multiplies it natively, and not bfloat16."
    return (FLOAT32,), f"float32: {which} does not multiply bfloat16."


def _on_cpu() -> tuple[tuple[Precision, ...], str]:
    """AVX-512 BF16 counts: HuBERT-base takes 0.6 of float32's time with it. Three products of it would not: it
    multiplies twice as fast as float32; only AMX is fast enough, see `core.matmul.split_is_faster`.
    """
    amx = torch.cpu._is_amx_tile_supported()
    if not amx and not torch.cpu._is_avx512_bf16_supported():
        return (FLOAT32,), "float32: this CPU does not multiply bfloat16 natively (AMX, AVX-512 BF16)."
    reason = f"bfloat16: this CPU multiplies it natively ({'AMX' if amx else 'AVX-512'})."
    return ((BFLOAT16, SPLIT_BFLOAT16, FLOAT32) if amx else (BFLOAT16, FLOAT32)), reason


def for_training(name: str, device: torch.device) -> tuple[torch.dtype, str]:
    """bfloat16 or float32, and why: "auto" is bfloat16 where the hardware multiplies it."""
    rungs, reason = ladder(name, device)
    if name == "auto" and rungs[0] not in (BFLOAT16, FLOAT32):
        return torch.float32, "float32: the device does not multiply bfloat16."
    return rungs[0].dtype, reason


def nearest(name: str, device: torch.device) -> str:
    """The precision of that name where the device has it, else float32, from which all of them are within a bound."""
    return name if name in [one.name for one in BY_DEVICE.get(device.type, ON_GPU)] else FLOAT32.name
