"""How numbers grow or settle, read off a few of them far out; and as people write the result."""

from __future__ import annotations

import math

import numpy as np

from hybridsearch.genome.primitives import Array

FARTHEST = 1e6  # where a function is looked at last
NICE = {
    **{float(k): str(k) for k in range(-4, 5)},
    **{sign * math.pi * f: ("-" if sign < 0 else "") + w for sign in (1, -1) for f, w in (
        (1.0, "pi"), (0.5, "pi/2"), (0.25, "pi/4"), (2.0, "2 pi"))},
    math.pi**2 / 4: "pi^2/4",
    **{sign * v: ("-" if sign < 0 else "") + w for sign in (1, -1) for v, w in (
        (0.5, "1/2"), (0.25, "1/4"), (0.75, "3/4"), (1.5, "3/2"), (math.log(2), "log 2"),
        (math.e, "e"), (1 / math.e, "1/e"))},
}  # fmt: skip


def number(value: float) -> str:
    """As people write it: a known constant, or six digits."""
    near = nice(value)
    return NICE[near] if near is not None else f"{value:.6g}"


def nice(value: float) -> float | None:
    """The constant that people would write instead; None where there is none."""
    for known in NICE:
        if abs(value - known) <= 1e-9 * max(1.0, abs(known)):
            return known
    return None


def rounded(value: float, within: float = 2e-3) -> float:
    """The constant that people would write, where it is so near."""
    return next((k for k in NICE if abs(k - value) <= max(within, 1e-9)), value)


def power(p: float, side: int) -> str:
    base = "x" if side > 0 or p == int(p) else "|x|"
    if p == 0.5:
        return f"sqrt({base})"
    return base if p == 1 else f"{base}^{p:g}"


def times(factor: float) -> str:
    """A factor in front of a power."""
    if abs(factor - 1) < 1e-4:
        return ""
    if abs(factor + 1) < 1e-4:
        return "-"
    rounded = round(factor, 4)
    return f"{number(rounded) if abs(factor - rounded) < 1e-5 else f'{factor:.4g}'} "


def exponential(side: int, distance: Array, value: Array, slope: Array) -> str:
    """How it grows, where it grows as fast as an exponential; else ""."""
    rate = slope / value
    half = int(np.searchsorted(distance, distance[-1] / 2))
    if not rate[half] > 0 or not math.isfinite(rate[-1]):
        return ""
    ratio = rate[-1] / rate[half]
    if ratio > 1.2:
        return "faster than any exponential"
    # x^p exp(kx) has the rate k + p/x: what 1/x brings is taken out.
    k = 2 * rate[-1] - rate[half]
    if ratio < 0.75 or k <= 0:
        return ""
    factor = "" if abs(k - 1) < 0.01 else f"{k:.3g} "
    degree = round(float((rate[-1] - k) * distance[-1]))
    word = f"exp({'-' if side < 0 else ''}{factor}x)"
    word = f"{power(degree, side)} {word}" if degree else word
    return f"like {'-' if value[-1] * side**degree < 0 else ''}{word}"


def settles(x: Array, v: Array, reach: float, noise: float = 0.0) -> float | None:
    """The limit of values at three points, each ten times as far out; None where there is none."""
    first, second = float(v[1] - v[0]), float(v[2] - v[1])
    if abs(second) <= max(1e-13 * max(1.0, float(np.abs(v).max())), noise):
        return rounded(float(v[2]), 10 * noise)
    # A power of x falls by 10^p a decade, and p is 1/2 at least.
    if reach < 100 or abs(second) > 0.34 * abs(first) or first * second < 0:
        return None
    limit = float(v[2] - second**2 / (second - first))  # Aitken
    return rounded(limit, 1e-3 * abs(second) + 1e-9 + 10 * noise)


def decays(distance: Array, value: Array, slope: Array) -> float | None:
    """The limit of what approaches it exponentially; None where it does not."""
    half = int(np.searchsorted(distance, distance[-1] / 2))
    if not 0 < abs(slope[-1]) < abs(slope[half]):
        return None
    rate = math.log(abs(slope[half] / slope[-1])) / float(distance[-1] - distance[half])
    rest = float(slope[-1]) / rate
    return rounded(float(value[-1]) + rest, abs(rest)) if abs(rest) < 1e-3 else None


def growth(x: Array, v: Array, slope: Array) -> tuple[float, float]:
    """p and q of x^p (log x)^q, to halves and to integers; nan where it is neither.

    The local exponent x f'/f is p + q/(log x + c), in which the three places tell all three.
    """
    local = x * slope / v
    logs = np.log(x)
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0, -0.5, -1.0, -2.0):
        rest = local - p
        if abs(rest[-1]) < 1e-3 and abs(rest[-1]) <= abs(rest[0]) + 1e-12:
            return p, 0.0
        with np.errstate(all="ignore"):
            inverse = 1 / rest  # (log x + c)/q, a line in log x with the slope 1/q
        if not np.isfinite(inverse).all():
            continue
        gains = np.diff(inverse) / np.diff(logs)
        if gains[-1] == 0 or abs(gains[0] / gains[-1] - 1) > 0.05:
            continue
        q = 1 / float(gains[-1])
        if abs(q - round(q)) < 0.1 and 1 <= abs(round(q)) <= 3:
            return p, float(round(q))
    return math.nan, math.nan
