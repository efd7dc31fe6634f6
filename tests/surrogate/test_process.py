"""The Gaussian process: against the textbook's formulas, its symmetry, and that it finds things."""

import numpy as np
import pytest

from hybridsearch.genome.function import resolve
from hybridsearch.genome.units import Space
from hybridsearch.surrogate import process
from hybridsearch.surrogate.features import describe
from hybridsearch.surrogate.process import (
    FIT_ROWS,
    JITTER,
    PRIOR,
    Hyper,
    Posterior,
    _Distances,
    _Solved,
    fit,
)

HYPER = Hyper(0.3, -0.8, 0.4, -1.5)


def functions(n, seed=0):
    """Features of n random one-unit functions."""
    rng = np.random.default_rng(seed)
    return describe([Space().sample(rng) for _ in range(n)])


def covariance(a, b, hyper=HYPER):
    return _Distances.between(a, b).covariance(hyper)


def plainly(a, b, hyper):
    """The covariance of two functions, from its definition: a mean over the signs of parts."""

    def part(one, other):
        def decay(sign):
            gap = one.astype(float) - sign * other.astype(float)
            return np.exp(-gap @ gap / (2 * np.exp(2 * hyper.shape)))

        return decay(1) + decay(-1)

    result = np.exp(hyper.amplitude)
    for one, other in ((a.even[0], b.even[0]), (a.odd[0], b.odd[0])):
        result *= part(one, other) / np.sqrt(part(one, one) * part(other, other))
    gap = (a.size[0] - b.size[0]).astype(float)
    return result * np.exp(-gap @ gap / (2 * np.exp(2 * hyper.size)))


def test_covariance_is_what_it_says():
    seen = functions(12)
    found = covariance(seen, seen)
    ones = [seen.take([row]) for row in range(12)]
    wanted = [[plainly(one, other, HYPER) for other in ones] for one in ones]
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(np.diag(found), np.exp(HYPER.amplitude), rtol=1e-5)


def test_mirror_images_are_one_function_to_it():
    names = ("max(x,0)", "min(x,0)", "softplus(x)", "softplus(x)-x", "sin(x)")
    seen = describe([resolve(name).genome.tokens for name in names])
    found = covariance(seen, seen) / np.exp(HYPER.amplitude)
    assert found[0, 1] == pytest.approx(1, abs=1e-3) == found[2, 3]
    assert found[0, 4] < 0.9 and found[0, 2] < 0.99


def test_posterior_is_the_textbooks():
    """Rasmussen and Williams 2006, eqs. 2.25, 2.26 and 2.41 for the mean, by plain inverses."""
    seen, others = functions(30), functions(20, 1)
    y = np.random.default_rng(2).normal(size=30)
    mean, variance = Posterior(seen, y, HYPER).predict(others)
    noisy = covariance(seen, seen) + (np.exp(HYPER.noise) + JITTER) * np.eye(30)
    inverse = np.linalg.inv(noisy)
    ones, cross = np.ones(30), covariance(seen, others)
    level = (ones @ inverse @ y) / (ones @ inverse @ ones)
    np.testing.assert_allclose(mean, level + cross.T @ inverse @ (y - level), atol=1e-5)
    wanted = np.exp(HYPER.amplitude) - np.einsum("ij,ik,kj->j", cross, inverse, cross)
    np.testing.assert_allclose(variance, np.maximum(wanted, 1e-9), atol=1e-6)
    _, logdet = np.linalg.slogdet(noisy)
    residual = y - level
    surprise = 0.5 * residual @ inverse @ residual + 0.5 * logdet
    assert _Solved(covariance(seen, seen), y, HYPER).surprise == pytest.approx(surprise)


def test_a_batch_is_chosen_as_if_each_had_been_seen():
    """The second and later choices equal those of a process that has seen the earlier ones, with
    any values: variances do not depend on them, and the mean waits.
    """
    seen, others = functions(15), functions(60, 3)
    y = np.random.default_rng(4).normal(size=15)
    rows, first = Posterior(seen, y, HYPER).choose(others, 5, optimism=2.0)
    mean, variance = Posterior(seen, y, HYPER).predict(others)
    np.testing.assert_allclose(first, mean + 2.0 * np.sqrt(variance))
    chosen: list[int] = []
    for row in rows:
        told = type(seen).join([seen, others.take(chosen)])
        values = np.concatenate([y, np.zeros(len(chosen))])
        _, variance = Posterior(told, values, HYPER).predict(others)
        promise = mean + 2.0 * np.sqrt(variance)
        promise[chosen] = -np.inf
        assert promise[row] == pytest.approx(promise.max(), abs=1e-5)
        chosen.append(row)
    assert len(set(rows)) == 5
    assert len(Posterior(seen, y, HYPER).choose(others.take([0, 1]), 5, 2.0)[0]) == 2


def test_what_is_under_way_counts_as_seen_and_nothing_under_way_changes_nothing():
    """The choices equal those of a process that has seen it, with any values."""
    seen, others, asked = functions(15), functions(60, 3), functions(20, 5)
    y = np.random.default_rng(4).normal(size=15)
    model = Posterior(seen, y, HYPER)
    rows, first = model.choose(others, 5, 2.0, asked)
    mean, variance = model.predict(others)
    np.testing.assert_array_equal(first, mean + 2.0 * np.sqrt(variance))
    told = type(seen).join([seen, asked])
    _, variance = Posterior(told, np.concatenate([y, np.zeros(20)]), HYPER).predict(others)
    promise = mean + 2.0 * np.sqrt(variance)
    assert promise[rows[0]] == pytest.approx(promise.max(), abs=1e-5)
    plain = model.choose(others, 5, 2.0)
    assert rows != plain[0]
    assert model.choose(others, 5, 2.0, asked.take([]))[0] == plain[0]
    twins = others.take(plain[0])  # of which nothing is to be learnt any more
    assert not set(model.choose(others, 5, 2.0, twins)[0]) & set(plain[0])
    nothing = Posterior(seen.take([]), y[:0], HYPER)
    assert set(nothing.choose(asked, 3, 2.0, asked.take(range(17)))[0]) == {17, 18, 19}


def test_of_very_many_under_way_those_count_that_promise_most(monkeypatch):
    monkeypatch.setattr(process, "ASKED", 4)
    seen, others, asked = functions(15), functions(60, 3), functions(20, 5)
    model = Posterior(seen, np.random.default_rng(4).normal(size=15), HYPER)
    mean, variance = model.predict(asked)
    best = np.sort(np.argsort(-(mean + 2.0 * np.sqrt(variance)))[:4])
    rows, _ = model.choose(others, 5, 2.0, asked)
    assert rows == model.choose(others, 5, 2.0, asked.take(best))[0]


def drawn(seen, hyper, seed):
    """Values of functions that a process with these hyperparameters gives, noise included."""
    n = len(seen)
    root = np.linalg.cholesky(covariance(seen, seen, hyper) + np.exp(hyper.noise) * np.eye(n))
    return root @ np.random.default_rng(seed).normal(size=n)


def test_fit_finds_what_the_data_say():
    seen = functions(FIT_ROWS)
    quiet = [fit(seen, drawn(seen, Hyper(0, -1.0, 0.5, -4.0), s)).noise for s in range(3)]
    loud = [fit(seen, drawn(seen, Hyper(0, -1.0, 0.5, 0.0), s)).noise for s in range(3)]
    assert max(quiet) < -2 < -1 < min(loud)
    short = [fit(seen, drawn(seen, Hyper(0, -1.6, 0.5, -3.0), s)).shape for s in range(3)]
    long = [fit(seen, drawn(seen, Hyper(0, 0.2, 0.5, -3.0), s)).shape for s in range(3)]
    assert max(short) < min(long) - 0.5


def test_little_data_leave_the_prior():
    seen = functions(2)
    assert np.allclose(fit(seen, np.array([1.0, -1.0])), PRIOR, atol=0.5)


def test_fit_of_many_rows_reads_the_best_and_some_of_the_rest():
    seen = functions(3 * FIT_ROWS)
    y = drawn(seen, HYPER, 0)
    found = fit(seen, y)
    assert found == fit(seen, y)  # the same every time
    assert abs(found.noise - HYPER.noise) < 1.5
