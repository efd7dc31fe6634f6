"""Which known functions one is like, to a network: by shape under N(0,1), as `surrogate` sees it.

Shift, scale and mirror images do not count, since normalisation and symmetric weights undo them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hybridsearch.explain.curve import Curve
from hybridsearch.genome.function import BASELINES, PAPER_FOUND, Function, resolve
from hybridsearch.surrogate.features import POINTS, Features, describe, measured
from hybridsearch.surrogate.process import both_signs
from hybridsearch.tables.table import Table, load_table, name_of, packaged_tables

SHOWN = 3
SAME = 1e-3  # a distance that is none; half of the one-unit functions are 0.96 apart


@dataclass(frozen=True)
class Like:
    """A function and how far away it is. rank, score: in a table, where it is of one."""

    name: str
    distance: float
    rank: int | None = None
    score: float | None = None


@dataclass(frozen=True)
class Standing:
    """What a recorded table says of a function. rank: from 1, by true score, of `count`; None
    where the table has it not. score: that, on the scale `fitness`. images: how many others have
    its shape but for mirroring and scale. near: the likest of other shapes, mirror images once.
    """

    table: str
    fitness: str
    count: int
    rank: int | None
    score: float | None
    images: int
    near: tuple[Like, ...]


def features(curve: Curve) -> Features:
    """Of one function, at the start of its parameters."""
    seen = curve.at(POINTS)
    return measured(seen.value[None], seen.slope[None])


def distances(one: Features, many: Features) -> NDArray[np.float64]:
    """From one function to M, [M]: root of the squares over even and odd part, each up to its sign,
    in standard deviations of f under N(0,1).
    """
    wide, others = one.wide(), many.wide()
    even, odd = both_signs(wide.even, others.even), both_signs(wide.odd, others.odd)
    result: NDArray[np.float64] = np.sqrt(np.minimum(*even) + np.minimum(*odd))[0]
    return result


@cache
def known() -> tuple[tuple[str, ...], Features]:
    """The baselines and what the paper found, by name, and their features."""
    names = tuple(dict.fromkeys((*BASELINES, *PAPER_FOUND)))
    return names, Features.join([features(Curve.of(resolve(name))) for name in names])


def nearest_known(function: Function) -> tuple[Like, ...]:
    """The likest of the known functions, itself left out."""
    names, theirs = known()
    apart = distances(features(Curve.of(function)), theirs)
    order = np.argsort(apart, kind="stable").tolist()
    able = [k for k in order if resolve(names[k]).key != function.key]
    return tuple(Like(names[k], float(apart[k])) for k in able[:SHOWN])


def standings(function: Function) -> list[Standing]:
    """What the tables that ship say of it."""
    names = sorted(path.stem for path in packaged_tables().glob("*.safetensors"))
    return [standing(function, _shipped(name), name) for name in names]


@cache
def _shipped(name: str) -> Table:
    return load_table(name)


def standing(function: Function, table: Table, name: str) -> Standing:
    """What one table says of a function, trained in it or not."""
    truth = table.truth
    row = table.index.get(function.key)
    genomes = table.genomes
    rows: Sequence[int] = [k for k in genomes if k != row]
    apart = distances(features(Curve.of(function)), describe([genomes[k] for k in rows]))
    near: list[tuple[int, float]] = []
    for k in np.argsort(apart, kind="stable").tolist():
        if apart[k] > SAME and (not near or apart[k] - near[-1][1] > SAME / 10):
            near.append((rows[k], float(apart[k])))
        if len(near) == SHOWN:
            break

    def rank(k: int) -> int:
        return int((truth > truth[k]).sum()) + 1

    def score(k: int) -> float | None:
        return float(truth[k]) if math.isfinite(truth[k]) else None

    return Standing(
        name,
        table.scale.fitness,
        len(table.keys),
        None if row is None else rank(row),
        None if row is None else score(row),
        int((apart <= SAME).sum()),
        tuple(Like(name_of(table.specs[k]), d, rank(k), score(k)) for k, d in near),
    )
