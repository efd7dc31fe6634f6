"""The comparison sees what is wrong, and forgives what is only rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from hybridsearch.errors import UserError
from hybridsearch.export.check import (
    POINTS,
    Answer,
    Steady,
    against_evaluator,
    compare,
    evaluator,
    grid,
    of_module,
    steady,
)
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve


class Own(nn.Module):
    """A formula of x and betas, as somebody might write it."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula
        self.betas = nn.Parameter(torch.ones(1, 1))

    def forward(self, x):
        return self.formula(x, self.betas)


def compared(text, formula, dtype=torch.float64):
    return against_evaluator(
        resolve(text),
        lambda points, dtype: of_module(Own(formula), points, dtype),
        dtype,
        grid(resolve(text)),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_another_order_of_operations_is_rounding(dtype):
    off = compared("x*sigmoid(beta*x)", lambda x, b: x * (0.5 + 0.5 * torch.tanh(b * x / 2)), dtype)
    assert 0 < off.value < 10 * torch.finfo(dtype).eps
    assert off.points > 0.95 * POINTS


@pytest.mark.parametrize(
    ("text", "formula", "what"),
    [
        ("x*sigmoid(beta*x)", lambda x, b: x * torch.sigmoid(x), "values"),
        ("x*sigmoid(beta*x)", lambda x, b: x * torch.sigmoid(b.detach() * x), "gradients"),
        ("x*sigmoid(beta*x)", lambda x, b: x * torch.sigmoid(b * x) + 1e-6, "values"),
        ("min(beta*x, 0)", lambda x, b: (b * x).clamp(max=0), "gradients"),  # only at 0
        ("log(|x|+eps)*beta", lambda x, b: b * torch.log(x.abs()), "values"),  # near 0
    ],
)
def test_what_is_wrong_is_seen(text, formula, what):
    with pytest.raises(UserError, match=f"written {what} differ"):
        compared(text, formula)


def test_nan_where_the_evaluator_is_finite_is_wrong():
    with pytest.raises(UserError, match="values differ from the evaluator's by inf"):
        compared("beta*x", lambda x, b: b * torch.where(x > 50, torch.nan, x))


def test_a_function_that_is_nowhere_finite_cannot_be_checked():
    with pytest.raises(UserError, match="cannot be checked: only 0 of 2,000"):
        compared("sqrt(-cosh(x))", lambda x, b: x)


def test_points_that_rounding_decides_do_not_count():
    function = resolve("sin(exp(x))")
    points = grid(function)
    answer = evaluator(function, points, torch.float64)
    where = steady(function, points, torch.float64, answer)
    assert where.value[np.abs(points.x) < 2].all()
    assert not where.value[points.x == 40].any()


def test_where_no_slopes_can_be_compared_nothing_is_said_of_them():
    answer = Answer(np.zeros(30), np.full((1, 30), np.nan))
    where = Steady(np.ones(30, np.bool_), np.zeros((1, 30), np.bool_))
    assert compare(answer, answer, where, 1e-9).slopes is None


def test_the_grid_has_special_points_and_different_betas():
    points = grid(resolve("beta*sigmoid(beta*x)"))
    assert points.x.shape == (POINTS,)
    assert points.betas.shape == (2, POINTS)
    assert {0.0, 1.0, -1.0, 0.5, -1e6} <= set(points.x)
    assert len(set(points.betas[:, points.x == 0][0])) > 3
    assert not np.array_equal(points.betas[0], points.betas[1])
    assert np.array_equal(grid(resolve("beta*sigmoid(beta*x)")).betas, points.betas)


def test_slopes_are_those_of_autograd():
    function = resolve("x*sigmoid(beta*x)")
    points = grid(function, 200)
    answer = evaluator(function, points, torch.float64)
    s = special.expit(points.betas[0] * points.x)
    near = np.abs(points.x) < 5
    wanted = points.x**2 * s * (1 - s)
    np.testing.assert_allclose(answer.slopes[1][near], wanted[near], rtol=1e-9, atol=1e-12)


def test_a_module_without_betas_is_fine():
    function = resolve("tanh(x)")
    made = of_module(Activation(function, 200, 1), grid(function, 200), torch.float64)
    assert made.slopes.shape == (1, 200)
