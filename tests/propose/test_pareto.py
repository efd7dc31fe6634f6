"""The Pareto front against its definition."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hybridsearch.propose.pareto import pareto_front

small = st.integers(0, 5).map(float)


def dominates(a, b) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(st.lists(st.tuples(small, small), max_size=30))
def test_it_is_who_nobody_dominates(points):
    front = pareto_front(points)
    assert sorted(front) == [
        k for k, p in enumerate(points) if not any(dominates(q, p) for q in points)
    ]
    costs = [points[k][1] for k in front]
    assert costs == sorted(costs)


def test_points_without_a_usable_number_are_left_out():
    points = [(0.9, None), (math.nan, 1e-9), (0.5, math.nan), (math.inf, 0.0), (0.4, 2e-9)]
    assert pareto_front(points) == [4]
    assert pareto_front([]) == []
