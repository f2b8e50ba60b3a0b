"""A second device, made up: tensors that say they are elsewhere, whose numbers lie in this process's memory.

What runs on a CUDA device runs here unchanged, less its kernels: whoever mixes this device's tensors with the CPU's, or
reads them as numpy does, is refused as CUDA would, and branches for "not a CPU" are taken. Within `elsewhere()`
every operation is looked at; the numbers are the CPU's.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend("elsewhere", _Backend())
ELSEWHERE = torch.device("elsewhere:0")
# Operations since it was last cleared at which CUDA's host waits for all that the device has to do.
WAITS: list[str] = []
CROSSES = {"aten::_to_copy", "aten::copy_"}
SHAPED_BY_NUMBERS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2"}
INDEXED = {"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"}


class Tensor(torch.Tensor):
    """here: the same numbers on the CPU."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "Tensor":
        made: Tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=ELSEWHERE,
        )
        made.here = here
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:  # so that a module on its way here swaps what it holds
        return ["here"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], *unused: Any) -> "Tensor":
        return Tensor(inner["here"])

    def tolist(self) -> Any:
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees what makes tensors from none."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


def _empty(*args: Any, **kwargs: Any) -> Tensor:
    """What torch.tensor asks the device itself for, past every mode."""
    return Tensor(torch.empty_strided(args[0], args[1], dtype=kwargs.get("dtype")))


def _copied(target: Any, source: Any, non_blocking: bool = False) -> Any:
    _note_waiting("aten::copy_", (target, source), {"non_blocking": non_blocking})
    target.here.copy_(getattr(source, "here", source))
    return target


LIBRARY = torch.library.Library("aten", "IMPL")
LIBRARY.impl("empty_strided", _empty, "PrivateUse1")
LIBRARY.impl("copy_", _copied, "PrivateUse1")


def watch() -> None:
    """The calling thread, until it ends, as within `elsewhere()`."""
    _Mode().__enter__()


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The device, where it is one."""
    with _Mode():
        yield ELSEWHERE


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on what is here; its result is elsewhere if its input is, or where that was requested."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
        with _Mode():  # of the operations that it is made of
            return operation.decompose(*args, **kwargs)
    theirs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    target = kwargs.get("device")
    gives = bool(theirs) if target is None else torch.device(target).type == ELSEWHERE.type
    if operation.name() == "aten::copy_":
        gives = isinstance(args[0], Tensor)
    if not theirs and not gives:
        return operation(*args, **kwargs)
    _check_one_device(operation.name(), args, kwargs)
    _note_waiting(operation.name(), args, kwargs)
    call = kwargs if target is None else {**kwargs, "device": torch.device("cpu"), "pin_memory": None}
    result = operation(*pytree.tree_map(_here, args), **pytree.tree_map(_here, call))
    if operation.name() == "aten::_to_copy" and any(result is leaf.here for leaf in theirs):
        result = result.clone()  # a copy, even where both are this memory
    if not gives:
        return result
    for number, argument in enumerate(operation._schema.arguments):
        if isinstance(result, torch.Tensor) and argument.alias_info is not None and argument.alias_info.is_write:
            return args[number] if number < len(args) else kwargs[argument.name]  # in place: what was given
    with torch.inference_mode(theirs[0].is_inference() if operation.is_view else torch.is_inference_mode_enabled()):
        return pytree.tree_map(lambda leaf: Tensor(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)


def _here(leaf: Any) -> Any:
    return leaf.here if isinstance(leaf, Tensor) else leaf


def _note_waiting(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    if name in CROSSES:
        target = kwargs.get("device") or args[0].device
        source = args[1] if name == "aten::copy_" else args[0]
        if target.type == source.device.type or not source.dim() or kwargs.get("non_blocking") or len(args) > 2:
            return
    elif name == "aten::index.Tensor":
        if not any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]):
            return
    elif name not in SHAPED_BY_NUMBERS:
        return
    ours = [frame for frame in traceback.extract_stack() if "/toolkit/" in frame.filename]
    WAITS.append(f"{name} for {ours[-1].line}" if ours else name)


def _check_one_device(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """As CUDA does, which takes the CPU's numbers without dimensions, and its indices into a tensor of its own."""
    if name in CROSSES or (name in INDEXED and isinstance(args[0], Tensor)):
        return
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Tensor) and leaf.dim():
            raise RuntimeError(f"{name}: tensors on two devices, elsewhere and cpu")
