"""How a tensor lies in memory, as all kernels see it: outer x channels x inner elements."""

from __future__ import annotations

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # outer, channels, inner


def dense(x: Tensor) -> Tensor:
    """x itself where it fills its memory, channels last or first, else a copy that does."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x if last or x.is_contiguous() else x.contiguous()


def like(grad: Tensor, x: Tensor) -> Tensor:
    """A gradient in the layout and format of x: itself, or a copy."""
    if grad.stride() == x.stride() and grad.dtype == x.dtype:
        return grad
    return torch.empty_like(x).copy_(grad)


def layout(x: Tensor, axis: int) -> Shape:
    """A dense tensor's memory as outer x channels x inner; inner is 1 where channels are last."""
    channels = x.shape[axis]
    inner = x.stride(axis) if channels > 1 else 1
    return x.numel() // (channels * inner), channels, inner
