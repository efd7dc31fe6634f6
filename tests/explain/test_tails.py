"""Both ends of functions whose ends are known."""

from __future__ import annotations

import math

import pytest

from hybridsearch.explain.curve import Curve
from hybridsearch.explain.tails import tail
from hybridsearch.genome.function import resolve


def ends(text: str):
    curve = Curve.of(resolve(text))
    return tail(curve, -1), tail(curve, 1)


@pytest.mark.parametrize(
    "text, left, right",
    [
        ("ReLU", 0.0, None),
        ("Swish", 0.0, None),
        ("GELU", 0.0, None),
        ("Softplus", 0.0, None),
        ("ELU", -1.0, None),
        ("SELU", -1.0507009873554805 * 1.6732632423543772, None),
        ("tanh(x)", -1.0, 1.0),
        ("atan(x)", -math.pi / 2, math.pi / 2),
        ("sigmoid(x)", 0.0, 1.0),
        ("exp(-x^2)", 0.0, 0.0),
        ("sinc(x)", 0.0, 0.0),
        ("tanh(x)+sinc(x)", -1.0, 1.0),
        ("mul sinc x sinc x | add tanh x id u1", -1.0, 1.0),  # waves that rounding hides at last
        ("sin(x)/sqrt(|x|+beta)", 0.0, 0.0),
        ("x*exp(-x)", None, 0.0),
        ("cosh(x)-sinh(x)", None, 0.0),  # all rounding from x = 20 on
        ("exp(exp(x))", 1.0, None),
        ("x/(x+eps)", 1.0, 1.0),
        ("sqrt(x^2+beta)-x", None, 0.0),
    ],
)
def test_limits(text, left, right):
    for wanted, found in zip((left, right), ends(text), strict=True):
        if wanted is None:
            assert found.kind != "limit"
        else:
            assert found.kind == "limit"
            assert found.value == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "text, left, right",
    [
        ("ReLU", None, (1, 0)),
        ("Swish", None, (1, 0)),
        ("GELU", None, (1, 0)),
        ("|x|", (-1, 0), (1, 0)),
        ("LReLU", (0.01, 0), (1, 0)),
        ("sinc(x)+x", (1, 0), (1, 0)),
        ("tanh(x)+sinc(x)+x", (1, -1), (1, 1)),
        ("atan(x)^2-x", (-1, math.pi**2 / 4), (-1, math.pi**2 / 4)),
        ("x*atan(x)", (-math.pi / 2, -1), (math.pi / 2, -1)),
        ("log(1+exp(x))-x", (-1, 0), None),
    ],
)
def test_lines(text, left, right):
    for wanted, found in zip((left, right), ends(text), strict=True):
        if wanted is None:
            assert found.kind == "limit"
        else:
            assert found.kind == "line"
            assert (found.slope, found.offset) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "text, left, right",
    [
        ("x^2", "+infinity, like x^2", "+infinity, like x^2"),
        ("x^3", "-infinity, like x^3", "+infinity, like x^3"),
        ("exp(x)", "0", "+infinity, like exp(x)"),
        ("sinh(x)", "-infinity, like -exp(-x)", "+infinity, like exp(x)"),
        ("exp(x)*x^2", "0", "+infinity, like x^2 exp(x)"),
        ("exp(x^2)", "+infinity, faster than any exponential", None),
        ("asinh(x)", "-infinity, like -log |x|", "+infinity, like log x"),
        ("x*asinh(x)^2", "-infinity, like x (log |x|)^2", "+infinity, like x (log x)^2"),
        ("sqrt(x)", "not defined there", "+infinity, like sqrt(x)"),
        ("x+log(|x|+eps)", None, "+infinity, like x, which it leaves ever further"),
        (
            "asinh(x)+sin(x)",
            "-infinity, oscillating by about 1 on the way",
            "+infinity, oscillating by about 1 on the way",
        ),
        ("sqrt(x)+sin(x)", "not defined there", "+infinity, oscillating by about 1 on the way"),
        ("x+asinh(x)*sin(x)", None, "+infinity, oscillating ever wider on the way"),
        ("|x*sin(x)|", None, "oscillates ever wider, without bound above"),
    ],
)
def test_growth(text, left, right):
    for wanted, found in zip((left, right), ends(text), strict=True):
        assert wanted in (None, found.says)


@pytest.mark.parametrize(
    "text, kind, slope",
    [
        ("sin(x)", "oscillates", 0),
        ("cos(x)-x", "oscillates", -1),
        ("x*sin(x)", "swings", None),
        ("cos(x)/(beta-beta+eps)", "oscillates", 0),  # 1e7 wide: no line is seen through it
        ("asinh(x)*sin(x)", "swings", None),
        ("sin(x)*cosh(x)", "swings", None),
        ("sqrt(sin(x))", "unknown", None),
    ],
)
def test_oscillations(text, kind, slope):
    for found in ends(text):
        assert found.kind == kind
        assert slope is None or found.slope == slope


def test_an_oscillation_has_its_bounds():
    left, right = ends("sin(x)")
    assert (left.low, left.high) == (right.low, right.high) == (-1, 1)
    assert right.says == "oscillates between about -1 and 1"
    _, right = ends("cos(x)-x")
    assert right.says == "-x plus an oscillation between about -1 and 1"


def test_an_oscillation_is_bounded_where_its_centre_or_its_sign_bounds_it():
    left, right = ends("log(|x|+eps)+cos(x)")
    assert (left.kind, right.kind) == ("up", "up")
    assert right.low == pytest.approx(0.087, abs=1e-3) and right.high == math.inf
    left, right = ends("sigmoid(sin(x))*x")
    assert (left.low, right.high) == (-math.inf, math.inf)
    assert left.high == pytest.approx(-0.30, abs=0.01)
    assert right.low == pytest.approx(0.70, abs=0.01)


def test_only_a_constant_end_is_its_limit_all_the_way():
    assert [end.constant for end in ends("ReLU")] == [True, False]
    assert [end.constant for end in ends("tanh(x)")] == [False, False]  # though a float says 1
    assert not ends("exp(-x^2)")[1].constant


def test_a_limit_that_waves_hide_is_told_with_the_digits_that_are_known():
    left, right = ends("sinc(x)/(sigmoid(x)+eps)")  # 1e7 times as wide on the left
    assert left.says == right.says == "0"
    assert ends("exp(-beta*(atan(x)-sinc(x))^2)")[1].says == "0.0848"  # exp(-pi^2/4) = 0.084805


def test_a_centre_that_creeps_up_is_seen():
    assert ends("asinh(asinh(x))-cos(x)")[1].says.startswith("+infinity")


def test_what_does_not_settle_is_not_known():
    curve = Curve.of(resolve("u1=log(|x|+eps); log(|u1|+eps)"))  # log log x
    found = tail(curve, 1)
    assert found.kind == "unknown"
    assert found.says.startswith("not known")
