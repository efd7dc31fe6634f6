"""What is known of a function before any training: its key, and why it cannot train, if so.

All of it is read off one batched evaluation, in microseconds per genome. A rejected function costs
a search nothing; the thresholds are loose on purpose, since training itself finds the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.batch import BLOCK, behaviour
from hybridsearch.genome.canonical import BETAS, POINTS, RANGE, keys_of_forms, slopeless
from hybridsearch.genome.primitives import Array
from hybridsearch.genome.units import Tokens, normal_form

EXPLOSIVE = 1e4  # |f| or |f'| above this on the range: one such unit swamps a layer of thousands
FLAT = 1e-6  # deviation from a constant or a line, relative to the function's size, that is nothing
DEAD = 1e-3  # root mean square of f' under N(0,1): through two such layers no gradient is left

REASONS = (
    "undefined value",
    "undefined gradient",
    "explosive growth",
    "constant",
    "affine",
    "dead gradient",
)

_INSIDE = np.flatnonzero(np.abs(POINTS) <= RANGE)
_INSIDE = _INSIDE[np.argsort(POINTS[_INSIDE])]
_X: Array = POINTS[_INSIDE]
# Quadrature under N(0,1) on the points inside: density times the width of a point's cell.
_DENSITY: Array = np.exp(-0.5 * _X**2) * np.gradient(_X)
_DENSITY /= _DENSITY.sum()
_CENTRED: Array = _X - _X.mean()


class Inspection(NamedTuple):
    """A genome's normal form, its key, and the reason of its rejection (None: it may train)."""

    form: Tokens
    key: str
    rejected: str | None


def inspect(genomes: Sequence[Tokens]) -> list[Inspection]:
    """Normal form, key and preflight of every genome, in blocks that stay in the caches."""
    starts = range(0, len(genomes), BLOCK)
    return [row for start in starts for row in _inspect(genomes[start : start + BLOCK])]


def _inspect(genomes: Sequence[Tokens]) -> list[Inspection]:
    forms = [normal_form(g) for g in genomes]
    seen = behaviour(forms, POINTS, BETAS)
    lost = slopeless(seen)
    names = keys_of_forms(forms, seen.values, lost)
    reasons = _reasons(seen.values[..., _INSIDE], seen.slopes[..., _INSIDE], lost)
    return [Inspection(*row) for row in zip(forms, names, reasons, strict=True)]


def _reasons(values: Array, slopes: Array, lost: NDArray[np.bool_]) -> list[str | None]:
    """The first reason that holds, per genome; values and slopes [G, A, P] on the range, lost [G]:
    which are slopeless, as their keys say too.

    Undefined and explosive are judged at the start value of every beta, which is where training
    begins; constant, affine and dead only if so for every assignment on which f is defined, since
    a function can be affine at the start value and useful at others.
    """
    defined = np.all(np.isfinite(values), axis=2)
    with np.errstate(all="ignore"):
        checks = [
            ~defined[:, 0],
            lost,
            np.maximum(np.abs(values[:, 0]), np.abs(slopes[:, 0])).max(axis=1) > EXPLOSIVE,
        ]
        centre = values.mean(axis=2, keepdims=True)
        spread = values - centre
        size = FLAT * np.maximum(np.abs(values).max(axis=2), 1e-3)
        checks.append(((np.abs(spread).max(axis=2) <= size) | ~defined).all(axis=1))
        tilt = (spread @ _CENTRED / (_CENTRED @ _CENTRED))[..., None]
        bend = np.abs(spread - tilt * _CENTRED).max(axis=2)
        checks.append(((bend <= size) | ~defined).all(axis=1))
        checks.append(((np.sqrt(slopes**2 @ _DENSITY) < DEAD) | ~defined).all(axis=1))
    table = np.stack(checks)
    first, failed = np.argmax(table, axis=0).tolist(), np.any(table, axis=0).tolist()
    return [REASONS[i] if bad else None for i, bad in zip(first, failed, strict=True)]
