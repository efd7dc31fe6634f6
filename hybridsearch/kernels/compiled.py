"""Kernels through torch.compile: on a GPU, Triton kernels made for one function.

Value and gradient are traced to two graphs of elementary operations and compiled apart, each from
(x, betas) alone. So x and the betas are all that is saved for the backward pass, whatever the
compiler would have chosen to save. On a GPU the value becomes one kernel, the gradient in x
another; the sums for the betas take two more, without atomic additions.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridsearch.errors import told
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function
from hybridsearch.kernels.base import FunctionKernel
from hybridsearch.kernels.build import private_folder
from hybridsearch.kernels.memory import Shape, dense, layout, like

Compiled = Callable[..., Any]

# How a sum over a channel is split must not be found by timing: it decides the bits.
_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"deterministic": True}


class CompiledKernel(FunctionKernel):
    """One function through torch.compile, for dense tensors of any device that inductor knows.

    Computes in float32 (float64 for float64), returns the type of x. Compiled at the first
    training step for each shape and format; where that fails, plain PyTorch takes over, and says
    so once. Without gradients (scoring) it is plain PyTorch too: a few passes are not worth it.
    """

    name = "compiled"
    formats = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

    def __init__(self, function: Function, backend: str | Compiled = "inductor") -> None:
        super().__init__(function)
        self.backend = backend
        self.broken = False
        self._made: dict[tuple[Shape, torch.dtype, torch.device], tuple[Compiled, Compiled]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.backend)

    def __call__(self, x: Tensor, betas: Tensor, axis: int) -> Tensor:
        if self.broken or not torch.is_grad_enabled() or x.numel() == 0:
            return self._plain(x, betas, axis)
        x = dense(x)
        try:
            pair = self._pair(x.detach(), betas.detach(), axis)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            self.broken = True
            _say(told(getattr(error, "inner_exception", error)))  # the backend's own words
            return self._plain(x, betas, axis)
        return _Compiled.apply(x, betas, axis, pair)  # type: ignore[no-any-return, no-untyped-call]

    def _plain(self, x: Tensor, betas: Tensor, axis: int) -> Tensor:
        module = Activation(self.function, x.shape[axis], axis)
        return torch.func.functional_call(module, {"betas": betas}, (x,))  # type: ignore[no-any-return]

    def _pair(self, x: Tensor, betas: Tensor, axis: int) -> tuple[Compiled, Compiled]:
        """The compiled value and gradient for tensors like x, both run once."""
        key = layout(x, axis), x.dtype, x.device
        if key not in self._made:
            _prepare()
            shape = key[0]
            module = Activation(self.function, shape[1], 1)

            def value(x: Tensor, betas: Tensor) -> Tensor:
                return torch.func.functional_call(module, {"betas": betas}, (x,))  # type: ignore[no-any-return]

            def gradient(x: Tensor, betas: Tensor, grad: Tensor) -> Any:
                return torch.func.vjp(value, x, betas)[1](grad)

            flat = flattened(x, shape)
            grad = torch.zeros_like(flat)  # not flat itself, which a trace could not tell from x
            # A traced graph has code of its own; torch.compile counts recompilations, and gives
            # up after eight, per piece of code.
            forward = self._compile(value, flat, betas)
            backward = self._compile(gradient, flat, betas, grad)
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                forward(flat, betas)
                backward(flat, betas, grad)
            self._made[key] = forward, backward
        return self._made[key]

    def _compile(self, function: Compiled, *examples: Tensor) -> Compiled:
        # Imported here, since they take seconds and only a GPU's worker needs them.
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.proxy_tensor import make_fx

        with FakeTensorMode() as mode, torch.autocast(examples[0].device.type, enabled=False):
            graph = make_fx(function)(*(mode.from_tensor(e) for e in examples))
        options = None
        if self.backend == "inductor":
            from torch import _inductor

            known = _inductor.list_options()
            options = {name: wanted for name, wanted in _OPTIONS.items() if name in known}
        made: Compiled = torch.compile(
            graph, fullgraph=True, dynamic=False, backend=self.backend, options=options
        )
        return made


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, betas: Tensor, axis: int, pair: tuple[Compiled, Compiled]
    ) -> Tensor:
        ctx.save_for_backward(x, betas)
        ctx.shape, ctx.backward_ = layout(x, axis), pair[1]
        flat = flattened(x, ctx.shape)
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = pair[0](flat, betas.detach())
        return out.as_strided(x.shape, x.stride())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, betas = ctx.saved_tensors
        grad = like(grad, x)
        flat = [flattened(t, ctx.shape) for t in (x, grad)]
        with torch.autocast(x.device.type, enabled=False):
            dx, dbetas = ctx.backward_(flat[0], betas.detach(), flat[1])
        return dx.as_strided(x.shape, x.stride()), dbetas, None, None


def flattened(x: Tensor, shape: Shape) -> Tensor:
    """A dense tensor's memory seen in that shape; without history, which would be guarded on."""
    return x.detach().as_strided(shape, strides(shape))


def strides(shape: Shape) -> Shape:
    """Of a tensor of that shape whose elements lie one after the other."""
    return shape[1] * shape[2], shape[2], 1


def identity(device: str) -> str:
    """What identifies the compiler for a type of device; "" where there is none.

    Belongs into the digest beside torch's version, which brings the rest.
    """
    if device != "cuda":
        return "inductor"
    if importlib.util.find_spec("triton") is None:
        return ""
    return f"triton{importlib.import_module('triton').__version__}"


@cache
def _prepare() -> None:
    """Before inductor is imported: its cache, which is code that will run, into a folder that only
    the user can enter; and no compile processes of its own (there is one kernel at a time).
    """
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(private_folder("inductor"))


@cache
def _say(reason: str) -> None:
    warnings.warn(
        f"a function could not be compiled and runs in plain PyTorch: {reason}", stacklevel=4
    )
