"""Kernels without a compiler: NumPy and torch operations on chunks that stay in the cache.

Eager PyTorch writes every intermediate of a function to memory and reads it again; here the whole
program runs on one chunk before the next begins, and only x is saved for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridsearch.genome.function import Function
from hybridsearch.kernels.base import FunctionKernel
from hybridsearch.kernels.memory import dense, layout, like
from hybridsearch.kernels.program import Program, programs

CHUNK = 16384  # elements: ten buffers of them fit a second-level cache of 1 MB
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ByTorch:
    """An operation that torch does faster or more exactly than NumPy, or NumPy has not; called with
    `out`.
    """

    function: Callable[..., object]


def _softplus(a: Tensor, out: Tensor) -> None:
    out.copy_(torch.nn.functional.softplus(a, threshold=40.0))


def _sinc_parts(a: Floats) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """min(a^2, 1/4), where that is a^2, and a divisor that is never 0: both sides stay finite."""
    q = a * a
    small = q < 0.25
    return np.minimum(q, np.float32(0.25)), small, a * ~small + small


def _sinc(a: Floats, out: Floats) -> None:
    q, small, away = _sinc_parts(a)
    near = 1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72)))
    np.add(near * small, np.sin(away) / away * ~small, out=out)


def _dsinc(a: Floats, out: Floats) -> None:
    q, small, away = _sinc_parts(a)
    near = a * (-1 / 3 + q * (1 / 30 + q * (-1 / 840 + q * (1 / 45360 - q / 3991680))))
    np.add(near * small, (np.cos(away) - np.sin(away) / away) / away * ~small, out=out)


def _where(chosen: NDArray[np.bool_], g: Floats, out: Floats) -> None:
    """g where it is chosen, else 0, where a product with the mask would make nan of an infinite g.
    As a mask of bits it takes no longer than that product; `np.where` takes ten times as long.
    """
    bits = chosen.view(np.int8)
    np.negative(bits, out=bits)
    np.bitwise_and(g.view(np.int32), bits, out=out.view(np.int32))


def _ifmore(a: Floats, b: Floats, g: Floats, out: Floats) -> None:
    more = np.empty_like(g)
    _where(a > b, g, more)
    np.multiply(g, np.float32(0.5), out=out)
    _where(a == b, out, out)
    np.bitwise_or(out.view(np.int32), more.view(np.int32), out=out.view(np.int32))


OPERATIONS: dict[str, Callable[..., object] | ByTorch] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.absolute,
    "sign": ByTorch(torch.sign),
    "sqrt": np.sqrt,
    "exp": ByTorch(torch.exp),
    "log": np.log,
    "sin": ByTorch(torch.sin),
    "cos": ByTorch(torch.cos),
    "sinh": np.sinh,
    "cosh": ByTorch(torch.cosh),
    "tanh": ByTorch(torch.tanh),
    "asinh": np.arcsinh,
    "atan": ByTorch(torch.atan),
    "sinc": _sinc,
    "dsinc": _dsinc,
    "relu": lambda a, out: np.maximum(a, np.float32(0), out=out),
    "min0": lambda a, out: np.minimum(a, np.float32(0), out=out),
    "sigmoid": ByTorch(torch.sigmoid),
    "softplus": ByTorch(_softplus),
    "erf": ByTorch(torch.erf),
    "ifpos": lambda a, g, out: _where(a > 0, g, out),
    "ifneg": lambda a, g, out: _where(a < 0, g, out),
    "ifmore": _ifmore,
}


class Bound:
    """A tape on the first `length` elements of its buffers: all views are made once, since making
    them takes as long as a short operation.
    """

    def __init__(self, tape: Tape, length: int) -> None:
        def view(buffer: Floats) -> Tensor:
            return torch.from_numpy(buffer)[:length]

        self._inputs = {name: [view(b) for b in many] for name, many in tape.inputs.items()}
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...], Any]] = [
            (op.function, tuple(map(view, args)), view(out))
            if isinstance(op, ByTorch)
            else (op, tuple(a[:length] for a in args), out[:length])
            for op, args, out in tape.steps
        ]
        self._results = [view(r) for r in tape.results]

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """The results on a chunk, float32; overwritten by the next call."""
        for name, values in inputs.items():
            for buffer in self._inputs[name]:
                buffer.copy_(values)
        for function, args, out in self._steps:
            function(*args, out=out)
        return self._results


class Tape:
    """One program with its buffers; as few of them as its intermediates need at a time."""

    def __init__(self, program: Program, size: int) -> None:
        """size: elements of a chunk."""
        last = {a: k for k, i in enumerate(program.instructions) for a in i.args}
        last |= dict.fromkeys(program.results, len(program.instructions))
        self.inputs: dict[str, list[Floats]] = {"x": [], "g": []}
        self.betas: list[tuple[int, Floats]] = []
        self.steps: list[tuple[Callable[..., object] | ByTorch, tuple[Floats, ...], Floats]] = []
        self._bound: dict[int, Bound] = {}
        place: list[Floats] = []
        free: list[Floats] = []
        for k, step in enumerate(program.instructions):
            if step.op == "const":
                place.append(np.full(size, step.constant, np.float32))
                continue
            out = free.pop() if free and step.args else np.empty(size, np.float32)
            place.append(out)
            if step.op == "beta":
                self.betas.append((step.number, out))
            elif step.args:
                self.steps.append((OPERATIONS[step.op], tuple(place[a] for a in step.args), out))
                for a in set(step.args):
                    if last[a] == k and program.instructions[a].args:
                        free.append(place[a])
            else:
                self.inputs[step.op].append(out)
        self.results = [place[r] for r in program.results]

    def spread(self, betas: Floats, repeat: int) -> None:
        """Lay betas [B, channels] along the chunk, each `repeat` times, over and over."""
        for number, wide in self.betas:
            row = np.repeat(betas[number], repeat)
            wide.reshape(-1, len(row))[:] = row

    def on(self, length: int) -> Bound:
        """The tape for chunks of `length` elements: whole ones, and what is left at the end."""
        if length not in self._bound:
            self._bound[length] = Bound(self, length)
        return self._bound[length]


class TapeKernel(FunctionKernel):
    """The chunked form of one function, for float32 and bfloat16 tensors on a CPU."""

    name, formats = "tape", (torch.float32, torch.bfloat16)

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self.forward_program, self.backward_program = programs(function)
        self._tapes: dict[tuple[bool, int], Tape] = {}

    def tape(self, backward: bool, size: int) -> Tape:
        if (backward, size) not in self._tapes:
            program = self.backward_program if backward else self.forward_program
            self._tapes[backward, size] = Tape(program, size)
        return self._tapes[backward, size]

    def __call__(self, x: Tensor, betas: Tensor, axis: int) -> Tensor:
        return _Taped.apply(x, betas.float(), axis, self)  # type: ignore[no-any-return, no-untyped-call]


def _shape(x: Tensor, axis: int, betas: int) -> tuple[int, int, int]:
    """Channels, elements in a row of one channel, and elements of a chunk (whole periods)."""
    _, channels, inner = layout(x, axis) if betas else (x.numel(), 1, 1)
    period = channels * inner
    return channels, inner, period * max(1, CHUNK // period)


def _flat(x: Tensor) -> Tensor:
    """The elements of a dense tensor in the order of memory."""
    return x.as_strided((x.numel(),), (1,))


class _Taped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, betas: Tensor, axis: int, kernel: TapeKernel) -> Tensor:
        x = dense(x)
        ctx.kernel, ctx.axis = kernel, axis
        ctx.save_for_backward(x, betas)
        _, inner, size = _shape(x, axis, len(betas))
        tape, y = kernel.tape(False, size), torch.empty_like(x)
        tape.spread(betas.detach().numpy(), inner)
        source, target = _flat(x), _flat(y)
        with np.errstate(all="ignore"):
            for at in range(0, len(source), size):
                part = source[at : at + size]
                (value,) = tape.on(len(part))(x=part)
                target[at : at + size].copy_(value)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, betas = ctx.saved_tensors
        g = like(g, x)
        channels, inner, size = _shape(x, ctx.axis, len(betas))
        tape, gx = ctx.kernel.tape(True, size), torch.empty_like(x)
        tape.spread(betas.numpy(), inner)
        sums = torch.zeros(len(betas), channels, dtype=torch.float64)
        source, slope, target = _flat(x), _flat(g), _flat(gx)
        with np.errstate(all="ignore"):
            for at in range(0, len(source), size):
                part = source[at : at + size]
                dx, *rest = tape.on(len(part))(x=part, g=slope[at : at + size])
                target[at : at + size].copy_(dx)
                for k, column in enumerate(rest):  # a chunk in single precision, in cascades
                    sums[k] += column.view(-1, channels, inner).sum((0, 2))
        return gx, sums.to(betas.dtype) if len(betas) else None, None, None
