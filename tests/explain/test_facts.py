"""Known functions: every fact is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from hybridsearch.explain.curve import Curve
from hybridsearch.explain.facts import facts, normal
from hybridsearch.genome.function import BASELINES, baselines, resolve
from hybridsearch.genome.units import Space

INF = math.inf


def of(text: str):
    return facts(Curve.of(resolve(text)))


@pytest.mark.parametrize(
    "text, low, high",
    [
        ("ReLU", "[0", None),
        ("Swish", "[-0.27846454276", None),
        ("GELU", "[-0.16997120747", None),
        ("ELU", "(-1", None),
        ("tanh(x)", "(-1", "1)"),
        ("sigmoid(x)", "(0", "1)"),
        ("sin(x)", "[-1", "1]"),
        ("x^2", "[0", None),
        ("|x|", "[0", None),
        ("exp(x)", "(0", None),
        ("exp(-x^2)", "(0", "1]"),
        ("sinc(x)", "[-0.21723362821", "1]"),
        ("sinc(x)+x", None, None),
        ("x*sin(x)", None, None),
        ("x*exp(-x)", None, "0.36787944117]"),
        ("sqrt(x)", "[0", None),
        ("sqrt(x)-x", None, "0.25]"),
        ("x-max(x, 0)", None, "0]"),
        ("log(|x|+eps)", f"[{math.log(1e-7):.11f}", None),
        ("x/(x+eps)", None, None),  # a pole at -eps
        ("asinh(x)+sin(x)", None, None),
        ("log(|x|+eps)+cos(x)", f"[{math.log(1e-7) + 1:.11f}", None),
        ("sigmoid(sin(x))*|x|", "[0", None),
        ("sin(x)^2*|x|", "[0", None),
        ("sigmoid(sqrt(x))*sin(x)", "(-1", "1)"),  # on its right end, the only one
    ],
)
def test_ranges(text, low, high):
    found = of(text)
    for wanted, end in ((low, found.low), (high, found.high)):
        if wanted is None:
            assert end.value is None
            continue
        assert end.reached == any(bracket in wanted for bracket in "[]")
        assert end.value == pytest.approx(float(wanted.strip("[]()")), abs=1e-10)
        assert end.certain


def test_swish_has_its_one_minimum():
    found = of("Swish")
    [turn] = found.turns
    assert turn.kind == "minimum"
    assert turn.x == pytest.approx(-1.2784645427610738, abs=1e-9)
    assert turn.value == pytest.approx(-0.27846454276107377, abs=1e-14)
    assert [(s.low, s.high, s.does) for s in found.stretches] == [
        (-INF, turn.x, "falls"),
        (turn.x, INF, "rises"),
    ]
    assert (found.zeros, found.at_zero, found.slope_at_zero) == ((0.0,), 0.0, 0.5)
    assert found.smooth.startswith("smooth")
    assert found.kinks == ()
    assert not found.more


def test_relu_is_constant_and_then_rises():
    found = of("ReLU")
    assert [(s.low, s.high, s.does) for s in found.stretches] == [
        (-INF, 0.0, "is constant"),
        (0.0, INF, "rises"),
    ]
    [kink] = found.kinks
    assert (kink.x, kink.kind, kink.left, kink.right) == (0.0, "kink", 0.0, 1.0)
    assert math.isnan(found.slope_at_zero)
    assert found.zero_from == ((-INF, 0.0),)
    assert found.zeros == found.turns == ()


@pytest.mark.parametrize(
    "text, does", [("tanh(x)", "rises"), ("sinc(x)+x", "rises"), ("cos(x)-x", "falls")]
)
def test_monotone_everywhere(text, does):
    """Flat floats at the ends of tanh are no constant function."""
    [stretch] = of(text).stretches
    assert (stretch.low, stretch.high, stretch.does) == (-INF, INF, does)


def test_what_is_too_small_for_a_float_is_no_flat_stretch():
    found = of("|x|-atan(x)")
    assert [s.does for s in found.stretches] == ["falls", "rises"]
    assert (found.stretches[0].high, found.stretches[1].low) == (0, 0)
    assert found.zeros == (0,) and found.zero_from == ()
    assert [(t.x, t.value, t.kind) for t in found.turns] == [(0, 0, "minimum")]


def test_a_periodic_function_goes_on():
    found = of("sin(x)")
    assert found.more
    assert found.turns[len(found.turns) // 2].x == pytest.approx(math.pi / 2, abs=1e-12)
    assert all(abs(z / math.pi - round(z / math.pi)) < 1e-12 for z in found.zeros)
    assert 0.0 in found.zeros


@pytest.mark.parametrize(
    "text, goes_on",
    [
        ("Swish", set()),
        ("sin(x)", {"turns", "stretches", "zeros"}),
        ("sin(x^2)+x", {"turns", "stretches"}),  # it has one zero
        ("cos(x)-beta", {"turns", "stretches", "zeros"}),  # seven of them up to 20, all touched
        ("max(sin(x), 0)", {"turns", "stretches", "zeros", "kinks"}),
    ],
)
def test_only_what_has_no_end_goes_on(text, goes_on):
    found = of(text)
    assert {*found.goes_on} == goes_on
    assert found.more == bool(goes_on)


@pytest.mark.parametrize(
    "text, symmetry",
    [("x^2", "even"), ("|x|", "even"), ("tanh(x)", "odd"), ("x^3", "odd"), ("Swish", "")],
)
def test_symmetry(text, symmetry):
    assert of(text).symmetry == symmetry


@pytest.mark.parametrize(
    "text, words, kinds",
    [
        ("|x|", "continuous, with kinks", ["kink"]),
        ("sqrt(x^2)", "continuous, with kinks", ["kink"]),
        ("max(x, tanh(x))", "continuously differentiable", []),  # the slopes meet at 0
        ("x*sigmoid(x)", "smooth", []),
        ("x/(x+eps)", "not continuous", ["pole"]),
        ("tanh(x/(x^3+eps))", "not continuous", ["jump"]),  # from 1 to -1 across the pole
        ("sqrt(x)", "smooth inside", ["edge"]),
    ],
)
def test_smoothness(text, words, kinds):
    found = of(text)
    assert found.smooth.startswith(words)
    assert [k.kind for k in found.kinks] == kinds


SMOOTHNESS = {  # of every baseline by name: its sentence, and the first derivative that jumps at 0
    "LReLU": ("continuous, with kinks", 1),
    "PReLU": ("continuous, with kinks", 1),
    "Softplus": ("smooth: every derivative exists", None),
    "ELU": ("continuously differentiable, but not smooth everywhere by its formula", 2),
    "SELU": ("continuous, with kinks", 1),
    "GELU": ("smooth: every derivative exists", None),
    "ReLU": ("continuous, with kinks", 1),
    "Swish-1": ("smooth: every derivative exists", None),
    "Swish": ("smooth: every derivative exists", None),
}


@pytest.mark.parametrize("name", BASELINES)
def test_smoothness_of_the_baselines(name):
    sentence, jumps = SMOOTHNESS[name]
    assert of(name).smooth == sentence
    curve, h = Curve.of(resolve(name)), 1e-4  # the sentence is true by differences, too
    slopes = {
        1: [curve.slope(x) for x in (-h, h)],
        2: [(curve.slope(x + h) - curve.slope(x - h)) / (2 * h) for x in (-2 * h, 2 * h)],
    }
    jumped = [order for order, (low, high) in slopes.items() if abs(high - low) > 0.01]
    assert min(jumped, default=None) == jumps


def test_a_kink_elsewhere_is_where_the_parts_meet():
    [kink] = of("min(exp(x), -x)").kinks
    assert kink.x == pytest.approx(-0.5671432904097838, abs=1e-12)  # minus the omega constant
    assert (kink.left, kink.right) == pytest.approx((0.5671432904097838, -1), abs=1e-9)


def test_parts_where_it_is_not_defined_are_left_out():
    found = of("sqrt(x^2-beta)")
    assert [(s.low, s.high, s.does) for s in found.stretches] == [
        (-INF, -1.0, "falls"),
        (1.0, INF, "rises"),
    ]
    assert found.zeros == (-1.0, 1.0)
    assert math.isnan(found.normal.second)


def test_what_is_defined_nowhere_has_no_range():
    found = of("sqrt(-cosh(x))")
    assert found.nowhere and found.low.value is found.high.value is None
    assert found.stretches == found.zeros == ()
    point = of("sqrt(-x^2)")  # 0 at 0
    assert not point.nowhere and (point.low.value, point.high.value) == (0, 0)
    assert not of("sqrt(x)").nowhere


@pytest.mark.parametrize(
    "text, mean, second, gain",
    [
        ("ReLU", norm.pdf(0), 0.5, 0.5),
        ("|x|", 2 * norm.pdf(0), 1, 1),
        ("x^2", 1, 3, 4),
        ("exp(x)", math.exp(0.5), math.exp(2), math.exp(2)),
        ("sin(x)", 0, (1 - math.exp(-2)) / 2, (1 + math.exp(-2)) / 2),
        ("SELU", 0, 1, 1.0715749924557993),
        ("exp(x^2)", INF, INF, INF),
        ("sqrt(|x|)", 0.8221789586623884, 2 * norm.pdf(0), INF),  # its slope squared is 1/(4|x|)
        ("x/(x+eps)", math.nan, INF, INF),
    ],
)
def test_under_a_normal_input(text, mean, second, gain):
    found = normal(Curve.of(resolve(text)))
    wanted = pytest.approx((mean, second, gain), rel=1e-9, abs=1e-12, nan_ok=True)
    assert (found.mean, found.second, found.gain) == wanted


def test_no_function_is_beyond_it():
    """Baselines, and one of every kind of the space: nothing fails, and no value is outside."""
    rng = np.random.default_rng(5)
    texts = [" ".join(Space().sample(rng)) for _ in range(12)]
    x = np.concatenate([rng.normal(0, 2, 200), rng.uniform(-20, 20, 200)])
    for function in [*baselines(), *map(resolve, texts)]:
        curve = Curve.of(function)
        found, seen = facts(curve), curve.at(x)
        value = seen.value[seen.defined & np.isfinite(seen.value)]
        room = 1e-9 * np.abs(value) + 1e-9
        if found.low.value is not None:
            assert (value >= found.low.value - room).all(), function.name
        if found.high.value is not None:
            assert (value <= found.high.value + room).all(), function.name
