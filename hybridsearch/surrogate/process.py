"""A Gaussian process over what functions do: how good one is likely to be, and how sure that is.

Source: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", algorithm 2.1 and
eq. 5.8 for the marginal likelihood. The covariance of two functions is that of their even parts
times that of their odd parts times that of their sizes. Each part counts up to its sign, as
`features` explains: the covariance of a part is the mean over both signs (the same book, 4.2.3),
so the process knows what mirror images have in common without having seen them.

What earlier tables expect of a function is the mean of the process, each table with a weight of its
own that is normal (the same book, 2.7): the data say how far this task is like those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import minimize

from hybridsearch.surrogate.features import Features

Floats = NDArray[np.float64]
Single = NDArray[np.floating]  # float32 for choosing, float64 for fitting
JITTER = 1e-6
ENOUGH = {"maxiter": 25, "ftol": 1e-4, "gtol": 1e-2}  # a posterior does not feel less
FIT_ROWS = 112  # more do not change four numbers, and cost a second
ASKED = 512  # functions under way that a choice looks at, in some 50 ms; its time grows by the cube
# Of the weights of T tables the sum has this mean and standard deviation: on two tasks as far apart
# as digits and photographs, the rank correlation of what functions are worth is 0.9.
TRUST, DOUBT = 0.7, 0.5


class Hyper(NamedTuple):
    """Logarithms of the covariance's amplitude, its length scales over shapes and over sizes, and
    of the noise variance, where targets have variance 1.
    """

    amplitude: float
    shape: float
    size: float
    noise: float


# Maximum a posteriori rather than likelihood: eight functions say little about four numbers. The
# centres are in units of features (half of the functions of one unit are 0.96 apart in shape and
# 2.5 in size), the spreads in natural logarithms.
PRIOR = Hyper(0.0, math.log(0.38), math.log(1.76), math.log(0.1))
SPREAD = Hyper(1.0, 0.5, 0.5, 0.7)


@dataclass(frozen=True)
class _Distances:
    """Between N and M functions, squared, [N, M]: of even and odd parts as they are and with the
    sign of one turned, and of sizes; and of a function to itself turned, [N] and [M]. doubt: their
    covariance by the weights of tables, which no hyperparameter changes.
    """

    even: tuple[Single, Single]
    odd: tuple[Single, Single]
    size: Single
    own: tuple[tuple[Single, Single], tuple[Single, Single]]  # (even, odd) of either side
    doubt: Single

    @classmethod
    def between(cls, a: Features, b: Features) -> _Distances:
        own = [(4 * _squares(f.even), 4 * _squares(f.odd)) for f in (a, b)]
        size = _squares(a.size)[:, None] + _squares(b.size)[None] - _product(2 * a.size, b.size)
        even, odd = both_signs(a.even, b.even), both_signs(a.odd, b.odd)
        doubt = DOUBT**2 * (_product(a.expected, b.expected) / max(1, a.expected.shape[1]))
        return cls(even, odd, np.maximum(size, 0.0), (own[0], own[1]), doubt)

    def covariance(self, hyper: Hyper) -> Floats:
        """[N, M]."""
        shape, size = 0.5 * math.exp(-2 * hyper.shape), 0.5 * math.exp(-2 * hyper.size)
        scale = [
            1 / np.sqrt((1 + _decay(even, shape)) * (1 + _decay(odd, shape)))
            for even, odd in self.own
        ]
        result = _decay(self.size, size)
        for same, turned in (self.even, self.odd):
            result *= _decay(same, shape) + _decay(turned, shape)
        result *= scale[0][:, None]
        result *= math.exp(hyper.amplitude) * scale[1][None]
        return result.astype(np.float64) + self.doubt


def covariance(a: Features, b: Features, hyper: Hyper) -> Floats:
    """Of the noiseless values of N functions with those of M others, [N, M]."""
    return _Distances.between(a, b).covariance(hyper)


def _squares(values: Single) -> Single:
    result: Single = (values * values).sum(axis=1)
    return result


def _product(a: Single, b: Single) -> Single:
    """a @ b.T, [N, M]. On processors with AVX-512 OpenBLAS can leave the flag of an invalid
    operation behind where all numbers are finite and right, of which NumPy would warn.
    """
    with np.errstate(invalid="ignore"):
        result: Single = a @ b.T
    return result


def both_signs(a: Single, b: Single) -> tuple[Single, Single]:
    """|a - b|^2 and |a + b|^2, [N, M]."""
    total = _squares(a)[:, None] + _squares(b)[None]
    cross = _product(2 * a, b)
    return np.maximum(total - cross, 0.0), np.maximum(total + cross, 0.0)


def _decay(distance: Single, rate: float) -> Single:
    result: Single = np.exp(distance * -rate)
    return result


def fit(
    features: Features, targets: Floats, start: Hyper | None = None, trust: float = TRUST
) -> Hyper:
    """The hyperparameters that are likeliest for these functions, under the prior.

    targets: [N], variance about 1. start: where to begin, default the prior's centre. trust: what
    the weights of `expected` add up to before anything is seen. Of many rows the best and as many
    of the others, evenly spaced, stand for all.
    """
    if not len(targets):
        return start or PRIOR
    targets = targets - _believed(features, trust)
    if len(targets) > FIT_ROWS:
        rows = np.sort(representatives(targets, FIT_ROWS))
        features, targets = features.take(rows), targets[rows]
    wide = features.wide()  # differences of a loss in single precision are noise
    distances = _Distances.between(wide, wide)

    def loss(theta: Floats) -> float:
        hyper = Hyper(*theta)
        away = (theta - np.array(PRIOR)) / np.array(SPREAD)
        try:
            solved = _Solved(distances.covariance(hyper), targets, hyper)
        except LinAlgError:
            return math.inf
        return solved.surprise + 0.5 * float(away @ away)

    bounds = [(c - 4 * s, c + 4 * s) for c, s in zip(PRIOR, SPREAD, strict=True)]
    found = minimize(
        loss, np.array(start or PRIOR), method="L-BFGS-B", bounds=bounds, options=ENOUGH
    )
    return Hyper(*map(float, found.x)) if math.isfinite(found.fun) else start or PRIOR


def representatives(scores: Floats, count: int) -> NDArray[np.intp]:
    """The rows of up to `count` scores [N] that stand for all, best first: the best half, and as
    many of the others, evenly spaced.
    """
    order = np.argsort(-scores, kind="stable")
    half = min(count // 2, len(order))
    others = np.linspace(half, len(order) - 1, min(count - half, len(order) - half))
    return np.concatenate([order[:half], order[others.astype(np.intp)]])


def _believed(features: Features, trust: float) -> Floats:
    """What earlier tables make one believe of functions, [G], before anything is seen."""
    tables = features.expected.shape[1]
    result: Floats = (trust / max(1, tables)) * features.expected.sum(axis=1, dtype=np.float64)
    return result


class _Solved:
    """The factor of a covariance with noise, and the targets through it.

    The mean of the process is its generalised least squares estimate.
    """

    def __init__(self, covariance: Floats, targets: Floats, hyper: Hyper) -> None:
        self.factor: Floats = covariance
        self.residual: Floats = targets
        self.mean = 0.0
        if not len(targets):  # older scipy refuse an empty matrix
            return
        noisy = covariance + (math.exp(hyper.noise) + JITTER) * np.eye(len(targets))
        self.factor = cholesky(noisy, lower=True, check_finite=False)
        both = self.through(np.stack([targets, np.ones(len(targets))], axis=1))
        self.mean = float(both[:, 0] @ both[:, 1] / (both[:, 1] @ both[:, 1]))
        self.residual = both[:, 0] - self.mean * both[:, 1]

    def through(self, right: Floats) -> Floats:
        if not len(right):
            return right
        solved: Floats = solve_triangular(self.factor, right, lower=True, check_finite=False)
        return solved

    @property
    def surprise(self) -> float:
        """Minus the log marginal likelihood, without its constant."""
        logs = np.log(np.diag(self.factor))
        return float(0.5 * self.residual @ self.residual + logs.sum())


class Posterior:
    """The process after it has seen `targets` [N], one noisy value of each function; N may be 0.

    trust: as in `fit`.
    """

    def __init__(
        self, features: Features, targets: Floats, hyper: Hyper, trust: float = TRUST
    ) -> None:
        self.features, self.hyper, self._trust = features, hyper, trust
        own = covariance(features, features, hyper)
        self._solved = _Solved(own, targets - _believed(features, trust), hyper)

    def predict(self, others: Features) -> tuple[Floats, Floats]:
        """Mean and variance of the noiseless value of M others, [M] each."""
        mean, variance, _ = self._predict(others)
        return mean, variance

    def _predict(self, others: Features) -> tuple[Floats, Floats, Floats]:
        cross = covariance(self.features, others, self.hyper)
        white = self._solved.through(cross)
        mean = _believed(others, self._trust) + self._solved.mean + white.T @ self._solved.residual
        wide = others.expected.astype(np.float64)
        doubt = DOUBT**2 * (wide * wide).sum(axis=1) / max(1, wide.shape[1])
        variance = math.exp(self.hyper.amplitude) + doubt - (white * white).sum(axis=0)
        return mean, np.maximum(variance, 1e-9), white

    def choose(
        self, others: Features, n: int, optimism: float, asked: Features | None = None
    ) -> tuple[list[int], Floats]:
        """The rows of n others that promise most, mean plus `optimism` standard deviations, and
        what each of the others promised before the first was chosen.

        The first is the best by that; for the next the variance is that after the first will have
        been seen, while the mean waits, so that a batch does not ask one question twice
        (Desautels, Krause and Burdick 2014, GP-BUCB). asked: functions that will have been seen as
        well, since they are under way; of very many the ASKED that promise most, since what is near
        the others is not chosen anyway.
        """
        mean, variance, white = self._predict(others)
        left = np.ones(len(others), dtype=bool)
        rows: list[int] = []
        first = mean + optimism * np.sqrt(variance)
        if asked is not None and len(asked):
            update = self._seeing(self._promising(asked, optimism), others, white)
            variance = np.maximum(variance - (update * update).sum(axis=0), 1e-9)
            white = np.vstack([white, update])
        for _ in range(min(n, len(others))):
            promise = np.where(left, mean + optimism * np.sqrt(variance), -np.inf)
            row = int(np.argmax(promise))
            rows.append(row)
            left[row] = False
            to_row = covariance(others, others.take([row]), self.hyper)[:, 0]
            shared = to_row - white.T @ white[:, row]
            update = shared / math.sqrt(variance[row] + math.exp(self.hyper.noise))
            variance = np.maximum(variance - update**2, 1e-9)
            white = np.vstack([white, update[None]])
        return rows, first

    def _promising(self, asked: Features, optimism: float) -> Features:
        """The ASKED functions that promise most."""
        if len(asked) <= ASKED:
            return asked
        mean, variance = self.predict(asked)
        best = np.argsort(-(mean + optimism * np.sqrt(variance)), kind="stable")[:ASKED]
        return asked.take(np.sort(best))

    def _seeing(self, asked: Features, others: Features, white: Floats) -> Floats:
        """What P functions take off the standard deviation of M others when they are seen, [P, M]:
        the rows that they add to `white`, those of the functions that were seen.
        """
        before = self._solved.through(covariance(self.features, asked, self.hyper))
        own = covariance(asked, asked, self.hyper) - before.T @ before
        noisy = own + (math.exp(self.hyper.noise) + JITTER) * np.eye(len(asked))
        factor = cholesky(noisy, lower=True, check_finite=False)
        shared = covariance(asked, others, self.hyper) - before.T @ white
        found: Floats = solve_triangular(factor, shared, lower=True, check_finite=False)
        return found
