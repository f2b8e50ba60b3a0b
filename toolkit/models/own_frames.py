"""Exact batches of models that take no mask, or forget it: a torch mode that hides what follows a clip's own frames.

Which of a model's operations look across time, and along which axis, is not guessed by sizes, which collide: the model
is watched running two clips of different lengths, and the axis whose size differs is time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

ATTENTION, PAD = F.scaled_dot_product_attention, F.pad
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
CONVOLUTIONS = (torch.conv1d, torch.conv2d)
POOLS = (torch.avg_pool1d, F.max_pool1d, torch.max_pool1d)
NORMS = (F.group_norm, torch.group_norm)
SHAPES = (Tensor.reshape, Tensor.view)
WATCHED = frozenset((ATTENTION, PAD, *SOFTMAX, *CONVOLUTIONS, *POOLS, *NORMS, *SHAPES))

Plan = dict[
    Any, list[int | None]
]  # of each function, call by call, the axis of time; None where it does not look there


class _Watched(TorchFunctionMode):
    """Records what a model calls: the function, and the shape of the states that it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[int, ...]]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        states = _states_of(function, args, kwargs or {})
        if states is not None:
            self.calls.append((function, tuple(states.shape)))
        return function(*args, **(kwargs or {}))


def plan_of(run: Callable[[int], object]) -> Plan:
    """run(0), run(1): the model on two clips of different lengths, each alone.

    Raises RuntimeError where the two calls differ in more than sizes.
    """
    seen = []
    for which in (0, 1):
        with _Watched() as watched:
            run(which)
        seen.append(watched.calls)
    first, second = seen
    if [(function, len(shape)) for function, shape in first] != [(function, len(shape)) for function, shape in second]:
        raise RuntimeError("what the model calls depends on the clip's length")
    plan: Plan = defaultdict(list)
    for (function, one), (_, two) in zip(first, second):
        differ = [axis for axis in range(1, len(one)) if one[axis] != two[axis]]
        if function in SOFTMAX:  # over keys, the last axis; queries differ as well
            differ = differ[-1:] if differ and differ[-1] == len(one) - 1 else []
        plan[function].append(differ[0] if len(differ) == 1 and one[0] == two[0] else None)
    return plan


def _states_of(function: Any, args: Any, kwargs: Any) -> Tensor | None:
    """What a watched call is about (of attention, the keys); None for any other call, such as one about a mask."""
    if function not in WATCHED:
        return None
    if function is ATTENTION:
        keys: Tensor = kwargs["key"] if "key" in kwargs else args[1]
        return keys
    states: Tensor = args[0] if args else kwargs["input"]
    return states if states.is_floating_point() else None


class OwnFrames(TorchFunctionMode):
    """Inside, each clip's own lengths are followed from call to call and, if it mends, nothing after them is seen.

    A convolution over T frames, n of them a clip's own, gives T' and n' by one formula, so lengths are known by padded
    length. What looks across time finds zeros after a clip's own frames, a norm over time takes the own ones in
    float64, and attention finds nothing there.
    """

    def __init__(self, plan: Plan, padded: int, lengths: Tensor, mends: bool) -> None:
        """padded, lengths: of the model's input, in frames or samples; lengths (batch,) int64 on its device."""
        super().__init__()
        self._plan, self._number, self._mends = plan, Counter[Any](), mends
        self._lengths, self._batch = {padded: lengths}, len(lengths)

    def lengths(self, frames: int) -> Tensor | None:
        """Own frames of each clip, (batch,), where the padded batch has `frames` just now; None if not known."""
        return self._lengths.get(frames)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        states = _states_of(function, args, kwargs)
        if states is None:
            return function(*args, **kwargs)
        number = self._number[function]
        self._number[function] += 1
        if function in SHAPES:
            return self._shape(function, args, kwargs)
        planned = self._plan.get(function, [])
        if number >= len(planned) and function is not PAD:
            raise RuntimeError("the model calls something else than when it was watched")
        axis = planned[number] if number < len(planned) else None
        if axis is None or len(states) != self._batch or states.shape[axis] not in self._lengths:
            return function(*args, **kwargs)
        if function is PAD:
            return self._pad(axis, args, kwargs)
        if function in CONVOLUTIONS or function in POOLS:
            return self._slide(function, axis, args, kwargs)
        if not self._mends:
            return function(*args, **kwargs)
        if function is ATTENTION:
            return function(**self._attended(axis, args, kwargs))
        if function in SOFTMAX:
            lowest = torch.finfo(states.dtype).min
            return function(states.masked_fill(~self._valid(states, axis), lowest), *args[1:], **kwargs)
        return self._group_norm(axis, args, kwargs)

    def _valid(self, states: Tensor, axis: int) -> Tensor:
        """True in own frames, in a shape that broadcasts to the states'."""
        size = states.shape[axis]
        valid = torch.arange(size, device=states.device) < self._lengths[size][:, None]
        return valid.view(self._batch, *(size if one == axis else 1 for one in range(1, states.ndim)))

    def _zeroed(self, states: Tensor, axis: int) -> Tensor:
        return torch.where(self._valid(states, axis), states, 0.0) if self._mends else states

    def _follow(self, frames: int, lengths: Tensor) -> None:
        self._lengths[frames] = lengths.clamp(min=0, max=frames)

    def _slide(self, function: Any, axis: int, args: Any, kwargs: Any) -> Tensor:
        """A convolution or a pooling: floor((n + padding - span) / stride) + 1 frames of n."""
        convolves = function in CONVOLUTIONS
        names = (
            ("weight", "bias", "stride", "padding", "dilation") if convolves else ("kernel_size", "stride", "padding")
        )
        states, named = args[0], dict(zip(names, args[1:])) | kwargs
        kernel = named["weight"].shape[axis] if convolves else _at(named["kernel_size"], axis)
        stride = _at(named.get("stride") or (1 if convolves else kernel), axis)
        span = _at(named.get("dilation", 1), axis) * (kernel - 1)
        padding = named.get("padding", 0)
        both = {"same": span, "valid": 0}[padding] if isinstance(padding, str) else 2 * _at(padding, axis)
        lengths = self._lengths[states.shape[axis]]
        output: Tensor = function(self._zeroed(states, axis), *args[1:], **kwargs)
        self._follow(output.shape[axis], torch.div(lengths + both - span - 1, stride, rounding_mode="floor") + 1)
        return output

    def _pad(self, axis: int, args: Any, kwargs: Any) -> Tensor:
        states, pads = args[0], args[1] if len(args) > 1 else kwargs["pad"]
        place = 2 * (states.ndim - 1 - axis)
        if place >= len(pads) or not (pads[place] or pads[place + 1]):
            same: Tensor = PAD(*args, **kwargs)
            return same
        lengths = self._lengths[states.shape[axis]]
        output: Tensor = PAD(self._zeroed(states, axis), *args[1:], **kwargs)
        self._follow(output.shape[axis], lengths + pads[place] + max(0, pads[place + 1]))
        return output

    def _shape(self, function: Any, args: Any, kwargs: Any) -> Tensor:
        """(batch, T) -> (batch, T / k, k) and (batch, T, n) -> (batch, T / k, k n): k frames become one."""
        states, output = args[0], function(*args, **kwargs)
        if states.ndim in (2, 3) and output.ndim == 3 and len(states) == len(output) == self._batch:
            many, rest = divmod(states.shape[1], max(1, output.shape[1]))
            if many > 1 and rest == 0 and states.shape[1] in self._lengths:
                lengths = self._lengths[states.shape[1]]
                self._follow(output.shape[1], torch.div(lengths, many, rounding_mode="floor"))
        result: Tensor = output
        return result

    def _group_norm(self, axis: int, args: Any, kwargs: Any) -> Tensor:
        named = dict(zip(("input", "num_groups", "weight", "bias", "eps"), args)) | kwargs
        states, groups = named["input"], named["num_groups"]
        valid = self._valid(states, axis).expand_as(states).reshape(self._batch, groups, -1)
        flat = states.reshape(self._batch, groups, -1).double()
        count = valid.sum(-1, keepdim=True)
        centred = flat - torch.where(valid, flat, 0.0).sum(-1, keepdim=True) / count
        variance = torch.where(valid, centred.square(), 0.0).sum(-1, keepdim=True) / count
        normed = (centred * torch.rsqrt(variance + named.get("eps", 1e-5))).to(states.dtype).view_as(states)
        shape = (1, states.shape[1], *[1] * (states.ndim - 2))
        weight, bias = named.get("weight"), named.get("bias")
        normed = normed if weight is None else normed * weight.view(shape)
        result: Tensor = normed if bias is None else normed + bias.view(shape)
        return result

    def _attended(self, axis: int, args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments of an attention whose mask leaves out what no clip owns."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        named: dict[str, Any] = dict(zip(names, args)) | kwargs
        if named.get("is_causal"):
            return named  # nothing later is seen
        valid, mask = self._valid(named["key"], axis).view(self._batch, 1, 1, -1), named.get("attn_mask")
        if mask is None:
            named["attn_mask"] = valid
        elif mask.dtype == torch.bool:
            named["attn_mask"] = mask & valid
        else:
            named["attn_mask"] = mask.masked_fill(~valid, -torch.inf)
        return named


def _at(value: Any, axis: int) -> int:
    """Of a number for each axis after batch and channels, or one for all, that of `axis`."""
    return int(value if isinstance(value, int) else value[min(axis - 2, len(value) - 1)])
