"""Where a tensor's channels are: told by the layer that made it, and followed from there.

A convolution's channels stand on axis 1, a dense layer's on the last; a permutation moves them, and
timm's LayerNorm2d does so twice. So the axis is followed through every torch call, and not guessed
from the number of axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybridsearch.transplant.names import words

_MARK = "_hybridsearch_channels"
_LAST = words("linear bilinear embedding addmm multi_head_attention_forward")
_PRODUCTS = words("matmul __matmul__ mm bmm")
_FIRST_NORMS = words("batch_norm instance_norm group_norm")
_LAST_NORMS = words("layer_norm rms_norm")
# Calls that move elements and change none of them.
_MOVERS = words(
    "permute transpose view reshape flatten unflatten squeeze unsqueeze movedim moveaxis swapaxes "
    "swapdims t T mT chunk split unbind narrow select __getitem__ repeat expand"
)


@dataclass(frozen=True)
class Channels:
    """The axis (from the front) of a tensor's channels and the module that made them.

    numbers: of the channel that each element belongs to, in the tensor's shape, where they are
    spread over several axes (the heads of an attention); axis is None then.
    """

    axis: int | None
    source: str
    numbers: Tensor | None = None


def channels_of(x: Tensor) -> Channels | None:
    """What is known about a tensor of the trace."""
    return getattr(x, _MARK, None)


def tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments or results, one nesting deep."""
    for value in values if isinstance(values, list | tuple) else [values]:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (inner for inner in value if isinstance(inner, Tensor))


def follow(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: Any,
    source: str,
) -> None:
    """Mark what a torch call gave. source: path of the module that called."""
    name = getattr(function, "__name__", "")
    if name == "__get__":  # x.T and its like; x.shape gives no tensor
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    inputs = list(tensors([*args, *kwargs.values()]))
    if name in _MOVERS:
        marks = _moved(function, args, kwargs)
        for result, mark in zip(tensors(out), marks, strict=False):
            _set(result, mark)
        return
    for result in tensors(out):
        _set(result, _made(name, inputs, result, source))


def _set(x: Tensor, mark: Channels | None) -> None:
    if not isinstance(x, nn.Parameter):
        setattr(x, _MARK, mark)


def _made(name: str, inputs: list[Tensor], out: Tensor, source: str) -> Channels | None:
    if name.startswith("conv") and name.endswith("d"):  # conv2d, conv_transpose1d
        return Channels(out.dim() - int(name[-2]) - 1, source)
    if name in _LAST or (name in _PRODUCTS and isinstance(inputs[-1], nn.Parameter)):
        return Channels(out.dim() - 1, source)
    if name in _FIRST_NORMS:
        return Channels(1, source)
    if name in _PRODUCTS:  # of weights and values, as in attention: the values' channels
        inputs = inputs[::-1]
    kept = _kept(inputs, out, name in ("cat", "concat", "concatenate"))
    if name in _LAST_NORMS:
        at = kept.axis if kept else None
        return Channels(out.dim() - 1 if at is None else at, source)
    return kept


def _kept(inputs: list[Tensor], out: Tensor, joined: bool) -> Channels | None:
    """An elementwise call, a pooling or an upsampling leaves the channels where they are."""
    for x in inputs:
        mark = channels_of(x)
        if mark and mark.axis is None:
            if x.shape == out.shape:
                return mark
        elif mark and mark.axis is not None and x.dim() == out.dim():
            same = x.shape[mark.axis] == out.shape[mark.axis]
            if same or joined:
                return mark
    return None


def _moved(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Channels | None]:
    """Where the channels went, found by moving a tensor of the channels' numbers."""
    x = next((value for value in args if isinstance(value, Tensor)), None)
    mark = channels_of(x) if x is not None else None
    if x is None or mark is None or not x.numel():
        return []
    numbers = mark.numbers
    if numbers is None and mark.axis is not None:
        shape = [1] * x.dim()
        shape[mark.axis] = -1
        numbers = torch.arange(x.shape[mark.axis]).reshape(shape)  # on the CPU, whatever x
        numbers = numbers.expand(x.shape).contiguous()
    try:
        moved = function(*(numbers if value is x else value for value in args), **kwargs)
    except (RuntimeError, TypeError):
        return []
    return [_settled(part, mark.source) for part in tensors(moved)]


def _settled(numbers: Tensor, source: str) -> Channels:
    axis = _axis_of(numbers)
    return Channels(axis, source, numbers if axis is None else None)


def _axis_of(numbers: Tensor) -> int | None:
    """The one axis along which the channels' numbers differ, if each is there once."""
    differ = [
        axis
        for axis in range(numbers.dim())
        if numbers.numel() and bool((numbers != numbers.narrow(axis, 0, 1)).any())
    ]
    if len(differ) != 1:
        return None
    line = numbers.movedim(differ[0], -1).reshape(-1, numbers.shape[differ[0]])[0].tolist()
    return differ[0] if len(set(line)) == len(line) else None
