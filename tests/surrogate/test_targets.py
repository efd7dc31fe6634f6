"""What a model learns instead of scores."""

import numpy as np
import pytest

from hybridsearch.surrogate.targets import exponential


def test_exponential_scores():
    found = exponential(np.array([3.0, 1.0, 2.0, 2.0]))
    assert found[0] > found[2] == found[3] > found[1]
    assert found.mean() == pytest.approx(0) and found.std() == pytest.approx(1)
    assert np.array_equal(found, exponential(np.array([300.0, -1.0, 0.0, 0.0])))  # ranks alone
    assert np.array_equal(exponential(np.full(3, 0.5)), np.zeros(3))
    steps = np.diff(np.sort(exponential(np.arange(50.0))))
    assert (np.diff(steps) > 0).all()  # the best are furthest apart


def test_of_nothing_nothing():
    assert exponential(np.array([])).shape == (0,)
