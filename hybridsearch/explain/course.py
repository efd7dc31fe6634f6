"""The course of a curve: where it rises and falls, its turning points, zeros and kinks.

Read off a grid that is fine up to |x| = 20 and about every seam, and refined by root finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hybridsearch.explain.curve import EDGE, HALVINGS, POLE, Curve, Points
from hybridsearch.explain.growth import FARTHEST, rounded
from hybridsearch.genome.primitives import Array

SEEN = 20.0  # |x| up to which turning points and zeros are looked for one by one
PER_UNIT = 200
SEAMS = 48  # about which the grid is finer, at most
NARROW = 0.01  # at most so wide is where a power of x up to the eighth is lost beside 1
NEAR = 1e-9  # from a seam at which its two sides are compared
MANY = 2  # changes of a sign beyond SEEN after which there is no end of them


@dataclass(frozen=True)
class Turn:
    """A local extreme. kind: "minimum" or "maximum"."""

    x: float
    value: float
    kind: str


@dataclass(frozen=True)
class Stretch:
    """From low to high (which may be infinite) it "rises", "falls" or "is constant"."""

    low: float
    high: float
    does: str


@dataclass(frozen=True)
class Kink:
    """A place without a derivative. kind: "kink", where left and right are the slopes; "jump",
    "pole" or "edge" (of where it is defined), where they are the values.
    """

    x: float
    kind: str
    left: float
    right: float


@dataclass(frozen=True)
class Look:
    """A curve on a grid without its seams. crossings: kind and place of these; places: places."""

    curve: Curve
    grid: Array
    seen: Points
    crossings: tuple[tuple[str, float], ...]
    places: tuple[float, ...]

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Where there is a finite value."""
        return self.seen.defined & np.isfinite(self.seen.value)

    @property
    def close(self) -> NDArray[np.bool_]:
        """Which points are up to SEEN."""
        return np.abs(self.grid) <= SEEN

    def near(self, x: float) -> float:
        """The seam next to x."""
        return min(self.places, key=lambda s: abs(s - x), default=float(x))


def look(curve: Curve) -> Look:
    """Evaluate a curve where something may happen."""
    inner: Array = np.arange(-SEEN * PER_UNIT, SEEN * PER_UNIT + 1) / PER_UNIT
    outer: Array = np.geomspace(SEEN, FARTHEST, 400)[1:]
    crossings = tuple(curve.crossings(inner))
    places = tuple(sorted({place for _, place in crossings}))
    steps = np.geomspace(1e-10, 0.02, 60)
    close = [place + np.concatenate([-steps, steps]) for place in places[:SEAMS]]
    grid = np.unique(np.concatenate([-outer[::-1], inner, outer, *close]))
    grid = np.setdiff1d(grid, places)
    return Look(curve, grid, curve.at(grid), crossings, places)


def kinks(at: Look) -> list[Kink]:
    """What is at the seams that the curve does not pass smoothly."""
    found = (_kink(at.curve, place, at.crossings) for place in at.places)
    return [kink for kink in found if kink]


def _kink(curve: Curve, place: float, crossings: Sequence[tuple[str, float]]) -> Kink | None:
    """What is at a seam; None where the function passes it smoothly."""
    step = NEAR * max(1.0, abs(place))
    kinds = {kind for kind, at in crossings if at == place}
    if POLE in kinds:  # 1e-7 wide, when eps is what keeps it from 0
        step = 1e-6 * max(abs(place), 1e-12)
    x = place + step * np.array([-1.0, -0.01, 0.01, 1.0])
    seen = curve.at(x)
    if POLE in kinds and (np.isinf(seen.value) & seen.defined).any():
        return Kink(place, "pole", float(seen.value[1]), float(seen.value[2]))
    sides = seen.defined & np.isfinite(seen.value)
    if not (sides[1] and sides[2]):
        if EDGE in kinds and (sides[1] or sides[2]):
            value = _edge_value(curve, place)
            return Kink(place, "edge", value, value)
        return None
    a, b, c, d = seen.value.tolist()
    if POLE in kinds and (abs(b) > 30 * abs(a) or abs(c) > 30 * abs(d)):
        return Kink(place, "pole", b, c)
    if abs(c - b) > 1e-4 * max(1e-3, abs(b), abs(c)) and abs(c - b) > 0.5 * abs(d - a):
        return Kink(place, "jump", b, c)
    wide, apart = (abs(float(seen.slope[j] - seen.slope[i])) for i, j in ((0, 3), (1, 2)))
    before, after = float(seen.slope[1]), float(seen.slope[2])
    errors = float(seen.slope_error[1] + seen.slope_error[2])
    # Of a smooth function the two sides come nearer to each other as the step falls.
    if apart < 0.5 * wide or apart <= 1e-4 * max(1.0, abs(before), abs(after)) or apart <= errors:
        return None
    if apart > 5 * wide:  # upright there
        before, after = math.copysign(math.inf, before), math.copysign(math.inf, after)
    return Kink(place, "kink", before, after)


def _edge_value(curve: Curve, place: float) -> float:
    """The value at an edge, which rounding may have put outside by a float."""
    beside = [np.nextafter(place, sign * math.inf) for sign in (-1, 1)]
    values = curve.at(np.array([place, *beside])).value
    inside = [float(v) for v in values if math.isfinite(v)]
    return rounded(inside[0], 1e-7) if inside else math.nan


def _signs(values: Array, errors: Array, ok: NDArray[np.bool_]) -> Array:
    """-1, 0 or 1 where that is certain; nan elsewhere."""
    sure = ok & np.isfinite(values) & ~(np.abs(values) <= errors) | (ok & (values == 0))
    return np.where(sure, np.sign(values), np.nan)


def _runs(at: Look, sign: Array) -> list[tuple[int, int, int]]:
    """(first, last, sign) of the runs of one certain sign; a run of 0 counts only where a seam
    begins or ends it and it is not NARROW, or all is 0: elsewhere it is what is too small for a
    float, as the slope of |x|-atan(x) right of 0.
    """
    known = np.flatnonzero(np.isfinite(sign))
    if not known.size:
        return []
    edges = np.flatnonzero(np.diff(sign[known])) + 1
    parts = [(int(p[0]), int(p[-1]), int(sign[p[0]])) for p in np.split(known, edges)]

    def beside(first: int, last: int) -> bool:
        gap = 1e-6
        return any(abs(at.grid[first] - s) < gap or abs(at.grid[last] - s) < gap for s in at.places)

    def flat(first: int, last: int) -> bool:
        return at.grid[last] - at.grid[first] > NARROW and beside(first, last)

    kept = [p for p in parts if p[2] or len(parts) == 1 or flat(p[0], p[1])]
    merged: list[tuple[int, int, int]] = []
    for part in kept:
        if merged and merged[-1][2] == part[2]:
            merged[-1] = (merged[-1][0], part[1], part[2])
        else:
            merged.append(part)
    return merged


def _outside(at: Look, sign: Array) -> Array | None:
    """Signs without those beyond SEEN, where these change for ever; else None."""
    changes = sum(
        int((np.diff(s[np.isfinite(s) & (s != 0)]) != 0).sum())
        for s in (sign[at.grid > SEEN], sign[at.grid < -SEEN])
    )
    return np.where(at.close, sign, np.nan) if changes > MANY else None


def stretches(at: Look, breaks: Sequence[Kink]) -> tuple[list[Stretch], bool]:
    """Where it rises and falls, cut at jumps and poles; whether there is more beyond SEEN."""
    sign = _signs(at.seen.slope, at.seen.slope_error, at.finite)
    inside = _outside(at, sign)
    parts = _parts(at.seen.defined)
    more = inside is not None or len(parts) - len(_parts(at.seen.defined & at.close)) > MANY
    sign = sign if inside is None else inside
    found: list[Stretch] = []
    for first, last in _parts(at.seen.defined & at.close) if more else parts:
        low, high = (-SEEN, SEEN) if more else (-math.inf, math.inf)
        if first > 0 and not at.seen.defined[first - 1]:
            low = _edge(at, first, -1)
        if last < len(at.grid) - 1 and not at.seen.defined[last + 1]:
            high = _edge(at, last, 1)
        within = np.full_like(sign, np.nan)
        within[first : last + 1] = sign[first : last + 1]
        found += _stretches(at, _runs(at, within), low, high)
    cuts = [k.x for k in breaks if k.kind in ("jump", "pole")]
    return [piece for one in found for piece in _cut(one, cuts)], more


def _parts(defined: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last point of every stretch of points where the curve is defined."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], defined, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _stretches(
    at: Look, runs: Sequence[tuple[int, int, int]], low: float, high: float
) -> list[Stretch]:
    """Between two ends."""
    words = {1: "rises", -1: "falls", 0: "is constant"}
    ends = [
        _between(at, float(at.grid[one[1]]), float(at.grid[two[0]])) for one, two in pairwise(runs)
    ]
    edges = [low, *ends, high]
    return [
        Stretch(a, b, words[does])
        for (_, _, does), (a, b) in zip(runs, pairwise(edges), strict=False)
    ]


def _cut(one: Stretch, cuts: Sequence[float]) -> list[Stretch]:
    """A stretch in pieces."""
    edges = [one.low, *(c for c in cuts if one.low < c < one.high), one.high]
    return [Stretch(a, b, one.does) for a, b in pairwise(edges)]


def _edge(at: Look, inside: int, step: int) -> float:
    """The end of where it is defined, between a point inside and the next in the direction of step,
    halved down to neighbouring floats.
    """
    within, beyond = float(at.grid[inside]), float(at.grid[inside + step])
    for _ in range(HALVINGS):
        middle = 0.5 * (within + beyond)
        if at.curve.at(np.array([middle])).defined[0]:
            within = middle
        else:
            beyond = middle
    return at.near(within) if abs(at.near(within) - within) < 1e-9 else within


def _between(at: Look, low: float, high: float) -> float:
    """Where the slope changes its sign: at a seam, or where it is 0."""
    inside = [s for s in at.places if low < s < high]
    return inside[0] if inside else _root(at.curve.slope, low, high)


def _root(of: Callable[[float], float], low: float, high: float) -> float:
    a, b = of(low), of(high)
    if not a * b < 0:
        return low if a == 0 else high if b == 0 else 0.5 * (low + high)
    found = float(brentq(of, low, high, xtol=1e-15, rtol=8.9e-16, maxiter=300))
    return 0.0 if abs(found) < 1e-12 else found


def turns(curve: Curve, stretches: Sequence[Stretch]) -> list[Turn]:
    """The local extremes between stretches, flat ones at the side where they begin."""
    found = []
    for one, two in pairwise(stretches):
        kind = {("rises", "falls"): "maximum", ("falls", "rises"): "minimum"}.get(
            (one.does, two.does)
        )
        value = curve.value(one.high)
        if kind and one.high == two.low and math.isfinite(value):
            found.append(Turn(one.high, value, kind))
    return found


def zeros(
    at: Look, breaks: Sequence[Kink], extremes: Sequence[Turn], endless: bool
) -> tuple[list[float], list[tuple[float, float]], bool]:
    """Isolated zeros up to SEEN, intervals of them, and whether there are more beyond. endless:
    whether there is no end of turning points: then zeros without a change of the sign, as those of
    cos(x)-1, go on with these where they are several.
    """
    sign = _signs(at.seen.value, at.seen.value_error, at.finite)
    inside = _outside(at, sign)
    runs = _runs(at, sign if inside is None else inside)
    cuts = [k.x for k in breaks if k.kind in ("jump", "pole")]
    intervals: list[tuple[float, float]] = []
    found: list[float] = []
    for number, (first, last, does) in enumerate(runs):
        if does == 0:
            low = -math.inf if number == 0 else at.near(at.grid[first])
            high = math.inf if number + 1 == len(runs) else at.near(at.grid[last])
            intervals.append((low, high))
        if number and does * runs[number - 1][2] < 0:
            a, b = float(at.grid[runs[number - 1][1]]), float(at.grid[first])
            if not any(a < c < b for c in cuts):
                found.append(_root(at.curve.value, a, b))
    crossed = len(found)
    close = at.finite & (np.abs(at.grid) <= 5)
    size = max(1e-3, float(np.abs(at.seen.value[close]).max(initial=0.0)))
    touching = [t.x for t in extremes if abs(t.value) <= 1e-12 * size]
    touching += [k.x for k in breaks if k.kind == "edge" and k.left == 0]
    for place in [*touching, *(s for s in at.places if at.curve.value(s) == 0 and s not in cuts)]:
        beside = any(low - 1e-9 <= place <= high + 1e-9 for low, high in intervals)
        if not beside and all(abs(place - f) > 1e-9 for f in found):
            found.append(place)
    touched = len(found) - crossed + len(intervals)
    return sorted(found), intervals, inside is not None or (endless and touched > MANY)
