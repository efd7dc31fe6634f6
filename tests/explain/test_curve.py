"""Values, slopes and what is said of their rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridsearch.explain.curve import EDGE, POLE, SWITCH, Curve
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import NAMED_PARAMETERS, resolve
from hybridsearch.genome.primitives import EPS


def curve(text: str) -> Curve:
    return Curve.of(resolve(text))


@pytest.mark.parametrize("name", [*NAMED_PARAMETERS, "Swish", "max(x, tanh(x))", "x*asinh(x)^2"])
def test_it_is_what_networks_are_trained_with(name):
    module = Activation(name, channels=1, axis=-1).double()
    x = torch.linspace(-6, 6, 121, dtype=torch.float64)
    x = x[x != 0].reshape(-1, 1).requires_grad_()
    out = module(x)
    (slope,) = torch.autograd.grad(out.sum(), x)
    seen = curve(name).at(x.detach().numpy().ravel())
    assert np.allclose(seen.value, out.detach().numpy().ravel(), rtol=1e-6, atol=1e-9)
    assert np.allclose(seen.slope, slope.numpy().ravel(), rtol=1e-6, atol=1e-9)


def test_the_bounds_hold_the_rounding_that_they_bound():
    x = np.linspace(0.1, 30, 200)
    seen = curve("cosh(x)-sinh(x)").at(x)
    apart = np.abs(seen.value - np.exp(-x))
    assert (apart <= seen.value_error).all()
    assert seen.value_error[-1] > np.exp(-30.0)  # nothing is left of the value there
    assert (np.abs(seen.slope + np.exp(-x)) <= seen.slope_error).all()


def test_what_rounds_nothing_has_no_error():
    seen = curve("max(-x, |x|)").at(np.array([-3.3, 0.7, 1e300]))
    assert seen.value_error.tolist() == [0, 0, 0]


def test_seams_are_found_where_the_parts_meet():
    grid = np.arange(-400, 401) / 100
    assert curve("x*sigmoid(x)").crossings(grid) == []
    assert curve("|x|").crossings(grid) == [(SWITCH, 0.0)]
    assert (EDGE, 0.0) in curve("sqrt(x)").crossings(grid)
    assert curve("sqrt(x^2)").crossings(grid) == [(SWITCH, 0.0)]  # it touches 0 only
    [(kind, place)] = curve("sinh(x)/(x+eps)").crossings(grid)
    assert kind == POLE
    assert place == pytest.approx(-EPS, rel=1e-12)
    [(kind, place)] = curve("max(cos(x), x)").crossings(grid)
    assert place == pytest.approx(0.7390851332151607, abs=1e-15)


def test_a_root_of_a_negative_number_is_not_defined():
    assert curve("sqrt(x)-x").at(np.array([-1.0, 0.0, 1.0])).defined.tolist() == [False, True, True]


def test_parameters_take_the_place_of_betas_in_their_order():
    function = resolve("max(beta*x, x+beta)")
    assert len(function.starts) == 2
    values = {Curve.of(function, pair).value(-10.0) for pair in ((2.0, 3.0), (3.0, 2.0))}
    assert values == {-7.0, -8.0}
