"""Which modules and functions are activations, told by their names, so that no library is imported.

torch says `nn.LeakyReLU` and `F.leaky_relu_`, transformers `GELUActivation`, timm `QuickGELU`: one
plain name serves for all forms of one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from hybridsearch.errors import UserError, nearest
from hybridsearch.genome.activation import Activation


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def plain(name: str) -> str:
    """LeakyReLU, leaky_relu, leaky_relu_ -> leakyrelu; GELUActivation -> gelu."""
    low = name.lower().replace("_", "")
    return low.removesuffix("activation") or low


# What a network uses between its layers: replaced unless the caller says otherwise.
RECTIFIERS = words(
    "relu relu6 leakyrelu prelu rrelu elu celu selu gelu silu swish mish hardswish hardmish "
    "gelutanh pytorchgelutanh quickgelu newgelu fastgelu clippedgelu accurategelu laplace "
    "relusquared"
)
# What is more often a gate, a bounded output or a positive scale: replaced when named.
GATES = words("sigmoid hardsigmoid logsigmoid tanh hardtanh softplus")
KNOWN = RECTIFIERS | GATES


def name_of(what: nn.Module | Callable[..., Any]) -> str:
    """The plain name of a module or a function."""
    if isinstance(what, Activation):
        return "activation"
    return plain(type(what).__name__ if isinstance(what, nn.Module) else _name(what))


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "")


def title(module: nn.Module) -> str:
    """What a report calls a module."""
    return module.function.name if isinstance(module, Activation) else type(module).__name__


@dataclass(frozen=True)
class Wanted:
    """The activations that shall be replaced: plain names and classes."""

    names: frozenset[str]
    classes: tuple[type[nn.Module], ...]

    def module(self, module: nn.Module) -> bool:
        """Whether a module is one of them. What was swapped before is one."""
        if self.classes and isinstance(module, self.classes):
            return True
        return name_of(module) in self.names and not any(True for _ in module.children())

    def function(self, function: Callable[..., Any]) -> bool:
        return name_of(function) in self.names


def wanted(
    replace: str | type[nn.Module] | Sequence[str | type[nn.Module]] | None,
) -> Wanted:
    """What a caller's list means; None: the rectifiers, and what was swapped before."""
    if replace is None:
        return Wanted(RECTIFIERS | {"activation"}, ())
    if isinstance(replace, str | type):
        replace = [replace]
    names = frozenset(plain(one) for one in replace if isinstance(one, str))
    return Wanted(names, tuple(one for one in replace if not isinstance(one, str)))


def check_found(asked: Wanted, found: Iterable[str]) -> None:
    """Raises: UserError when a name that the caller gave is nowhere in the model."""
    found = set(found)
    for name in sorted(asked.names - found):
        raise UserError(f"expected an activation of this model, got {name!r}{nearest(name, found)}")


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation at all; what it calls inside is its own affair."""
    return isinstance(module, Activation) or (
        name_of(module) in KNOWN and not any(True for _ in module.children())
    )
