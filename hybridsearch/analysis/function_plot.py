"""The picture of functions: f(x) beside its slope, against ReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hybridsearch.analysis import style
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BETA_START, Array

VALUE_VIEW = (-3.0, 5.0)  # no axis of f(x) shows more, however fast a function grows
SLOPE_VIEW = (-2.2, 2.5)  # nor of f'(x)
WIDTHS = (4.0, 2.2, 1.5, 1.1)  # of lines, in points, from the best on


class FunctionCurve(NamedTuple):
    """A function to draw: x, value = f(x) and slope = f'(x), all [n]; non-finite is left out."""

    label: str
    x: Array
    value: Array
    slope: Array


def function_curve(
    genome: Genome, label: str, lo: float = -5, hi: float = 5, n: int = 801
) -> FunctionCurve:
    """The curve of a genome on n points in lo..hi with every beta at its start, 1."""
    x: Array = np.linspace(lo, hi, n)
    found = behaviour([genome.tokens], x, np.full((1, 1), BETA_START))
    return FunctionCurve(label, x, found.values[0, 0], found.slopes[0, 0])


def baseline_curve(
    label: str, fn: Callable[[Array], Array], lo: float = -5, hi: float = 5, n: int = 801
) -> FunctionCurve:
    """The curve of any elementwise NumPy function; the slope is by central differences."""
    x: Array = np.linspace(lo, hi, n)
    value = np.asarray(fn(x), dtype=np.float64)
    h = 1e-5  # near the cube root of the machine epsilon, where the error of the rule is least
    slope = (np.asarray(fn(x + h)) - np.asarray(fn(x - h))) / (2 * h)
    return FunctionCurve(label, x, value, np.asarray(slope, dtype=np.float64))


def plot_functions(
    functions: Sequence[FunctionCurve], path: Path | str | IO[bytes], title: str
) -> None:
    """f(x) beside f'(x) of up to about six functions, best first, with ReLU in grey behind.

    The axes fit the curves but show no more than VALUE_VIEW and SLOPE_VIEW; a jump is a gap.
    """
    rows = -(-(len(functions) + 1) // 3)  # of the legend
    with style.figure(path, 9.5, 4.3 + 0.25 * rows) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        left, right = figure.subplots(1, 2)
        drawn = [_relu(functions), *functions]
        _panel(left, functions, "value", _window([f.value for f in drawn], VALUE_VIEW))
        window = _window([f.slope for f in drawn], SLOPE_VIEW)
        handles = _panel(right, functions, "slope", window)
        left.set_title("f(x)", fontweight="normal", fontsize=10)
        right.set_title("f′(x)", fontweight="normal", fontsize=10)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))


def plot_found(functions: Sequence[FunctionCurve], path: Path | str, title: str) -> None:
    """f(x) of up to about twelve functions, best first, shared out over two panels so that they can
    be told apart, as in figure 3 of Ramachandran, Zoph and Le 2017; ReLU in grey behind both.
    """
    half = -(-len(functions) // 2)
    parts = (functions[:half], functions[half:])
    with style.figure(path, 9.5, 4.4 + 0.22 * half) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        first = 1
        window = _window([_relu(functions).value, *(f.value for f in functions)], VALUE_VIEW)
        for axes, part in zip(figure.subplots(1, 2, sharey=True), parts, strict=True):
            handles = _panel(axes, part, "value", window)
            ranks = f"number {first} to {first + len(part) - 1}" if part else ""
            axes.set_title(ranks, fontweight="normal", fontsize=10)
            axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14))
            first += len(part)


def _relu(functions: Sequence[FunctionCurve]) -> FunctionCurve:
    """ReLU where functions are drawn."""
    grid: Array = functions[0].x if functions else np.linspace(-5, 5, 801)
    return FunctionCurve("ReLU", grid, np.maximum(grid, 0.0), (grid > 0).astype(np.float64))


def _panel(
    axes: Axes, functions: Sequence[FunctionCurve], name: str, window: tuple[float, float]
) -> list[Line2D]:
    """Draw one side of functions, best first and widest, and ReLU; returns handles, ReLU's last.

    A narrower line lies upon a wider one, so that of functions that agree both are seen.
    """
    relu, (low, high) = _relu(functions), window
    drawn = [relu, *functions]
    handles: list[Line2D] = []
    for i, curve in enumerate(drawn):
        y = _gaps(getattr(curve, name), low, high)
        look: dict[str, Any] = (
            {"color": style.FAINT, "lw": 1.2, "zorder": 1.5}
            if curve is relu
            else {
                "color": style.CYCLE[(i - 1) % len(style.CYCLE)],
                "lw": WIDTHS[min(i, len(WIDTHS)) - 1],
                "ls": ("-", "--", "-.", ":")[(i - 1) // len(style.CYCLE) % 4],
                "zorder": 3 + i / 50,
            }
        )
        handles += axes.plot(curve.x, y, label=style.shorten(curve.label, 44), **look)
    axes.axhline(0, color=style.FAINT, lw=0.8, zorder=1)
    axes.axvline(0, color=style.FAINT, lw=0.8, zorder=1)
    axes.set(xlim=(relu.x[0], relu.x[-1]), ylim=(low, high), xlabel="x")
    return handles[1:] + handles[:1]


def _window(curves: Sequence[Array], view: tuple[float, float]) -> tuple[float, float]:
    """The y-range that holds the finite part of the curves inside `view`, and some air."""
    inside = np.clip(np.concatenate([c[np.isfinite(c)] for c in curves]), *view)
    low, high = float(inside.min()), float(inside.max())
    air = 0.06 * max(high - low, 0.5)
    return low - air, high + air


def _gaps(y: Array, low: float, high: float) -> Array:
    """y with nan in place of what is not finite, out of sight, or past a jump."""
    shown = np.where(np.isfinite(y), np.clip(y, low - (high - low), high + (high - low)), np.nan)
    jump = np.abs(np.diff(shown, append=shown[-1])) > 0.15 * (high - low)
    shown[jump] = np.nan
    return shown
