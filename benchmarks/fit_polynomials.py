"""The coefficients of hybridsearch/kernels/vecmath.hpp, and the error that each polynomial has.

A near-minimax fit: least squares on Chebyshev nodes, weighted again and again by the error, in the
way of Lawson (1961). The error printed is that of exact arithmetic; single precision adds to it.

    python benchmarks/fit_polynomials.py
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi

import mpmath
import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from reporting import print_table

NODES, ROUNDS = 2000, 60
Real = Callable[[float], float]


def fit(
    f: Real, low: float, high: float, degree: int, weight: Real = lambda z: 1.0
) -> tuple[float, NDArray[np.float64]]:
    """The largest weighted error of p on [low, high], and p's coefficients, lowest power first."""
    at = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    z = (low + high) / 2 + (high - low) / 2 * at
    values, weights = np.array([f(v) for v in z]), np.array([weight(v) for v in z])
    powers = np.vander(at, degree + 1, increasing=True)
    emphasis, best = np.ones(NODES), (np.inf, np.zeros(degree + 1))
    for _ in range(ROUNDS):
        scale = weights * emphasis
        found = np.linalg.lstsq(powers * scale[:, None], values * scale, rcond=None)[0]
        error = np.abs(weights * (powers @ found - values))
        if error.max() < best[0]:
            best = float(error.max()), found
        emphasis *= np.sqrt(error / error.max() + 1e-3)
        emphasis /= emphasis.max()
    total, base = np.zeros(1), np.ones(1)
    for coefficient in best[1]:  # from the nodes' variable to z
        total = polynomial.polyadd(total, coefficient * base)
        base = polynomial.polymul(base, [-(low + high) / (high - low), 2 / (high - low)])
    return best[0], total


def odd_series(function: Callable[..., mpmath.mpf]) -> Real:
    """g with function(x) = x + x z g(z), z = x^2."""
    return lambda z: float((function(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z)


def main() -> None:
    mpmath.mp.dps = 40
    half = log(2) / 2 * 1.01

    def tail(r: float) -> float:
        return float((mpmath.expm1(r) - r) / mpmath.mpf(r) ** 2)

    def small_erf(z: float) -> float:
        return float(mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1)

    fits = {
        "exp(r) = 1 + r + r^2 q(r)": fit(tail, -half, half, 4, lambda r: abs(r)),
        "atanh(s) = s + s z q(z)": fit(odd_series(mpmath.atanh), 1e-7, 0.02944, 2, lambda z: z),
        "sin(r) = r + r z q(z)": fit(
            odd_series(mpmath.sin), 1e-7, (pi / 2 * 1.001) ** 2, 3, lambda z: z
        ),
        "atan(t) = t + t z q(z)": fit(odd_series(mpmath.atan), 1e-7, 1.0, 7, lambda z: z),
        "erf(x) = x + x q(z)": fit(small_erf, 1e-9, 1.0, 5),
        "erf(x) = 1 - exp(-q(x))": fit(
            lambda t: float(-mpmath.log(mpmath.erfc(t))),
            1.0,
            4.0,
            6,
            lambda t: float(mpmath.erfc(t)),
        ),
    }
    rows = [
        [name, f"{error:.1e}", " ".join(f"{c:.9e}" for c in found)]
        for name, (error, found) in fits.items()
    ]
    print_table("Polynomials of vecmath.hpp", ["function", "error", "coefficients"], rows)


if __name__ == "__main__":
    main()
