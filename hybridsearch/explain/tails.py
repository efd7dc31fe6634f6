"""What a function does far out: its limits, asymptotes, growth or oscillation.

Numeric, in float64, on points from 1 to 1e6, as far out as rounding leaves the values certain (see
`curve`). A constant that agrees to nine digits with one that people would write is written so. What
settles too slowly to be told is said not to be known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from hybridsearch.explain.curve import Curve
from hybridsearch.explain.growth import (
    FARTHEST,
    NICE,
    decays,
    exponential,
    growth,
    nice,
    number,
    power,
    rounded,
    settles,
    times,
)
from hybridsearch.genome.primitives import Array

PER_DECADE = 600
SURE = 1e-7  # relative rounding error of a value that still counts
SMALL = 1e-9  # absolute, likewise
TURNS = 4  # changes of the slope's sign in the last decade that make an oscillation
LAWSON = 12  # rounds in which the weights of a fit come near to those of the least maximum (Lawson)
BENT = 0.75  # by so much less is left by what bends than by a constant, or it is chance
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Tail:
    """One end. kind: "limit" (to value), "line" (slope*x + offset), "up", "down" (unbounded),
    "oscillates" (between low and high around slope*x), "swings" (ever wider; at most one of low and
    high is finite), "undefined" or "unknown". low, high: bounds of what is beyond 1 there; infinite
    where there is none.
    says: in words. reach: how far out it was seen. constant: it is its limit all the way.
    """

    kind: str
    says: str
    reach: float
    low: float = -math.inf
    high: float = math.inf
    value: float | None = None
    slope: float | None = None
    offset: float | None = None
    constant: bool = False


def tail(curve: Curve, side: int) -> Tail:
    """The end at side*infinity; side: 1 or -1."""
    with np.errstate(all="ignore"):  # a value may be 0, and its rate of growth then nothing
        return _tail(curve, side)


def _tail(curve: Curve, side: int) -> Tail:
    decades = round(math.log10(FARTHEST))
    count = decades * PER_DECADE
    # Uneven, so that no period hides between the points.
    shift = (np.arange(count) * GOLDEN) % 1.0
    x: Array = side * 10 ** ((np.arange(count) + shift) / PER_DECADE)
    x = np.append(np.sort(np.abs(x)), FARTHEST) * side
    seen = curve.at(x)
    far = seen.defined[-PER_DECADE:]
    if not far.any():
        return Tail("undefined", "not defined there", FARTHEST)
    if not far.all():
        inside = seen.value[seen.defined & np.isfinite(seen.value)]
        low, high = float(inside.min(initial=math.inf)), float(inside.max(initial=-math.inf))
        return Tail("unknown", "defined in parts, ever again", FARTHEST, low, high)
    value, slope = seen.value, side * seen.slope  # along the way outwards
    certain = seen.value_error <= np.maximum(SURE * np.abs(value), SMALL)
    ok = np.isfinite(value) & np.isfinite(slope) & seen.defined & certain
    if ok.any() and not ok[0]:  # seams near 1 do not belong to the end
        first = int(np.argmax(ok))
        x, value, slope, ok = x[first:], value[first:], slope[first:], ok[first:]
        seen = seen.after(first)
    end = len(x) if ok.all() else int(np.argmin(ok))
    distance, reach = np.abs(x[:end]), float(np.abs(x[max(end - 1, 0)]))
    overflow = end < len(x) and bool(np.isinf(value[end])) and not math.isnan(value[end])
    if end < PER_DECADE // 10:
        if overflow:
            word = "up" if value[end] > 0 else "down"
            return _unbounded(word, "faster than any exponential", reach, value[:end])
        return Tail("unknown", f"not known: rounding hides it beyond |x| = {reach:.3g}", reach)
    value, slope = value[:end], slope[:end]
    known = np.abs(slope) > seen.slope_error[:end]
    last = known & (distance > reach / 10)
    tilt = side * _tilt(side, distance, value)
    if _turns(slope[last]) >= TURNS or _turns((slope - tilt)[last]) >= TURNS:
        return _oscillating(side, distance, value, (slope, slope - tilt), reach)
    if _turns(slope[known & (distance > 10)]) >= TURNS - 1:
        return _slowly(value[distance > 10], value, reach)
    if value[-1] == value[np.searchsorted(distance, reach / 10)] and _steady(value[last]):
        return _limit(float(value[-1]), value, reach, bool((value == value[-1]).all()))
    grown = abs(value[-1]) > 1e100 or overflow
    if grown and (fast := exponential(side, distance, value, slope)):
        word = "up" if value[-1] > 0 else "down"
        return _unbounded(word, fast, reach, value)
    return _monotone(side, distance, value, slope, reach)


def _turns(slopes: Array) -> int:
    """How often they change their sign, those that are 0 left out."""
    signs = np.sign(slopes[slopes != 0])
    return int((signs[1:] != signs[:-1]).sum())


def _tilt(side: int, distance: Array, value: Array) -> float:
    """The slope of the line that an end oscillates around, if it does."""
    slope = side * float(np.median((value / distance)[distance > distance[-1] / 3]))
    return next((k for k in NICE if abs(k - slope) < 1e-3), slope)


def _slowly(far: Array, value: Array, reach: float) -> Tail:
    """An end that has turned several times, but ever more slowly."""
    low, high = float(far.min()), float(far.max())
    words = f"turns ever more slowly, between {number(low)} and {number(high)} so far"
    return Tail("oscillates", words, reach, float(value.min()), float(value.max()), slope=0.0)


def _steady(values: Array) -> bool:
    return values.size == 0 or float(np.ptp(values)) <= SMALL * max(1.0, float(abs(values[-1])))


def _limit(value: float, values: Array, reach: float, constant: bool = False) -> Tail:
    near = nice(value)
    exact = value if near is None else near
    low, high = min(exact, float(values.min())), max(exact, float(values.max()))
    return Tail("limit", number(value), reach, low, high, exact, constant=constant)


def _unbounded(word: str, like: str, reach: float, values: Array) -> Tail:
    low, high = -math.inf, math.inf
    if values.size:
        low = low if word == "down" else float(values.min())
        high = high if word == "up" else float(values.max())
    return Tail(word, f"{'+' if word == 'up' else '-'}infinity, {like}", reach, low, high)


def _monotone(side: int, distance: Array, value: Array, slope: Array, reach: float) -> Tail:
    """An end without overflow and oscillation."""
    steps = [int(np.searchsorted(distance, reach * f)) for f in (0.01, 0.1)] + [len(value) - 1]
    settled = settles(distance[steps], value[steps], reach)
    if settled is None and reach < 100:
        settled = decays(distance, value, slope)
    if settled is not None:
        return _limit(settled, value, reach)
    x, v = distance[steps], value[steps]
    p, q = growth(x, v, slope[steps])
    if p < 0 or (p == 0 and q < 0):
        return _limit(0.0, value, reach)
    if math.isnan(p) or (p == 0 and q == 0):
        low, high = float(value.min()), float(value.max())
        return Tail("unknown", f"not known: not settled by |x| = {reach:.3g}", reach, low, high)
    word = "up" if v[-1] > v[-2] else "down"
    if p == 1 and q == 0:
        if (line := _line(side, distance, value, reach)) is not None:
            return line
        rate = side * float(slope[-1])
        like = f"like {times(rate)}x, which it leaves ever further"
        return _unbounded(word, like, reach, value)
    factor = ""
    if q == 0:
        top = float(v[-1] / x[-1] ** p) * (side ** int(p) if p == int(p) else 1)
        factor = times(top)
    log = f"log {'|x|' if side < 0 else 'x'}"
    log = "" if not q else log if q == 1 else f"({log})^{q:g}"
    sign = "-" if q and v[-1] < 0 and not p else ""
    words = " ".join(part for part in (power(p, side) if p else "", log) if part)
    return _unbounded(word, f"like {sign}{factor}{words}", reach, value)


def _line(side: int, distance: Array, value: Array, reach: float) -> Tail | None:
    """The asymptote slope*x + offset; None where the distance to every line grows."""
    a, b = int(np.searchsorted(distance, reach / 10)), len(value) - 1
    slope = side * float((value[b] - value[a]) / (distance[b] - distance[a]))
    near = [k for k in NICE if abs(k - slope) < 1e-5]
    slope = near[0] if near else slope
    rest = value - slope * side * distance
    steps = [int(np.searchsorted(distance, reach * f)) for f in (0.01, 0.1)] + [b]
    noise = float(np.abs(value[steps]).max()) * 1e-13
    offset = settles(distance[steps], rest[steps], reach, noise)
    if offset is None:
        return None
    return _tilted(slope, side, offset, reach, float(value.min()), float(value.max()))


def _oscillating(
    side: int, distance: Array, value: Array, rates: tuple[Array, Array], reach: float
) -> Tail:
    """An end with ever new turning points. rates: the slope, and the slope less that of the line
    that it is about; the one that turns more often tells how often the end does.
    """
    slope = _tilt(side, distance, value)
    if abs(slope) * reach <= np.ptp(value[distance > reach / 10]) / 2:
        slope = 0.0  # lost in the oscillation, or made by the chance of the samples
    rest = value - slope * side * distance
    edges = np.geomspace(max(float(distance[0]), reach / 1e4), reach, 5)
    parts = [(distance >= low) & (distance <= high) for low, high in pairwise(edges)]
    swings = [_swing(distance[p], rest[p], max(_turns(r[p]) for r in rates)) for p in parts]
    wide = [s.half for s in swings]
    moved = [b.centre - a.centre for a, b in pairwise(swings)]
    low, high = float(value.min()), float(value.max())
    bent = any(s.bent for s in swings[-2:])  # a fit leaves some of its noise
    dying = wide[-1] <= SMALL or wide[-1] < 0.5 * wide[-2] < 0.25 * wide[-3]
    gains = [b - a for a, b in pairwise(wide)]
    if not dying and gains[-1] > max(0.5 * gains[-2], (0.1 if bent else 0.02) * wide[-1]):
        return _swinging(distance, value, reach)
    # Of what dies, no more is known of the centre than its waves leave.
    room = (1.0 if dying else 0.2 if bent else 0.02) * wide[-2]
    still = abs(moved[-1]) <= max(room, SMALL * abs(swings[-1].centre))
    if not still and abs(moved[-1]) >= 0.34 * abs(moved[-2]):
        if abs(moved[-1]) < 0.75 * abs(moved[-2]):
            return Tail("unknown", f"not known: not settled by |x| = {reach:.3g}", reach, low, high)
        half = 0.0 if dying or abs(gains[-1]) > 0.2 * wide[-1] else wide[-1]
        return _drifting(slope * side, moved[-1], half, reach, low, high)
    if dying:
        end = rest[distance > reach / 3]
        limit = float(np.median(end))
        if not still:
            limit = swings[-1].centre + moved[-1] ** 2 / (moved[-2] - moved[-1])  # Aitken
        limit = _about(limit, max(float(np.ptp(end)), abs(moved[-1]), SMALL))
        if slope == 0:
            return _limit(limit, value, reach)
        return _tilted(slope, side, limit, reach, low, high)
    last = rest[distance > reach / 10]
    # Samples miss the very top by a little.
    bottom, top = rounded(float(last.min())), rounded(float(last.max()))
    if slope == 0:
        words = f"oscillates between about {number(bottom)} and {number(top)}"
        return Tail("oscillates", words, reach, min(bottom, low), max(top, high), slope=0.0)
    tilt, low, high = _along(slope, side, low, high)
    words = f"{tilt} plus an oscillation between about {number(bottom)} and {number(top)}"
    return Tail("oscillates", words, reach, low, high, None, slope, None)


def _about(limit: float, error: float) -> float:
    """As people write it, with the digits that are known: 0 where that may be it."""
    if abs(limit) <= error:
        return 0.0
    near = rounded(limit, min(error, 1e-3))
    return near if near in NICE else round(limit, -math.ceil(math.log10(error)))


class _Swing(NamedTuple):
    """What an oscillation does within a part of the way, a decade of it if it is seen so far.
    centre: what it goes around at the end; half: how far it goes to either side. bent: the centre
    moves within the part as well.
    """

    centre: float
    half: float
    bent: bool


def _swing(distance: Array, values: Array, turns: int) -> _Swing:
    """Of some values. Their centre is the polynomial in log x that they leave least far, of so low
    a degree that it cannot follow the oscillation; a constant, where that is about as good.
    """
    if values.size == 0:
        return _Swing(0.0, 0.0, False)
    low, high = float(values.min()), float(values.max())
    best = _Swing((low + high) / 2, (high - low) / 2, False)
    degree = min(6, turns // 2, values.size // 20)
    size = max(-low, high)
    if degree == 0 or size == 0:
        return best
    logs = np.log(distance)
    basis = chebyshev.chebvander(2 * (logs - logs[0]) / (logs[-1] - logs[0]) - 1, degree)
    scaled, weights, least = values / size, np.ones_like(values), BENT * best.half
    for _ in range(LAWSON):
        root = np.sqrt(weights)
        fitted = basis @ np.linalg.lstsq(basis * root[:, None], scaled * root, rcond=None)[0]
        rest = np.abs(scaled - fitted)
        half = float(rest.max())
        if half * size < least:
            best, least = _Swing(float(fitted[-1]) * size, half * size, True), half * size
        if half == 0:
            break
        weights = weights * rest
        weights /= weights.max()
    return best


def _drifting(
    tilt: float, moved: float, half: float, reach: float, low: float, high: float
) -> Tail:
    """An end whose centre has no bound, and grows faster than the oscillation around it. tilt: the
    slope outwards; moved: where its centre goes where that is 0. half: of the oscillation, 0 where
    it dies or is not known.
    """
    up = (tilt or moved) > 0
    about = (
        f", oscillating by about {number(rounded(float(f'{half:.2g}'), 0.05 * half))} on the way"
    )
    words = f"{'+' if up else '-'}infinity" + (about if half else "")
    low, high = (low, math.inf) if up else (-math.inf, high)
    return Tail("up" if up else "down", words, reach, low, high)


def _swinging(distance: Array, value: Array, reach: float) -> Tail:
    """An end that oscillates ever wider: with a bound on one side where it keeps its sign."""
    ever = "oscillates ever wider, without bound"
    far = value[distance > reach / 100]
    sign = 1 if (far >= 0).all() else -1 if (far <= 0).all() else 0
    if sign == 0:
        return Tail("swings", ever, reach)
    before = np.abs(value[(distance > reach / 100) & (distance <= reach / 10)])
    last = np.abs(value[distance > reach / 10])
    # Samples miss a zero by a little, and by the more the wider it swings.
    if last.min() > 2 * before.min() and last.min() > 0.01 * last.max():
        words = f"{'+' if sign > 0 else '-'}infinity, oscillating ever wider on the way"
    else:
        words = f"{ever} {'above' if sign > 0 else 'below'}"
    low, high = (float(value.min()), math.inf) if sign > 0 else (-math.inf, float(value.max()))
    return Tail("swings", words, reach, low, high)


def _tilted(slope: float, side: int, offset: float, reach: float, low: float, high: float) -> Tail:
    """An asymptote; low and high: of the values."""
    tilt, low, high = _along(slope, side, low, high)
    shown = "" if offset == 0 else f"{' - ' if offset < 0 else ' + '}{number(abs(offset))}"
    return Tail("line", tilt + shown, reach, low, high, None, slope, offset)


def _along(slope: float, side: int, low: float, high: float) -> tuple[str, float, float]:
    """A line through 0 in words, and the bounds of what goes along it. low, high: of the values."""
    tilt = {1.0: "x", -1.0: "-x"}.get(slope, f"{number(slope)} x")
    return (tilt, low, math.inf) if slope * side > 0 else (tilt, -math.inf, high)
