"""Running what was written, each framework in its own way, to compare it with the evaluator."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from hybridsearch.errors import UserError, told
from hybridsearch.export.check import (
    ROOM,
    Answer,
    Deviation,
    Grid,
    Steady,
    against_evaluator,
    compare,
    evaluator,
    grid,
    of_module,
    steady,
)
from hybridsearch.export.expression import beta_names
from hybridsearch.export.files import Wish, class_name
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function

ELSEWHERE = 16 * ROOM  # other libraries round their elementary functions in another way
DIGITS = 40  # of SymPy's arithmetic
MOST = 1e15  # of the argument of an exponential or a sine there
FEW = 40  # points there, where each takes a millisecond
_NAMES = {torch.float64: "float64", torch.float32: "float32"}
NEEDS = {
    "sympy": ("sympy",),
    "jax": ("jax",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
OLDEST_JAX = (0, 8)  # the first that has jax.enable_x64


def require(format: str) -> None:
    """Raises: UserError when a package is missing that the format takes, or is too old."""
    missing = [p for p in NEEDS.get(format, ()) if importlib.util.find_spec(p) is None]
    if missing:
        extra = "sympy" if format == "sympy" else f"'hybridsearch[{format}]'"
        raise UserError(f"--format {format} needs {' and '.join(missing)}; pip install {extra}")
    if format == "jax":
        found = metadata.version("jax")
        if tuple(map(int, found.split(".")[:2])) < OLDEST_JAX:
            wanted = ".".join(map(str, OLDEST_JAX))
            raise UserError(
                f"--format jax needs jax {wanted} or later, got {found}; "
                "pip install -U 'hybridsearch[jax]'"
            )


def load(path: Path) -> ModuleType:
    """The module in a file that this program has written."""
    spec = importlib.util.spec_from_file_location("hybridsearch_exported", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torch_module(wish: Wish, path: Path, channels: int, axis: int) -> nn.Module:
    """The class of a written file, built."""
    made: nn.Module = getattr(load(path), class_name(wish.function))(channels, axis)
    return made


def check_torch(wish: Wish, path: Path) -> str:
    """Compare in float64 and float32; then the axis and the betas that it begins with."""
    width = wish.width or 5

    def answer(points: Grid, dtype: torch.dtype) -> Answer:
        made: Any = torch_module(wish, path, width, 1)
        made.channels = len(points.x)  # one per point, with betas that are handed in
        return of_module(made, points, dtype)

    points = grid(wish.function)
    found = {d: against_evaluator(wish.function, answer, d, points) for d in _NAMES}
    for axis in (1, -1):
        ours, theirs = torch_module(wish, path, width, axis), begun(wish, width, axis)
        _alike(ours, theirs, width)
    return said(found, len(points.x))


def _alike(ours: nn.Module, theirs: Activation, width: int) -> None:
    """Check the start values, and that each channel of the axis meets its own betas."""
    starts = dict(ours.named_parameters()).get("betas", torch.empty(0, width))
    if not torch.equal(starts, theirs.betas):
        raise _differs("start values")
    factors = torch.linspace(0.5, 1.5, width).double()
    apart = {"betas": theirs.betas.double() * factors} if starts.numel() else {}
    x = torch.linspace(-3, 3, 4 * width * width).double().reshape(4, width, width)
    found, wanted = (torch.func.functional_call(m, apart, (x,)) for m in (ours, theirs))
    if not torch.allclose(found, wanted, rtol=1e-6, atol=1e-6, equal_nan=True):
        raise _differs("axis")


def begun(wish: Wish, channels: int, axis: int) -> Activation:
    """The evaluator with the betas that the written file begins with."""
    made = Activation(wish.function, channels, axis)
    if wish.trained is not None:
        with torch.no_grad():
            made.betas.copy_(torch.tensor(wish.trained))
    return made


def _differs(what: str) -> UserError:
    return UserError(
        f"the written {what} are not the evaluator's; nothing was written; please report this "
        "function"
    )


def said(found: dict[torch.dtype, Deviation], of: int) -> str:
    """What was compared, in one line."""
    counted = min(d.points for d in found.values())
    points = f"{of:,} points"
    if counted < of:
        points = f"{counted:,} of {points} (elsewhere it is not finite, or rounding decides)"
    parts = []
    for dtype, off in found.items():
        slopes = "" if off.slopes is None else f", gradients {_within(off.slopes)}"
        parts.append(f"{_NAMES[dtype]} values {_within(off.value)}{slopes}")
    return f"{points} against the evaluator: {'; '.join(parts)}"


def _within(off: float) -> str:
    return f"within {off:.0e}" if off else "equal"


def check_jax(wish: Wish, path: Path) -> str:
    """Compare values and gradients under jit, in float64 and float32."""
    import jax
    import jax.numpy as jnp

    module = load(path)

    def both(x: Any, betas: Any) -> Any:
        value, back = jax.vjp(lambda *inputs: module.activation(*inputs, axis=1), x, betas)
        return value, *back(jnp.ones_like(value))

    run = jax.jit(both)

    def answer(points: Grid, dtype: torch.dtype) -> Answer:
        inputs = (jnp.array(values, _NAMES[dtype]) for values in (points.x[None], points.betas))
        value, *slopes = (np.asarray(found, np.float64) for found in run(*inputs))
        return Answer(value[0], np.concatenate(slopes))

    points = grid(wish.function)
    width = wish.width or 5
    with jax.enable_x64(True):
        found = {d: against_evaluator(wish.function, answer, d, points, ELSEWHERE) for d in _NAMES}
    starts = np.asarray(module.init_betas(width))
    if not np.array_equal(starts, begun(wish, width, 1).betas.detach().numpy()):
        raise _differs("start values")
    return said(found, len(points.x))


def check_sympy(wish: Wish, path: Path) -> str:
    """Compare values and SymPy's own derivatives, both in DIGITS digits, off the kinks; where a
    derivative of SymPy's is 0/0, values alone.
    """
    points, known, where = _few(wish.function)
    try:
        found = _by_sympy(wish, path, points, where)
    except Exception as error:  # SymPy, its printer and mpmath say nowhere which they raise
        raise UserError(
            f"SymPy cannot take this function: {told(error).rstrip('.')}; nothing was written; "
            "take another --format"
        ) from error
    unit = float(torch.finfo(torch.float64).eps)
    off = compare(found, known, where, ELSEWHERE * unit)
    return said({torch.float64: off}, len(points.x))


def _by_sympy(wish: Wish, path: Path, points: Grid, where: Steady) -> Answer:
    """What SymPy computes; what it cannot compute at a point no longer counts in `where`."""
    import sympy

    module = load(path)
    symbols = [getattr(module, name) for name in ("x", *beta_names(len(wish.function.starts)))]
    slopes = [sympy.diff(module.expression, s) for s in symbols]
    value, slope = (
        sympy.lambdify(symbols, wanted, modules=[_guarded(), "mpmath"])
        for wanted in ([module.expression], slopes)
    )
    found = Answer(np.full_like(points.x, np.nan), np.full(where.slopes.shape, np.nan))
    for k in range(len(points.x)):
        inputs = [points.x[k], *points.betas[:, k]]
        try:
            (found.value[k],) = _exact(value, inputs)
        except _TooLargeError:
            where.value[k], where.slopes[:, k] = False, False
            continue
        try:
            found.slopes[:, k] = _exact(slope, inputs)
        except (_TooLargeError, ZeroDivisionError):
            # For the slope of sqrt(max(x, 0)) SymPy has H(x)/(2*sqrt(max(x, 0))), H the step.
            where.slopes[:, k] = False
    return found


def _few(function: Function) -> tuple[Grid, Answer, Steady]:
    """FEW points that count, off the kinks: x and betas are none of the special ones, of which
    those of x come first.
    """
    points = grid(function)
    answer = evaluator(function, points, torch.float64)
    where = steady(function, points, torch.float64, answer, ELSEWHERE)
    special = (points.betas == 0) | (points.betas == np.reshape(function.starts, (-1, 1)))
    chosen = np.flatnonzero(where.value & ~special.any(0))[-FEW:]
    return (
        Grid(points.x[chosen], points.betas[:, chosen]),
        Answer(answer.value[chosen], answer.slopes[:, chosen]),
        Steady(where.value[chosen], where.slopes[:, chosen]),
    )


class _TooLargeError(Exception):
    """An intermediate so large that its exact exponential would fill the memory."""


def _guarded() -> dict[str, Callable[..., Any]]:
    """Functions for `lambdify`, that refuse arguments where float64 has long been infinite, and
    the slopes of steps.
    """
    import mpmath

    def guard(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(at: Any) -> Any:
            if abs(at) > MOST:
                raise _TooLargeError
            return function(at)

        return run

    names = ("exp", "sin", "cos", "sinh", "cosh", "tanh", "sinc", "erf")
    return {name: guard(getattr(mpmath, name)) for name in names} | {
        "Heaviside": lambda at, zero=0.5: (at > 0) + zero * (at == 0),
        "DiracDelta": lambda *_: 0.0,  # off the step
    }


def _exact(run: Callable[..., Any], inputs: list[float]) -> list[float]:
    """Values in many digits; nan where they are no real numbers."""
    import mpmath

    with mpmath.workdps(DIGITS):
        found = run(*map(mpmath.mpf, inputs))
        return [
            float(v.real) if abs(mpmath.im(v)) <= abs(v) * 1e-20 else np.nan
            for v in map(mpmath.mpmathify, found)
        ]
