from __future__ import annotations

import numpy as np
import pytest
from ratios import median_interval, paired_ratio, rounds


@pytest.mark.parametrize(
    ("n", "low", "high", "coverage"),
    # Tables of the sign test: 6 is the least n whose range reaches 95%.
    [
        (1, 1, 1, 0),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (10, 2, 9, 0.97852),
        (12, 3, 10, 0.96143),
    ],
)
def test_the_interval_runs_between_order_statistics(n, low, high, coverage):
    found = median_interval(list(range(n, 0, -1)))
    assert (found.low, found.high, found.n) == (low, high, n)
    assert found.coverage == pytest.approx(coverage, abs=1e-4)
    assert found.value == (n + 1) / 2


@pytest.mark.parametrize("n", [6, 12, 25])
def test_the_interval_covers_the_median_of_skewed_values(n):
    draws = np.random.default_rng(0).exponential(size=(2000, n))
    intervals = [median_interval(row.tolist()) for row in draws]
    covered = np.mean([e.low <= np.log(2) <= e.high for e in intervals])
    assert covered == pytest.approx(intervals[0].coverage, abs=0.015)
    assert covered >= 0.94


def test_a_burst_that_slows_whole_rounds_leaves_the_ratio_alone():
    quiet = np.full(8, 0.5)
    burst = np.array([1, 9, 1, 7, 1, 1, 30, 1.0])
    found = paired_ratio((2 * quiet * burst).tolist(), (quiet * burst).tolist())
    assert found.value == found.low == found.high == pytest.approx(2)


def test_a_burst_inside_a_round_spoils_that_round_only():
    found = paired_ratio([2.0] * 9 + [50.0], [1.0] * 10)
    assert found.value == found.high == 2


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_nothing_and_no_number_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        median_interval(values)


def test_pairs_must_match():
    with pytest.raises(ValueError):
        paired_ratio([1.0, 2.0], [1.0])


def test_every_other_round_runs_backwards():
    order = [entry for _, entry in rounds("abc", 4)]
    assert "".join(order) == "abccbaabccba"
