"""The table of the 25 unary and 10 binary functions of the search space.

Source: Ramachandran, Zoph and Le 2017 (arXiv 1710.05941), section 2, in the paper's order. The
torch side of the same table is `torch_ops.py`, apart only because importing torch takes a second.

`beta` is a trainable parameter, one per channel; its start value is not stated in the paper. We
start it at 1, as BOHNAS does. `sinc` is sin(x)/x, and eps is 1e-7 (both our choice).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

EPS = 1e-7  # in log(|x|+eps) and x1/(x2+eps)
BETA_START = 1.0


@dataclass(frozen=True)
class Unary:
    """One unary function u(x), elementwise.

    `value(x, beta)` and `slope(x, beta)` (du/dx) take arrays that broadcast; `beta` is unused
    where `uses_beta` is false. `text` and `latex` are templates with `{x}`; `{b}` is the beta.
    """

    token: str
    text: str
    latex: str
    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    uses_beta: bool = False
    reads_input: bool = True


@dataclass(frozen=True)
class Binary:
    """One binary function b(x1, x2), elementwise; `slope(v1, d1, v2, d2, beta)` is its total
    derivative where x1, x2 have values v1, v2 and derivatives d1, d2.
    """

    token: str
    text: str
    latex: str
    value: Callable[[Array, Array, Array], Array]
    slope: Callable[[Array, Array, Array, Array, Array], Array]
    uses_beta: bool = False
    commutes: bool = False


def _sinc(x: Array, b: Array) -> Array:
    return np.sinc(x / np.pi)


def _sinc_slope(x: Array, b: Array) -> Array:
    # cos(x)/x - sin(x)/x^2 cancels near 0, so the Taylor series serves there (error < 1e-15).
    small = np.abs(x) < 0.5
    s = np.where(small, x, 0.0)
    q = s * s
    series = s * (
        -1 / 3
        + q * (1 / 30 + q * (-1 / 840 + q * (1 / 45360 + q * (-1 / 3991680 + q / 518918400))))
    )
    away = np.where(small, 1.0, x)
    return np.where(small, series, (np.cos(away) - np.sin(away) / away) / away)


def _sigmoid_slope(x: Array, b: Array) -> Array:
    slope: Array = special.expit(x) * special.expit(-x)
    return slope


def _ones(x: Array, b: Array) -> Array:
    return np.ones_like(x)


UNARY: dict[str, Unary] = {
    u.token: u
    for u in (
        Unary("id", "{x}", "{x}", lambda x, b: x, _ones),
        Unary("neg", "-{x}", "-{x}", lambda x, b: -x, lambda x, b: -np.ones_like(x)),
        Unary("abs", "|{x}|", r"\left|{x}\right|", lambda x, b: np.abs(x), lambda x, b: np.sign(x)),
        Unary("square", "{x}^2", "{x}^{{2}}", lambda x, b: x * x, lambda x, b: 2 * x),
        Unary("cube", "{x}^3", "{x}^{{3}}", lambda x, b: x * x * x, lambda x, b: 3 * x * x),
        Unary(
            "sqrt",
            "sqrt({x})",
            r"\sqrt{{{x}}}",
            lambda x, b: np.sqrt(x),
            lambda x, b: 0.5 / np.sqrt(x),
        ),
        Unary(
            "scale",
            "{b}*{x}",
            r"{b}\,{x}",
            lambda x, b: b * x,
            lambda x, b: b + np.zeros_like(x),
            True,
        ),
        Unary("shift", "{x}+{b}", "{x}+{b}", lambda x, b: x + b, _ones, True),
        Unary(
            "logabs",
            "log(|{x}|+eps)",
            r"\log\left(\left|{x}\right|+\epsilon\right)",
            lambda x, b: np.log(np.abs(x) + EPS),
            lambda x, b: np.sign(x) / (np.abs(x) + EPS),
        ),
        Unary("exp", "exp({x})", r"e^{{{x}}}", lambda x, b: np.exp(x), lambda x, b: np.exp(x)),
        Unary(
            "sin",
            "sin({x})",
            r"\sin\left({x}\right)",
            lambda x, b: np.sin(x),
            lambda x, b: np.cos(x),
        ),
        Unary(
            "cos",
            "cos({x})",
            r"\cos\left({x}\right)",
            lambda x, b: np.cos(x),
            lambda x, b: -np.sin(x),
        ),
        Unary(
            "sinh",
            "sinh({x})",
            r"\sinh\left({x}\right)",
            lambda x, b: np.sinh(x),
            lambda x, b: np.cosh(x),
        ),
        Unary(
            "cosh",
            "cosh({x})",
            r"\cosh\left({x}\right)",
            lambda x, b: np.cosh(x),
            lambda x, b: np.sinh(x),
        ),
        Unary(
            "tanh",
            "tanh({x})",
            r"\tanh\left({x}\right)",
            lambda x, b: np.tanh(x),
            lambda x, b: 4 * _sigmoid_slope(2 * x, b),
        ),
        Unary(
            "asinh",
            "asinh({x})",
            r"\sinh^{{-1}}\left({x}\right)",
            lambda x, b: np.arcsinh(x),
            lambda x, b: 1 / np.hypot(1.0, x),
        ),
        Unary(
            "atan",
            "atan({x})",
            r"\tan^{{-1}}\left({x}\right)",
            lambda x, b: np.arctan(x),
            lambda x, b: 1 / (1 + x * x),
        ),
        Unary("sinc", "sinc({x})", r"\mathrm{{sinc}}\left({x}\right)", _sinc, _sinc_slope),
        Unary(
            "relu",
            "max({x}, 0)",
            r"\max\left({x},0\right)",
            lambda x, b: np.maximum(x, 0.0),
            lambda x, b: np.where(np.isnan(x), np.nan, (x > 0).astype(np.float64)),
        ),
        Unary(
            "min0",
            "min({x}, 0)",
            r"\min\left({x},0\right)",
            lambda x, b: np.minimum(x, 0.0),
            lambda x, b: np.where(np.isnan(x), np.nan, (x < 0).astype(np.float64)),
        ),
        Unary(
            "sigmoid",
            "sigmoid({x})",
            r"\sigma\left({x}\right)",
            lambda x, b: special.expit(x),
            _sigmoid_slope,
        ),
        Unary(
            "softplus",
            "log(1+exp({x}))",
            r"\log\left(1+e^{{{x}}}\right)",
            lambda x, b: np.logaddexp(0.0, x),
            lambda x, b: special.expit(x),
        ),
        Unary(
            "gauss",
            "exp(-{x}^2)",
            r"e^{{-{x}^{{2}}}}",
            lambda x, b: np.exp(-x * x),
            lambda x, b: -2 * x * np.exp(-x * x),
        ),
        Unary(
            "erf",
            "erf({x})",
            r"\mathrm{{erf}}\left({x}\right)",
            lambda x, b: special.erf(x),
            lambda x, b: 2 / np.sqrt(np.pi) * np.exp(-x * x),
        ),
        Unary(
            "beta",
            "{b}",
            "{b}",
            lambda x, b: b + np.zeros_like(x),
            lambda x, b: np.zeros_like(x),
            True,
            False,
        ),
    )
}


def _div_slope(v1: Array, d1: Array, v2: Array, d2: Array, b: Array) -> Array:
    bottom = v2 + EPS
    return (d1 - v1 / bottom * d2) / bottom


def _pick_slope(first: NDArray[np.bool_], v1: Array, d1: Array, v2: Array, d2: Array) -> Array:
    # At a tie the two slopes are averaged, as torch.maximum and torch.minimum do.
    return np.where(v1 == v2, 0.5 * (d1 + d2), np.where(first, d1, d2))


def _gate_slope(v1: Array, d1: Array, v2: Array, d2: Array, b: Array) -> Array:
    s: Array = special.expit(v1)
    slope: Array = s * d2 + s * special.expit(-v1) * v2 * d1
    return slope


def _rbf_slope(v1: Array, d1: Array, v2: Array, d2: Array, b: Array) -> Array:
    gap = v1 - v2
    return -2 * b * gap * (d1 - d2) * np.exp(-b * gap * gap)


def _laplace_slope(v1: Array, d1: Array, v2: Array, d2: Array, b: Array) -> Array:
    gap = v1 - v2
    return -b * np.sign(gap) * (d1 - d2) * np.exp(-b * np.abs(gap))


BINARY: dict[str, Binary] = {
    op.token: op
    for op in (
        Binary(
            "add",
            "{x1}+{x2}",
            "{x1}+{x2}",
            lambda v, w, b: v + w,
            lambda v, dv, w, dw, b: dv + dw,
            commutes=True,
        ),
        Binary(
            "mul",
            "{x1}*{x2}",
            r"{x1}\cdot {x2}",
            lambda v, w, b: v * w,
            lambda v, dv, w, dw, b: dv * w + v * dw,
            commutes=True,
        ),
        Binary(
            "sub", "{x1}-{x2}", "{x1}-{x2}", lambda v, w, b: v - w, lambda v, dv, w, dw, b: dv - dw
        ),
        Binary(
            "div",
            "{x1}/({x2}+eps)",
            r"\frac{{{x1}}}{{{x2}+\epsilon}}",
            lambda v, w, b: v / (w + EPS),
            _div_slope,
        ),
        Binary(
            "max",
            "max({x1}, {x2})",
            r"\max\left({x1},{x2}\right)",
            lambda v, w, b: np.maximum(v, w),
            lambda v, dv, w, dw, b: _pick_slope(v > w, v, dv, w, dw),
            commutes=True,
        ),
        Binary(
            "min",
            "min({x1}, {x2})",
            r"\min\left({x1},{x2}\right)",
            lambda v, w, b: np.minimum(v, w),
            lambda v, dv, w, dw, b: _pick_slope(v < w, v, dv, w, dw),
            commutes=True,
        ),
        Binary(
            "gate",
            "sigmoid({x1})*{x2}",
            r"\sigma\left({x1}\right)\cdot {x2}",
            lambda v, w, b: special.expit(v) * w,
            _gate_slope,
        ),
        Binary(
            "rbf",
            "exp(-{b}*({x1}-{x2})^2)",
            r"e^{{-{b}\left({x1}-{x2}\right)^{{2}}}}",
            lambda v, w, b: np.exp(-b * (v - w) ** 2),
            _rbf_slope,
            uses_beta=True,
            commutes=True,
        ),
        Binary(
            "laplace",
            "exp(-{b}*|{x1}-{x2}|)",
            r"e^{{-{b}\left|{x1}-{x2}\right|}}",
            lambda v, w, b: np.exp(-b * np.abs(v - w)),
            _laplace_slope,
            uses_beta=True,
            commutes=True,
        ),
        Binary(
            "blend",
            "{b}*{x1}+(1-{b})*{x2}",
            r"{b}\,{x1}+\left(1-{b}\right)\,{x2}",
            lambda v, w, b: b * v + (1 - b) * w,
            lambda v, dv, w, dw, b: b * dv + (1 - b) * dw,
            uses_beta=True,
        ),
    )
}
