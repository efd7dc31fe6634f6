"""Activation: an nn.Module made from an expression."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybridsearch.errors import UserError
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.torch_ops import BINARY_TORCH, UNARY_TORCH
from hybridsearch.genome.units import Tokens, Unit, normal_form, to_units

# Constants of Ramachandran et al. 2017: LReLU 0.01, ELU 1; PReLU's slope is a trainable parameter.
_NAMED: dict[str, Callable[[Tensor, list[Tensor]], Tensor]] = {
    "LReLU": lambda x, p: F.leaky_relu(x, 0.01),
    "PReLU": lambda x, p: x.relu() - p[0] * torch.relu(-x),
    "ELU": lambda x, p: F.elu(x),
    "SELU": lambda x, p: F.selu(x),
    "GELU": lambda x, p: F.gelu(x),
}

_ONE_CALL = {"LReLU", "ELU", "SELU", "GELU"}

# Functions of these parts alone round nothing, so half precision needs no detour for them.
_EXACT = {"id", "neg", "abs", "relu", "min0", "max", "min"}


def is_exact(function: Function) -> bool:
    """Whether the function only selects among x, -x and 0, as ReLU does."""
    if function.genome is None:
        return False
    units = to_units(normal_form(function.genome.tokens))
    return all({u.binary, u.unary1, u.unary2} <= _EXACT for u in units)


class Kernel(Protocol):
    """Another way to compute a function: same value and gradients up to rounding.

    x: a tensor of one of the `formats`; betas: [number of betas, channels] of any float, in any
    memory, in the order of `evaluate`; axis: x's channel axis. Returns a tensor of x's shape and
    dtype; differentiable in x and betas.
    """

    @property
    def formats(self) -> Collection[torch.dtype]: ...

    def __call__(self, x: Tensor, betas: Tensor, axis: int) -> Tensor: ...


class Activation(nn.Module):
    """An activation function with one set of trainable betas per channel.

    expression: a name ("GELU"), a formula ("x*sigmoid(beta*x)"), a token text, or a Genome.
    channels: size of the input's channel axis; None: one set of betas for an input of any shape.
    axis: that axis, stated rather than guessed: 1 after a convolution, -1 after a dense layer.

    Input and output have one shape and dtype; half-precision inputs are computed in float32.
    Raises: UserError for an unreadable expression, and in `forward` when the input's channel axis
    has another size.
    """

    def __init__(
        self, expression: str | Genome | Function, channels: int | None, axis: int | None = None
    ) -> None:
        super().__init__()
        if channels is not None and axis is None:
            raise UserError(f"expected the axis of the {channels} channels, got none; state it")
        if channels is not None and channels < 1:
            raise UserError(f"channels must be at least 1, got {channels}")
        function = resolve(expression)
        self.function, self.shared = function, channels is None
        channels = channels or 1
        self.channels, self.axis = channels, -1 if axis is None else axis
        self.live: Tokens | None = normal_form(function.genome.tokens) if function.genome else None
        self.units = to_units(self.live) if self.live else ()
        starts = torch.tensor(function.starts).reshape(-1, 1)
        # Without betas it is in no graph, and what waits for gradients (DDP) would wait for ever.
        self.betas = nn.Parameter(starts.repeat(1, channels), requires_grad=bool(function.starts))
        # torch computes the named ones in single precision inside.
        self.exact = is_exact(function) or function.name in _ONE_CALL
        self.kernel: Kernel | None = None  # set by who trains it; None: plain PyTorch

    def forward(self, x: Tensor) -> Tensor:
        if not self.shared and x.shape[self.axis] != self.channels:
            raise UserError(
                f"expected axis {self.axis} of the input to have {self.channels} channels, "
                f"got shape {tuple(x.shape)}"
            )
        if self.kernel is not None and x.dtype in self.kernel.formats:
            betas = self.betas.expand(-1, x.shape[self.axis]) if self.shared else self.betas
            return self.kernel(x, betas, self.axis)
        shape = [1] * x.dim()
        if not self.shared:
            shape[self.axis] = self.channels
        half = x.dtype in (torch.float16, torch.bfloat16) and not self.exact
        wide = x.float() if half else x
        each = [b.reshape(shape) for b in self.betas.to(wide.dtype).unbind()]
        if self.live is None:
            out = _NAMED[self.function.spec](wide, each)
        else:
            out = _value(self.units, wide, each)
        return out.to(x.dtype) if half else out

    def extra_repr(self) -> str:
        if self.shared:
            return f"{self.function.name}, one set of betas"
        return f"{self.function.name}, channels={self.channels}, axis={self.axis}"


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters for an optimiser: weights, which decay, and those that are spared.

    Betas, biases and what norms have (all of one dimension or none) are spared: a decayed beta
    would be drawn to 0, where x*sigmoid(beta*x) is x/2. Frozen parameters are in neither.
    """
    betas = {id(m.betas) for m in network.modules() if isinstance(m, Activation)}
    trained = [p for p in network.parameters() if p.requires_grad]
    spared = {id(p) for p in trained if p.dim() <= 1 or id(p) in betas}
    return [
        {
            "params": [p for p in trained if id(p) not in spared],
            "weight_decay": weight_decay,
        },
        {
            "params": [p for p in trained if id(p) in spared and p.numel()],
            "weight_decay": 0.0,
        },
    ]


def evaluate(tokens: Tokens, x: Tensor, betas: list[Tensor]) -> Tensor:
    """The value of a genome at x; betas (any shapes that broadcast) in the order of `batch`."""
    return _value(to_units(tokens), x, betas)


def _value(units: Sequence[Unit], x: Tensor, betas: list[Tensor]) -> Tensor:
    remaining = iter(betas)
    none = x.new_ones(())
    values = [x]
    for unit in units:
        (name, source), second = unit.operands
        beta = next(remaining) if UNARY[name].uses_beta else none
        sides = [UNARY_TORCH[name](values[source], beta)]
        if second == (name, source) and not UNARY[name].uses_beta:
            if unit.binary in ("max", "min"):  # of one thing with itself, as ReLU is written
                values.append(sides[0])
                continue
            sides.append(sides[0])
        else:
            name, source = second
            beta = next(remaining) if UNARY[name].uses_beta else none
            sides.append(UNARY_TORCH[name](values[source], beta))
        beta = next(remaining) if BINARY[unit.binary].uses_beta else none
        values.append(BINARY_TORCH[unit.binary](sides[0], sides[1], beta))
    return values[-1]
