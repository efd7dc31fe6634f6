"""When two genomes are the same function: the key.

A key is a pure function of the genome, never of what was seen before. It hashes a fingerprint of
the normal form: values on fixed points for fixed assignments of every beta, among them the start
value, rounded to 29 bits. Rounding can separate two equal functions at the edge of a bin (one
repeated training); two functions share a key only if they agree on every point and assignment to
about 1e-9 relative. A spelling that has no slope somewhere (that of sqrt(x^2) at 0 is 0/0) shares
no key with those that have one. `docs/decisions/0002-canonical-key.md` has the argument and the
measurements.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.batch import Behaviour, behaviour
from hybridsearch.genome.primitives import BETA_START, Array
from hybridsearch.genome.units import Tokens, normal_form

# Half of the points lie where a normalised network's inputs do, half out to the tails; irregular,
# so that no symmetry or period hides a difference.
_RNG = np.random.Generator(np.random.PCG64(20171016))  # the paper's date, fixed for ever
FINGERPRINT_POINTS: Array = np.sort(
    np.concatenate([_RNG.uniform(-2.5, 2.5, 36), _RNG.uniform(-8.0, 8.0, 36)])
)
RANGE = 5.0  # of 1e6 values from N(0,1), what BatchNorm hands on, fewer than one lies outside
# Where functions are looked at. What is hashed comes first; at 0 most spellings lose their slope
# that do so at all.
_EXTRA: Array = np.array([-5.0, -4.6, -4.2, -0.5, -0.01, 0.0, 0.01, 0.5, 4.2, 4.6, 5.0])
POINTS: Array = np.concatenate([FINGERPRINT_POINTS, _EXTRA])
_INSIDE = np.flatnonzero(np.abs(POINTS) <= RANGE)
# Rows: assignments of the betas. The first is the start value; in the others every beta has a
# value of its own, so that b1*x+b2 and b2*x+b1 differ. Columns: the most betas of a genome, 3 in
# each of 8 units; the keys of nearly all functions are of the first 8, which stay as they are.
_SPREAD = np.array([0.0, 0.113, -0.071, 0.157, -0.129, 0.049, -0.173, 0.091])
_FURTHER = np.array(
    [0.023, -0.097, 0.139, -0.151, 0.071, -0.043, 0.181, -0.109,
     0.101, -0.029, 0.167, -0.187, 0.059, -0.083, 0.127, -0.013]
)  # fmt: skip
BETAS: Array = np.stack(
    [
        np.full(24, BETA_START),
        0.62 + np.concatenate([_SPREAD, _FURTHER]),
        -0.83 - np.concatenate([_SPREAD, _FURTHER]),
        1.71 + np.concatenate([_SPREAD[::-1], _FURTHER[::-1]]),
    ]
)
DROPPED_BITS = 23  # of the 52 of a double's mantissa: 29 stay, rounding is to 1e-9 relative
_FEW_FINITE = 12  # with fewer finite values than this, the fingerprint alone proves too little


def rounded(values: Array) -> Array:
    """Values with the mantissa rounded to 29 bits (1e-9 relative), one nan, one zero."""
    plain = np.where(np.abs(values) < 1e-250, 0.0, values)  # denormals carry too few bits
    bits = plain.view(np.int64)
    half = np.int64(1 << (DROPPED_BITS - 1))
    result: Array = ((bits + half) & ~np.int64((1 << DROPPED_BITS) - 1)).view(np.float64)
    result[np.isnan(values)] = np.nan
    return result


def keys(genomes: Sequence[Tokens]) -> list[str]:
    """The key of every genome, 32 hex digits."""
    forms = [normal_form(g) for g in genomes]
    seen = behaviour(forms, POINTS, BETAS)
    return keys_of_forms(forms, seen.values, slopeless(seen))


def slopeless(seen: Behaviour) -> NDArray[np.bool_]:
    """Which spellings have, at the start value of every beta, a value all over the range, but not a
    slope: [genomes]. seen: what they do on POINTS and BETAS.
    """
    values, slopes = (np.isfinite(what[:, 0][:, _INSIDE]) for what in seen)
    found: NDArray[np.bool_] = np.all(values, axis=1) & ~np.all(slopes, axis=1)
    return found


def keys_of_forms(forms: Sequence[Tokens], values: Array, lost: NDArray[np.bool_]) -> list[str]:
    """The keys of genomes in normal form.

    values: on POINTS and BETAS, [genomes, betas, points]. lost: [genomes], which are `slopeless`.
    """
    prints = rounded(np.ascontiguousarray(values[..., : len(FINGERPRINT_POINTS)]))
    finite = np.isfinite(prints).sum(axis=(1, 2))
    about = zip(forms, prints, finite.tolist(), lost.tolist(), strict=True)
    result = []
    for form, row, count, mark in about:
        digest = hashlib.blake2b(row, digest_size=16)
        if count < _FEW_FINITE:
            digest.update(" ".join(form).encode())
        if mark:  # preflight rejects it, and must not reject the function's sound spellings with it
            digest.update(b"undefined gradient")
        result.append(sys.intern(digest.hexdigest()))  # many hold it, for long
    return result


def key(tokens: Tokens) -> str:
    """The key of one genome."""
    return keys([tokens])[0]


def value_key(tokens: Tokens) -> str:
    """The key of the sound spellings of what a genome computes; its own unless it is slopeless."""
    form = normal_form(tokens)
    return keys_of_forms([form], behaviour([form], POINTS, BETAS).values, np.zeros(1, np.bool_))[0]
