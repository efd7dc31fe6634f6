"""Kernels in generated C++: one pass over memory forward, one backward, nothing saved but x."""

from __future__ import annotations

import _ctypes
import ctypes
import weakref
from math import gcd
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridsearch.genome.function import Function
from hybridsearch.kernels import build
from hybridsearch.kernels.base import FunctionKernel
from hybridsearch.kernels.memory import dense, layout, like
from hybridsearch.kernels.source import cpp

_FORMATS = {torch.float32: "f32", torch.bfloat16: "bf16"}
_LANES = 16  # floats in the widest register
_BLOCK = 512  # elements over which betas are repeated; fits the first-level cache with its sums


class Layout:
    """How a dense tensor lies in memory: outer x channels x inner elements, one after the other.

    period: elements after which the betas repeat in a block of whole registers. scratch: room for
    the betas of a block and for their partial sums; kernels run one at a time, so it is shared.
    """

    def __init__(self, x: Tensor, axis: int, betas: int) -> None:
        # Without betas no channel differs from another.
        outer, channels, inner = layout(x, axis) if betas else (x.numel(), 1, 1)
        rows = _LANES // gcd(channels, _LANES)
        period = channels * rows * max(1, _BLOCK // (channels * rows))
        self.channels = channels
        self.scratch = torch.empty(max(1, 2 * betas * period))
        self.arguments = (outer, channels, inner, period, self.scratch.data_ptr())


class NativeKernel(FunctionKernel):
    """The compiled form of one function, for float32 and bfloat16 tensors on a CPU.

    Not for several threads of one process at a time: they would share scratch memory.
    Raises: build.NoCompiler where it cannot be compiled.
    """

    name, formats = "native", _FORMATS.keys()

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        library = build.load(cpp(function))
        # ctypes unloads none, and each takes five of the 65,530 maps that Linux gives a process.
        # Every kernel opens its own, which the system counts; who is to call it holds the kernel.
        closing = weakref.finalize(self, _ctypes.dlclose, library._handle)
        closing.atexit = False  # other threads may still compute then
        pointer, index = ctypes.c_void_p, ctypes.c_longlong
        self.forward, self.backward = {}, {}
        for dtype, name in _FORMATS.items():
            forward, backward = library[f"forward_{name}"], library[f"backward_{name}"]
            forward.argtypes = [pointer] * 3 + [index] * 4 + [pointer]
            backward.argtypes = [pointer] * 5 + [index] * 4 + [pointer]
            forward.restype = backward.restype = None
            self.forward[dtype], self.backward[dtype] = forward, backward
        self._layouts: dict[Any, Layout] = {}

    def layout_of(self, x: Tensor, axis: int, betas: int) -> Layout:
        place = (x.shape, x.stride(), axis)
        found = self._layouts.get(place)
        if found is None:
            found = self._layouts[place] = Layout(x, axis, betas)
        return found

    def __call__(self, x: Tensor, betas: Tensor, axis: int) -> Tensor:
        betas = betas.float().contiguous()  # as the code reads them, whatever the network has
        return _Native.apply(x, betas, axis, self)  # type: ignore[no-any-return, no-untyped-call]


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, betas: Tensor, axis: int, kernel: NativeKernel) -> Tensor:
        x = dense(x)
        layout = kernel.layout_of(x, axis, len(betas))
        ctx.kernel, ctx.layout = kernel, layout
        ctx.save_for_backward(x, betas)
        y = torch.empty_like(x)
        kernel.forward[x.dtype](x.data_ptr(), y.data_ptr(), betas.data_ptr(), *layout.arguments)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, betas = ctx.saved_tensors
        g = like(g, x)
        layout, count = ctx.layout, len(betas)
        gx = torch.empty_like(x)
        sums = torch.empty(count, layout.channels, dtype=torch.float64) if count else None
        ctx.kernel.backward[x.dtype](
            *(x.data_ptr(), g.data_ptr(), gx.data_ptr(), betas.data_ptr()),
            sums.data_ptr() if sums is not None else None,
            *layout.arguments,
        )
        return gx, None if sums is None else sums.to(betas.dtype), None, None
