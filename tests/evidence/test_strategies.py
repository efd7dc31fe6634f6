"""The statistics of comparisons, against scipy, formulas and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hybridsearch.errors import UserError
from hybridsearch.evidence import strategies as evidence
from hybridsearch.evidence.strategies import (
    censored_median,
    holm,
    interquartile_mean,
    interquartile_means,
    mean_difference,
    paired_p,
)

INF = float("inf")


def rng(seed=0):
    return np.random.default_rng(seed)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores):
    found = interquartile_mean([scores], resamples=10, rng=rng())
    assert found.mean == pytest.approx(stats.trim_mean(scores, 0.25), abs=1e-9)
    assert found.low <= found.mean <= found.high


def test_the_interquartile_mean_leaves_out_a_quarter_on_either_side():
    assert interquartile_mean([[0, 1, 2, 3, 4, 5, 6, 1e9]], rng=rng()).mean == 3.5
    assert interquartile_mean([[5, 7, 9]], rng=rng()).mean == 7  # floor(3/4) = 0 are left out


def test_its_interval_is_that_of_scipys_bootstrap():
    scores = rng(1).normal(size=60)
    found = interquartile_mean([scores], resamples=20_000, rng=rng())

    def middle(sample, axis):
        return stats.trim_mean(sample, 0.25, axis=axis)

    kind = {"method": "percentile", "n_resamples": 20_000, "vectorized": True}
    there = stats.bootstrap((scores,), middle, rng=rng(2), **kind).confidence_interval
    assert found.low == pytest.approx(there.low, abs=0.01)
    assert found.high == pytest.approx(there.high, abs=0.01)


def test_runs_are_drawn_within_their_task():
    """Two tasks without noise leave nothing to chance, however far apart they are."""
    found = interquartile_mean([[0.0] * 10, [100.0] * 10], rng=rng())
    assert (found.low, found.mean, found.high) == (50, 50, 50)
    one_task = interquartile_mean([[0.0] * 10 + [100.0] * 10], rng=rng())
    assert one_task.low < 40
    assert one_task.high > 60


def test_a_curve_is_its_points(monkeypatch):
    scores = rng(3).normal(size=(20, 4))
    monkeypatch.setattr(evidence, "BLOCK", 70)  # several blocks
    curve = interquartile_means([scores], resamples=500, rng=rng())
    alone = [interquartile_mean([column], resamples=500, rng=rng()) for column in scores.T]
    assert curve == alone


def test_its_interval_covers():
    draw = rng(4)
    hits = 0
    for _ in range(200):
        found = interquartile_mean([draw.normal(size=40)], resamples=400, rng=draw)
        hits += found.low <= 0 <= found.high
    assert 0.88 < hits / 200 <= 0.99


def test_wilcoxon_is_scipys_and_seeds_without_a_difference_are_left_out():
    a = rng(5).normal(size=30)
    b = a + rng(6).normal(0.3, 1, size=30)
    assert paired_p(a, b) == stats.wilcoxon(a - b).pvalue
    assert paired_p(np.r_[a, 1.0], np.r_[b, 1.0]) == paired_p(a, b)
    assert paired_p([1, 2], [1, 2]) == 1
    # All five differences on one side: 2 of 2^5 sign patterns are as extreme.
    assert paired_p([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == pytest.approx(2 / 32)


def test_pairs_need_equal_seeds():
    with pytest.raises(UserError, match="3 and 2"):
        paired_p([1, 2, 3], [1, 2])
    with pytest.raises(UserError, match="3 and 2"):
        mean_difference([1, 2, 3], [1, 2], rng=rng())


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_a_mean_difference_is_paired():
    a = rng(7).normal(0, 10, size=50)
    b = a - 1 + rng(8).normal(0, 0.1, size=50)
    found = mean_difference(a, b, rng=rng())
    assert found.mean == pytest.approx(np.mean(a - b))
    assert 0.9 < found.low < found.mean < found.high < 1.1
    low, high = stats.t.interval(0.95, 49, np.mean(a - b), stats.sem(a - b))
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_a_median_is_known_unless_over_half_are_censored():
    assert censored_median([1, 2, INF, INF], rng=rng()).mean == 2  # half of them are done at 2
    assert censored_median([1, INF, INF], rng=rng()).mean == INF
    assert censored_median([3, 1, 2], rng=rng()).mean == 2
    assert censored_median([INF], rng=rng()) == evidence.Interval(INF, INF, INF)


@given(st.lists(st.integers(1, 99) | st.just(INF), min_size=1, max_size=25))
def test_the_median_is_that_of_kaplan_and_meier(times):
    """scipy's survival function first reaches a half at it."""
    censored = [t for t in times if math.isinf(t)]
    data = stats.CensoredData([t for t in times if t < INF], right=[100] * len(censored))
    survival = stats.ecdf(data).sf
    done = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    expected = done[0] if len(done) and done[0] < 100 else INF
    assert censored_median(times, resamples=5, rng=rng()).mean == expected


def test_the_interval_of_a_median_may_end_beyond_the_budget():
    found = censored_median([10.0] * 52 + [INF] * 48, rng=rng())
    assert (found.low, found.mean, found.high) == (10, 10, INF)
    known = censored_median(np.arange(1.0, 102), rng=rng())
    assert 38 <= known.low < 51 < known.high <= 63  # binomial: ranks 41 and 61


def test_no_runs_are_an_error():
    for wrong in ([], [float("nan")], [[1.0]]):
        with pytest.raises(UserError):
            censored_median(wrong, rng=rng())
    with pytest.raises(UserError):
        interquartile_mean([], rng=rng())
    with pytest.raises(UserError):
        interquartile_mean([[]], rng=rng())
