"""The table of primitives against closed forms in 40 digits, and NumPy against torch."""

from __future__ import annotations

import string

import mpmath
import numpy as np
import pytest
import torch

from hybridsearch.genome.primitives import BINARY, EPS, UNARY
from hybridsearch.genome.torch_ops import BINARY_TORCH, UNARY_TORCH

mp = mpmath.mp.clone()
mp.dps = 40
eps = mp.mpf(EPS)  # the double, exactly

# Written from the paper's table, not from the code under test.
UNARY_EXACT = {
    "id": lambda x, b: x,
    "neg": lambda x, b: -x,
    "abs": lambda x, b: abs(x),
    "square": lambda x, b: x**2,
    "cube": lambda x, b: x**3,
    "sqrt": lambda x, b: mp.sqrt(x),
    "scale": lambda x, b: b * x,
    "shift": lambda x, b: x + b,
    "logabs": lambda x, b: mp.log(abs(x) + eps),
    "exp": lambda x, b: mp.exp(x),
    "sin": lambda x, b: mp.sin(x),
    "cos": lambda x, b: mp.cos(x),
    "sinh": lambda x, b: mp.sinh(x),
    "cosh": lambda x, b: mp.cosh(x),
    "tanh": lambda x, b: mp.tanh(x),
    "asinh": lambda x, b: mp.asinh(x),
    "atan": lambda x, b: mp.atan(x),
    "sinc": lambda x, b: mp.sin(x) / x,
    "relu": lambda x, b: max(x, mp.zero),
    "min0": lambda x, b: min(x, mp.zero),
    "sigmoid": lambda x, b: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x, b: mp.log(1 + mp.exp(x)),
    "gauss": lambda x, b: mp.exp(-(x**2)),
    "erf": lambda x, b: mp.erf(x),
    "beta": lambda x, b: b,
}
BINARY_EXACT = {
    "add": lambda v, w, b: v + w,
    "mul": lambda v, w, b: v * w,
    "sub": lambda v, w, b: v - w,
    "div": lambda v, w, b: v / (w + eps),
    "max": lambda v, w, b: max(v, w),
    "min": lambda v, w, b: min(v, w),
    "gate": lambda v, w, b: w / (1 + mp.exp(-v)),
    "rbf": lambda v, w, b: mp.exp(-b * (v - w) ** 2),
    "laplace": lambda v, w, b: mp.exp(-b * abs(v - w)),
    "blend": lambda v, w, b: b * v + (1 - b) * w,
}
POINTS = [s * x for x in (0.0031, 0.37, 0.49, 0.51, 1.3, 2.9, 5.2, 7.9) for s in (1.0, -1.0)]
BETAS = [1.0, -0.5, 1.7]
PAIRS = [(0.4, -1.3), (2.1, 0.6), (-3.2, 1.1), (-0.7, -2.6), (5.0, 4.2)]


def close(got, exact) -> bool:
    return abs(mp.mpf(float(got)) - exact) <= mp.mpf("1e-12") * abs(exact)


def test_the_table_is_the_papers():
    assert list(UNARY) == list(UNARY_EXACT) == list(UNARY_TORCH)
    assert list(BINARY) == list(BINARY_EXACT) == list(BINARY_TORCH)
    assert (len(UNARY), len(BINARY)) == (25, 10)
    assert {u for u, op in UNARY.items() if op.uses_beta} == {"scale", "shift", "beta"}
    assert {b for b, op in BINARY.items() if op.uses_beta} == {"rbf", "laplace", "blend"}
    assert [u for u, op in UNARY.items() if not op.reads_input] == ["beta"]


@pytest.mark.parametrize("token", UNARY)
def test_unary_value_and_slope(token):
    exact = UNARY_EXACT[token]
    for x in POINTS:
        for b in BETAS if UNARY[token].uses_beta else [1.0]:
            if token == "sqrt" and x < 0:
                continue
            at, beta = np.array([x]), np.array([b])
            assert close(UNARY[token].value(at, beta)[0], exact(mp.mpf(x), mp.mpf(b))), (x, b)
            slope = mp.diff(lambda t, b=b: exact(t, mp.mpf(b)), mp.mpf(x))
            got = UNARY[token].slope(at, beta)[0]
            assert close(got, slope) or abs(slope) < 1e-20 > abs(got), (x, b)


@pytest.mark.parametrize("token", BINARY)
def test_binary_value_and_slope(token):
    """The slope along v(t) = v+p*t, w(t) = w+q*t is the total derivative."""
    exact, p, q = BINARY_EXACT[token], 0.7, -1.9
    for v, w in PAIRS:
        for b in BETAS if BINARY[token].uses_beta else [1.0]:
            args = [np.array([a]) for a in (v, w, b)]
            assert close(BINARY[token].value(*args)[0], exact(*map(mp.mpf, (v, w, b)))), (v, w, b)
            slope = mp.diff(
                lambda t, v=v, w=w, b=b: exact(v + mp.mpf(p) * t, w + mp.mpf(q) * t, mp.mpf(b)), 0
            )
            got = BINARY[token].slope(args[0], np.array([p]), args[1], np.array([q]), args[2])
            assert close(got[0], slope), (v, w, b)


def test_values_at_zero_and_outside_the_domain():
    zero, beta = np.zeros(1), np.ones(1)
    assert UNARY["sinc"].value(zero, beta)[0] == 1.0
    assert UNARY["sinc"].slope(zero, beta)[0] == 0.0
    assert UNARY["logabs"].value(zero, beta)[0] == np.log(1e-7)
    assert UNARY["sqrt"].value(zero, beta)[0] == 0.0
    with np.errstate(all="ignore"):
        assert np.isnan(UNARY["sqrt"].value(-np.ones(1), beta)[0])
        assert UNARY["sqrt"].slope(zero, beta)[0] == np.inf
        # A kink must not turn an undefined input into a number.
        assert np.isnan(UNARY["relu"].slope(np.full(1, np.nan), beta)[0])
        assert np.isnan(UNARY["min0"].slope(np.full(1, np.nan), beta)[0])
    assert BINARY["div"].value(np.ones(1), zero, beta)[0] == pytest.approx(1e7)


@pytest.mark.parametrize("token", ["softplus", "sigmoid", "gauss", "erf", "tanh", "atan", "asinh"])
def test_tame_functions_stay_finite_far_out(token):
    far = np.array([-1e3, -50.0, 50.0, 1e3])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(UNARY[token].value(far, np.ones(1))).all()
        assert np.isfinite(UNARY[token].slope(far, np.ones(1))).all()


@pytest.mark.parametrize("token", UNARY)
def test_numpy_and_torch_agree_on_unaries(token):
    """Also at 0, where the kinks of abs, relu and min0 have the slope 0."""
    inside = [x for x in POINTS if x > 0] if token == "sqrt" else [0.0, *POINTS]
    x = torch.tensor(inside, dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.7], dtype=torch.float64)
    value = UNARY_TORCH[token](x, b)
    slope = (
        torch.autograd.grad(value.sum(), x)[0] if value.requires_grad else torch.zeros(len(inside))
    )
    at, beta = np.array(inside), np.array([1.7])
    np.testing.assert_allclose(UNARY[token].value(at, beta), value.detach(), rtol=1e-12)
    np.testing.assert_allclose(UNARY[token].slope(at, beta), slope, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("token", BINARY)
def test_numpy_and_torch_agree_on_binaries(token):
    """Also at a tie, where max and min average the two slopes."""
    pairs = np.array([*PAIRS, (1.1, 1.1), (-0.4, -0.4)])
    p, q = 0.7, -1.9
    t = torch.zeros(len(pairs), dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.7], dtype=torch.float64)
    v, w = (torch.tensor(side) + k * t for side, k in zip(pairs.T, (p, q), strict=True))
    value = BINARY_TORCH[token](v, w, b)
    slope = torch.autograd.grad(value.sum(), t)[0]
    v, w, beta = pairs[:, 0], pairs[:, 1], np.array([1.7])
    np.testing.assert_allclose(BINARY[token].value(v, w, beta), value.detach(), rtol=1e-12)
    got = BINARY[token].slope(v, np.full(len(v), p), w, np.full(len(v), q), beta)
    np.testing.assert_allclose(got, slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("token", BINARY)
def test_commuting_is_declared_where_it_holds(token):
    v, w = np.array(PAIRS).T
    beta = np.array([0.3])
    same = np.array_equal(BINARY[token].value(v, w, beta), BINARY[token].value(w, v, beta))
    assert BINARY[token].commutes == same


@pytest.mark.parametrize("op", [*UNARY.values(), *BINARY.values()], ids=lambda op: op.token)
def test_templates_name_what_the_function_reads(op):
    inputs = {"x"} if op.token in UNARY else {"x1", "x2"}
    if op.token == "beta":
        inputs = set()
    for template in (op.text, op.latex):
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
        assert fields == inputs | ({"b"} if op.uses_beta else set())
