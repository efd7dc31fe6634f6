"""One function in float64: value, slope, how far rounding may have moved both, and its seams.

A tail or a turning point is only as good as the digits behind it: cosh(x)-sinh(x) is all rounding
from x = 20 on. So every value carries a bound of its own, propagated through the units to first
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hybridsearch.genome.function import Function
from hybridsearch.genome.primitives import BINARY, EPS, UNARY, Array
from hybridsearch.genome.units import Tokens, normal_form, to_units

ROUNDING = 4 * np.finfo(np.float64).eps  # of one operation, relative: none here is exact to half
HALVINGS = 200  # from any two floats to neighbours, 1 ulp apart, halving the distance or exponent

SWITCH, EDGE, POLE = "switch", "edge", "pole"
# Where the operand of these is 0, the function may have a kink or end.
SEAMS = {"abs": SWITCH, "relu": SWITCH, "min0": SWITCH, "logabs": SWITCH, "sqrt": EDGE}
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017


class Points(NamedTuple):
    """A function at points, all [P]: f, f', bounds of their rounding errors, and whether f is
    defined (no root of a negative number). f may overflow to inf or nan where it is defined.
    """

    value: Array
    slope: Array
    value_error: Array
    slope_error: Array
    defined: NDArray[np.bool_]

    def after(self, first: int) -> Points:
        """Those from a place on."""
        return Points(
            self.value[first:],
            self.slope[first:],
            self.value_error[first:],
            self.slope_error[first:],
            self.defined[first:],
        )


class Seam(NamedTuple):
    """Where the parts of a function meet or it may not be defined: `signal` is 0 there."""

    kind: str
    signal: Array


@dataclass(frozen=True)
class Curve:
    """A function with a value for each of its trainable parameters."""

    function: Function
    parameters: tuple[float, ...]

    @classmethod
    def of(cls, function: Function, parameters: Sequence[float] | None = None) -> Curve:
        return cls(function, tuple(function.starts if parameters is None else parameters))

    @property
    def tokens(self) -> Tokens | None:
        """The normal form; None for a baseline that is no genome."""
        genome = self.function.genome
        return normal_form(genome.tokens) if genome else None

    def at(self, x: Array) -> Points:
        """The function at points [P]."""
        with np.errstate(all="ignore"):
            if self.tokens is None:
                return _named(self.function.spec, np.asarray(x, dtype=np.float64), self.parameters)
            return _walk(self.tokens, np.asarray(x, dtype=np.float64), self.parameters)[0]

    def value(self, x: float) -> float:
        return float(self.at(np.array([x])).value[0])

    def slope(self, x: float) -> float:
        return float(self.at(np.array([x])).slope[0])

    def seams(self, x: Array) -> list[Seam]:
        """The signals of all seams at points [P]."""
        with np.errstate(all="ignore"):
            if self.tokens is None:
                return [Seam(SWITCH, x)] if self.function.spec in IN_PARTS else []
            return _walk(self.tokens, x, self.parameters)[1]

    def crossings(self, grid: Array) -> list[tuple[str, float]]:
        """Kind and place of what changes its sign, or touches 0, between points of a grid."""
        found: list[tuple[str, float]] = []
        for number, seam in enumerate(self.seams(grid)):
            sign = np.sign(seam.signal)
            turns = np.flatnonzero((sign[:-1] != sign[1:]) & np.isfinite(sign[:-1] + sign[1:]))
            low, high, left = grid[turns], grid[turns + 1], sign[turns]
            for _ in range(HALVINGS if len(turns) else 0):
                middle = 0.5 * (low + high)
                same = np.sign(self.seams(middle)[number].signal) == left
                low, high = np.where(same, middle, low), np.where(same, high, middle)
            # What is 0 on one side only begins to be 0 there.
            places = np.where(np.sign(self.seams(low)[number].signal) == 0, low, high)
            size = np.abs(seam.signal)
            least = (size[1:-1] < size[:-2]) & (size[1:-1] < size[2:]) & (sign[:-2] == sign[2:])
            touch = np.flatnonzero(least & (size[1:-1] < 2 * EPS))
            found += [(seam.kind, float(p)) for p in places]
            found += [(SWITCH, float(grid[k + 1])) for k in touch]
        return sorted(set(found), key=lambda item: item[1])


def _walk(tokens: Tokens, x: Array, parameters: Sequence[float]) -> tuple[Points, list[Seam]]:
    """A genome at points, unit by unit, betas in the order of `batch`."""
    betas = iter(parameters)
    seams: list[Seam] = []
    zero, one = np.zeros_like(x), np.ones_like(x)
    outputs = [Points(x, one, zero, zero, np.ones(x.shape, dtype=np.bool_))]
    for unit in to_units(tokens):
        sides = []
        for name, source in unit.operands:
            beta = np.array(next(betas)) if UNARY[name].uses_beta else np.array(1.0)
            inner = outputs[source]
            if name in SEAMS:
                seams.append(Seam(SEAMS[name], inner.value))
            sides.append(_unary(name, inner, beta))
        beta = np.array(next(betas)) if BINARY[unit.binary].uses_beta else np.array(1.0)
        if unit.binary in ("max", "min", "laplace"):
            seams.append(Seam(SWITCH, sides[0].value - sides[1].value))
        if unit.binary == "div":
            seams.append(Seam(POLE, sides[1].value + EPS))
        outputs.append(_binary(unit.binary, sides[0], sides[1], beta))
    return outputs[-1], seams


def _unary(name: str, v: Points, beta: Array) -> Points:
    op = UNARY[name]
    if not op.reads_input:
        flat = np.zeros_like(v.value)
        return Points(op.value(v.value, beta), flat, flat, flat, np.ones_like(v.defined))
    value, rate = op.value(v.value, beta), op.slope(v.value, beta)
    slope = rate * v.slope
    moved = v.value + v.value_error
    value_error = np.abs(op.value(moved, beta) - value) + ROUNDING * np.abs(value)
    bent = np.abs(op.slope(moved, beta) - rate) * np.abs(v.slope)
    slope_error = np.abs(rate) * v.slope_error + bent + ROUNDING * np.abs(slope)
    exact = name in ("id", "neg", "abs", "relu", "min0")
    if exact:
        value_error, slope_error = v.value_error, np.abs(rate) * v.slope_error
    defined = v.defined & (v.value >= 0) if name == "sqrt" else v.defined
    return Points(value, slope, value_error, slope_error, defined)


def _binary(name: str, a: Points, b: Points, beta: Array) -> Points:
    op = BINARY[name]
    zero, one = np.zeros_like(a.value), np.ones_like(a.value)
    value = op.value(a.value, b.value, beta)
    slope = op.slope(a.value, a.slope, b.value, b.slope, beta)
    rates = [op.slope(a.value, one, b.value, zero, beta)]
    rates += [op.slope(a.value, zero, b.value, one, beta)]
    va, vb = a.value + a.value_error, b.value + b.value_error
    moved = [op.slope(va, one, vb, zero, beta), op.slope(va, zero, vb, one, beta)]
    value_error, slope_error = zero, zero
    for rate, other, side in zip(rates, moved, (a, b), strict=True):
        value_error = value_error + np.abs(rate) * side.value_error
        bent = np.abs(other - rate) * np.abs(side.slope)
        rounded = ROUNDING * np.abs(rate * side.slope)
        slope_error = slope_error + np.abs(rate) * side.slope_error + bent + rounded
    if name not in ("max", "min"):
        value_error = value_error + ROUNDING * np.abs(value)
    return Points(value, slope, value_error, slope_error, a.defined & b.defined)


# The baselines that are no genomes -----------------------------------------------------------

# Two parts meet at 0: the slope jumps there, ELU's second derivative does.
IN_PARTS = ("LReLU", "PReLU", "ELU", "SELU")
_NAMED: dict[str, Callable[[Array, Sequence[float]], tuple[Array, Array]]] = {
    "LReLU": lambda x, p: (np.where(x > 0, x, 0.01 * x), np.where(x > 0, 1.0, 0.01)),
    "PReLU": lambda x, p: (np.where(x > 0, x, p[0] * x), np.where(x > 0, 1.0, p[0])),
    "ELU": lambda x, p: (
        np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    ),
    "SELU": lambda x, p: (
        SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    "GELU": lambda x, p: (
        x * special.ndtr(x),
        special.ndtr(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi),
    ),
}


def _named(name: str, x: Array, parameters: Sequence[float]) -> Points:
    """The same of a baseline by name; tests hold it against the torch side."""
    value, slope = _NAMED[name](x, parameters)
    errors = ROUNDING * np.abs(value), ROUNDING * np.abs(slope)
    return Points(value, slope, *errors, np.ones(x.shape, dtype=np.bool_))
