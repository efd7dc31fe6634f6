"""What one function does, in one value: its ends, range, course, symmetry and N(0,1) through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hybridsearch.explain import course
from hybridsearch.explain.course import SEAMS, SEEN, Kink, Look, Stretch, Turn
from hybridsearch.explain.curve import EDGE, POLE, Curve
from hybridsearch.explain.growth import nice
from hybridsearch.explain.tails import Tail, tail
from hybridsearch.genome.primitives import Array

LISTED = 8  # of turning points, zeros and kinks, the nearest to 0; beyond that "and so on"
WIDE = 37.0  # beyond it the density of N(0,1) times a value below 1e10 is nothing
# Ends with turning points beyond those that are listed, or that may have them.
UNENDING = ("oscillates", "swings", "up", "down")

T = TypeVar("T")


@dataclass(frozen=True)
class Bound:
    """One end of the range. value: None where there is none. reached: at some x."""

    value: float | None
    reached: bool
    certain: bool = True


@dataclass(frozen=True)
class Normal:
    """Under N(0,1): E f, E f^2, E f'^2; infinite where they are, nan where there is none."""

    mean: float
    second: float
    gain: float


@dataclass(frozen=True)
class Facts:
    """Of one curve. goes_on: which of turns, stretches, zeros and kinks has more than those listed;
    more: any has. nowhere: it is not defined at any x, so that nothing else is to be said of it.
    """

    left: Tail
    right: Tail
    low: Bound
    high: Bound
    turns: tuple[Turn, ...]
    stretches: tuple[Stretch, ...]
    zeros: tuple[float, ...]
    zero_from: tuple[tuple[float, float], ...]
    kinks: tuple[Kink, ...]
    goes_on: tuple[str, ...]
    more: bool
    at_zero: float
    slope_at_zero: float
    symmetry: str
    smooth: str
    normal: Normal
    nowhere: bool


def facts(curve: Curve) -> Facts:
    """All that is known of a curve without training anything."""
    at = course.look(curve)
    left, right = tail(curve, -1), tail(curve, 1)
    kinks = course.kinks(at)
    stretches, more = course.stretches(at, kinks)
    turns = course.turns(curve, stretches)
    zeros, intervals, many = course.zeros(at, kinks, turns, more)
    endless = {
        "turns": more or len(turns) > LISTED,
        "stretches": more or len(stretches) > LISTED,
        "zeros": many or len(zeros) > LISTED,
        "kinks": len(kinks) > LISTED,
    }
    nowhere = not (at.seen.defined.any() or math.isfinite(curve.value(0.0)))
    low = high = Bound(None, False)
    if not nowhere:
        low, high = _range(at, (left, right), turns, kinks, stretches)
    return Facts(
        left,
        right,
        low,
        high,
        tuple(_middle(turns, [t.x for t in turns])),
        tuple(_middle(stretches, [min(max(0.0, s.low), s.high) for s in stretches])),
        tuple(_middle(zeros, zeros)),
        tuple(intervals),
        tuple(_middle(kinks, [k.x for k in kinks])),
        tuple(name for name, on in endless.items() if on),
        any(endless.values()),
        curve.value(0.0),
        math.nan if any(k.x == 0 for k in kinks) else curve.slope(0.0),
        _symmetry(curve),
        _smooth(at, kinks),
        _normal(at, kinks),
        nowhere,
    )


def _middle(items: Sequence[T], places: Sequence[float]) -> list[T]:
    """Those nearest to 0, in their order."""
    order = sorted(range(len(items)), key=lambda k: abs(places[k]))
    return [items[k] for k in sorted(order[:LISTED])]


def _range(
    at: Look,
    tails: tuple[Tail, Tail],
    turns: Sequence[Turn],
    kinks: Sequence[Kink],
    stretches: Sequence[Stretch],
) -> tuple[Bound, Bound]:
    """Infimum and supremum over where it is defined."""
    curve = at.curve
    reached = [t.value for t in turns]
    reached += [curve.value(k.x) for k in kinks if k.kind == "kink"]
    reached += [k.left for k in kinks if k.kind == "edge"]
    flat = [s for s in stretches if s.does == "is constant"]
    reached += [curve.value(x) for s in flat for x in (s.low, s.high) if math.isfinite(x)]
    if not stretches or len(flat) == len(stretches):
        reached.append(curve.value(0.0))
    open_ends = [v for k in kinks if k.kind in ("jump", "pole") for v in (k.left, k.right)]
    poles = [v for k in kinks if k.kind == "pole" for v in (k.left, k.right)]
    torn = {EDGE, POLE} <= {kind for kind, _ in at.crossings}  # too fine for the grid
    there = [t for t in tails if t.kind != "undefined"]
    bounds = []
    for sign in (-1, 1):
        outer = [t.low if sign < 0 else t.high for t in there]
        if any(sign * v == math.inf for v in outer) or any(sign * v > 1e3 for v in poles):
            bounds.append(Bound(None, False))
            continue
        limits = [t.value for t in there if t.kind == "limit" and t.value is not None]
        swings = [v for v, t in zip(outer, there, strict=True) if t.kind in UNENDING]
        finite = [v for v in reached if math.isfinite(v)]
        every = [sign * v for v in (*finite, *limits, *open_ends, *swings)]
        certain = all(t.kind != "unknown" for t in there) and not torn
        if not certain:
            every.append(float((sign * at.seen.value[at.finite]).max()))
        best = sign * max(every)
        best = _tidy(best, finite)
        bounds.append(Bound(best, any(abs(best - v) <= 1e-12 * abs(v) for v in finite), certain))
    return bounds[0], bounds[1]


def _tidy(value: float, reached: Sequence[float]) -> float:
    """The value of a turning point in place of one that differs by no more than sampling does."""
    close = [v for v in reached if abs(v - value) < 1e-9 * max(1.0, abs(value))]
    if close:
        return min(close, key=lambda v: abs(v - value))
    near = nice(value)
    return value if near is None else near


def _symmetry(curve: Curve) -> str:
    """ "even", "odd", or ""."""
    x: Array = np.concatenate([np.linspace(0.013, 9.7, 301), np.geomspace(10, 300, 20)])
    right, left = curve.at(x), curve.at(-x)
    if (right.defined != left.defined).any():
        return ""
    ok = right.defined & np.isfinite(right.value) & np.isfinite(left.value)
    if not ok.any() or not (right.value[ok] != 0).any():
        return ""
    room = (right.value_error + left.value_error)[ok] + 1e-12 * np.abs(right.value[ok])
    one, two = right.value[ok], left.value[ok]
    if (np.abs(one - two) <= room).all():
        return "even"
    return "odd" if (np.abs(one + two) <= room).all() else ""


def _smooth(at: Look, kinks: Sequence[Kink]) -> str:
    kinds = {k.kind for k in kinks}
    if kinds & {"pole", "jump"}:
        return "not continuous"
    if "kink" in kinds:
        return "continuous, with kinks"
    if "edge" in kinds:
        return "smooth inside, not defined everywhere"
    if at.crossings:
        return "continuously differentiable, but not smooth everywhere by its formula"
    return "smooth: every derivative exists"


def normal(curve: Curve) -> Normal:
    """What becomes of N(0,1)."""
    at = course.look(curve)
    return _normal(at, course.kinks(at))


def _normal(at: Look, breaks: Sequence[Kink]) -> Normal:
    """By Gauss-Legendre between quarters of whole numbers and seams."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    inner = [s for s in at.places if abs(s) < WIDE][:SEAMS]
    steps = np.geomspace(1e-10, 0.5, 25)
    close = [c + sign * steps for c in inner for sign in (-1, 1)]
    quarters = np.arange(-4 * WIDE, 4 * WIDE + 1) / 4
    edges = np.unique(np.concatenate([quarters, np.array(inner), *close]))
    edges = edges[np.abs(edges) <= WIDE]
    half = 0.5 * np.diff(edges)
    x = (edges[:-1] + half)[:, None] + half[:, None] * nodes
    seen = at.curve.at(x.ravel())
    if not seen.defined.all() or any(k.kind == "pole" for k in breaks):
        worst = math.inf if seen.defined.all() else math.nan
        return Normal(math.nan, worst, worst)
    density = (half[:, None] * weights * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)).ravel()
    steep = any(k.kind == "jump" or (k.kind == "kink" and math.isinf(k.left)) for k in breaks)
    sums = []
    for power, of in ((1, seen.value), (2, seen.value), (2, seen.slope)):
        with np.errstate(all="ignore"):
            parts = of**power * density
        parts = np.where(np.isnan(parts) & (np.abs(x.ravel()) > SEEN), 0.0, parts)
        edge = np.abs(x.ravel()) > WIDE - 1
        total = float(np.abs(parts).sum())
        grows = not math.isfinite(total) or float(np.abs(parts[edge]).sum()) > 1e-9 * total
        sums.append(math.inf if grows and total > 0 else float(parts.sum()))
    mean = 0.0 if abs(sums[0]) < 1e-14 else sums[0]
    return Normal(mean, sums[1], math.inf if steep else sums[2])
