"""Values and derivatives of many genomes at once, in NumPy float64.

Both the canonical key and the preflight read these arrays, so a batch is evaluated once for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from hybridsearch.genome.primitives import BINARY, UNARY, Array
from hybridsearch.genome.units import INPUT_X, Tokens, Unit, to_units

T = TypeVar("T")
BLOCK = 256  # genomes per block: large enough to hide Python's overhead, small enough for caches


class Behaviour(NamedTuple):
    """What functions do on fixed points.

    values, slopes: [genomes, betas, points] float64, f(x) and df/dx; non-finite where undefined.
    """

    values: Array
    slopes: Array


def behaviour(genomes: Sequence[Tokens], points: Array, betas: Array) -> Behaviour:
    """Evaluate genomes on `points` [P] for the beta assignments `betas` [A, K].

    The k-th beta of a genome (counted unit by unit: first unary, second unary, binary) takes
    column k modulo K. Overflow and undefined values show as inf and nan, without warnings.
    """
    values = np.empty((len(genomes), len(betas), len(points)))
    slopes = np.empty_like(values)
    by_size: dict[int, list[int]] = {}
    parsed = [to_units(g) for g in genomes]
    for row, units in enumerate(parsed):
        by_size.setdefault(len(units), []).append(row)
    with np.errstate(all="ignore"):
        for rows in by_size.values():
            for start in range(0, len(rows), BLOCK):
                part = rows[start : start + BLOCK]
                values[part], slopes[part] = _block([parsed[r] for r in part], points, betas)
    return Behaviour(values, slopes)


def _block(genomes: list[tuple[Unit, ...]], points: Array, betas: Array) -> Behaviour:
    """Evaluate genomes of one size; outputs of unit k are kept in `outputs[k - 1]`."""
    shape = (len(genomes), len(betas), len(points))
    used = np.zeros(len(genomes), dtype=np.intp)  # betas consumed so far, per genome

    def take_betas(rows: list[int]) -> Array:
        columns = betas[:, used[rows] % betas.shape[1]]  # [A, rows]
        used[rows] += 1
        return columns.T[:, :, None]

    outputs: list[Behaviour] = []
    for k in range(len(genomes[0])):
        sides = []
        for side in range(2):
            value, slope = np.empty(shape), np.empty(shape)
            for (name, source), rows in _groups([g[k].operands[side] for g in genomes]).items():
                op = UNARY[name]
                beta = take_betas(rows) if op.uses_beta else np.ones((1, 1, 1))
                if source == INPUT_X:
                    at, inner = points[None, None, :], None
                else:
                    at, inner = outputs[source - 1].values[rows], outputs[source - 1].slopes[rows]
                value[rows] = op.value(at, beta)
                slope[rows] = op.slope(at, beta) if inner is None else op.slope(at, beta) * inner
                if inner is not None and not op.reads_input:
                    slope[rows] = 0.0  # 0 times an infinite inner slope would be nan
            sides.append(Behaviour(value, slope))
        out = Behaviour(np.empty(shape), np.empty(shape))
        for name, rows in _groups([g[k].binary for g in genomes]).items():
            binary = BINARY[name]
            beta = take_betas(rows) if binary.uses_beta else np.ones((1, 1, 1))
            v1, v2 = sides[0].values[rows], sides[1].values[rows]
            out.values[rows] = binary.value(v1, v2, beta)
            out.slopes[rows] = binary.slope(
                v1, sides[0].slopes[rows], v2, sides[1].slopes[rows], beta
            )
        outputs.append(out)
    return outputs[-1]


def _groups(items: list[T]) -> dict[T, list[int]]:
    """Row numbers by item."""
    groups: dict[T, list[int]] = {}
    for row, item in enumerate(items):
        groups.setdefault(item, []).append(row)
    return groups
