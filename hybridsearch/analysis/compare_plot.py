"""The pictures of a comparison: curves over the budget, shares of runs, intervals, pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from hybridsearch.analysis import style

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))  # a round of colours each
# Two sides that are told apart with every kind of colour blindness, pale in the middle.
SIDES = LinearSegmentedColormap.from_list("sides", (style.ORANGE, "#f7f7f7", style.BLUE))


class Curve(NamedTuple):
    """One strategy along x; value, low, high: [points] like x. Nothing is drawn where nan."""

    name: str
    x: ArrayLike
    value: ArrayLike
    low: ArrayLike
    high: ArrayLike


class Row(NamedTuple):
    """An estimate with its interval."""

    name: str
    value: float
    low: float
    high: float


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of every name, by its place."""
    n = len(style.CYCLE)
    return {
        name: {"color": style.CYCLE[k % n], "ls": DASHES[k // n % len(DASHES)]}
        for k, name in enumerate(names)
    }


def plot_curves(
    curves: Sequence[Curve], path: Path | str, *, title: str, xlabel: str, ylabel: str, start: float
) -> None:
    """Falling curves with bands, both axes logarithmic, from x = start; a PNG of 9 by 5.4 inches.

    Zero has no place on such an axis: what is below the least positive value stands on the edge.
    """
    with style.figure(path, 9, 5.4) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        parts = {c.name: np.array([c.x, c.value, c.low, c.high], np.float64) for c in curves}
        shown = {name: p[:, (p[0] >= start) & np.isfinite(p[1])] for name, p in parts.items()}
        levels = [p[1:].ravel() for p in shown.values() if p.shape[1]]
        positive = np.concatenate([[], *levels])
        positive = positive[positive > 0]
        if not len(positive):
            style.empty(axes, "every curve is at zero: all found the best at once")
            return
        middle = np.concatenate([p[1] for p in shown.values()])
        floor = float(middle[middle > 0].min() if (middle > 0).any() else positive.min()) / 1.8
        for name, look in looks([c.name for c in curves]).items():
            x, (value, low, high) = shown[name][0], np.maximum(shown[name][1:], floor)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.13, lw=0, zorder=2)
            axes.plot(x, value, lw=2, zorder=3, **look)
        end = max(float(p[0, -1]) for p in shown.values() if p.shape[1])
        axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
        axes.set(xlim=(start, max(end, 1.01 * start)), ylim=(floor, 1.1 * float(positive.max())))
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            _plain_ticks(axis, *limits)
        ends = {
            name: float(np.log(max(p[1, -1], floor))) for name, p in shown.items() if p.shape[1]
        }
        _name_ends(axes, ends, looks([c.name for c in curves]), *np.log(axes.get_ylim()))


def plot_shares(
    times: Mapping[str, Sequence[float]],
    path: Path | str,
    *,
    budget: int,
    title: str,
    event: str,
    exact: NDArray[np.float64] | None = None,
) -> None:
    """The share of runs that have come to an event by n evaluations; a PNG of 9 by 5.4 inches.

    times: strategy -> when, per run; inf where it did not come within the budget (censored): such
    runs keep a line from reaching 100%. exact: [budget] the share for uniform draws.
    """
    with style.figure(path, 9, 5.4) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        x = np.arange(1, budget + 1)
        kinds: dict[str, dict[str, Any]] = looks(list(times))
        ends: dict[str, float] = {}
        if exact is not None:
            kinds["uniform draws, exact"] = {"color": style.INK, "ls": (0, (2, 2))}
            ends["uniform draws, exact"] = float(exact[-1])
            axes.plot(x, exact, lw=1.3, zorder=2, **kinds["uniform draws, exact"])
        labels = {}
        for name, row in times.items():
            share = np.searchsorted(np.sort(np.array(row)), x, side="right") / len(row)
            axes.plot(x, share, lw=2, zorder=3, drawstyle="steps-post", **kinds[name])
            ends[name] = float(share[-1])
            labels[name] = f"{name} {share[-1]:.0%}"
        axes.axhline(0.5, color=style.MUTED, lw=0.8, ls=":", zorder=1)
        axes.text(1.02, 0.505, "half of the runs", color=style.MUTED, fontsize=8, va="bottom")
        axes.set(xscale="log", xlim=(1, max(budget, 2)), ylim=(0, 1.02))
        axes.set(xlabel="distinct functions evaluated", ylabel=f"runs in which {event}")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        _plain_ticks(axes.xaxis, *axes.get_xlim())
        _name_ends(axes, ends, kinds, 0, 1.02, labels)


def plot_intervals(
    panels: Mapping[str, Sequence[Row]], path: Path | str, *, title: str, xlabel: str
) -> None:
    """Estimates with intervals, a panel each, the strategies in the order given from the top."""
    count = max((len(rows) for rows in panels.values()), default=0)
    with style.figure(path, 10, 1.6 + 0.36 * max(3, count)) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        if not panels:
            style.empty(figure.add_subplot(), "too few functions were evaluated")
            return
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (name, rows) in zip(drawn, panels.items(), strict=True):
            for y, row in enumerate(rows):
                color = looks([r.name for r in rows])[row.name]["color"]
                axes.plot([row.low, row.high], [y, y], color=color, lw=2.4, zorder=3)
                axes.plot(row.value, y, "o", color=color, mec="white", ms=8, zorder=4)
            axes.set_title(name, fontsize=10, fontweight="normal")
            axes.set_yticks(range(len(rows)), [row.name for row in rows])
            axes.tick_params(axis="y", length=0, labelcolor=style.INK)
            axes.set_ylim(count - 0.5, -0.5)
            axes.margins(x=0.12)
            axes.locator_params(axis="x", nbins=4)
            axes.grid(axis="y", visible=False)
        figure.supxlabel(xlabel, fontsize=10)


def plot_pairs(
    names: Sequence[str],
    better: Mapping[tuple[str, str], float],
    shown: set[tuple[str, str]],
    path: Path | str,
    *,
    title: str,
) -> None:
    """P(row better than column) as a matrix; bold in a frame where a difference is shown.

    better: for every ordered pair. shown: the ordered pairs of which a difference is shown.
    """
    n = len(names)
    with style.figure(path, 3.2 + 0.95 * n, 1.8 + 0.62 * n) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        if n < 2:
            style.empty(axes, "one strategy has no other to be compared with")
            return
        table = np.full((n, n), np.nan)
        for (a, b), p in better.items():
            table[names.index(a), names.index(b)] = p
        image = axes.imshow(table, cmap=SIDES, vmin=0, vmax=1, aspect="auto")
        for (a, b), p in better.items():
            mark = (a, b) in shown
            axes.text(
                names.index(b), names.index(a), f"{p:.2f}", ha="center", va="center",
                color="white" if abs(p - 0.5) > 0.36 else style.INK,
                fontweight="bold" if mark else "normal", fontsize=10,
            )  # fmt: skip
        axes.set_xticks(range(n), [f"than {name}" for name in names], rotation=20, ha="right")
        axes.set_yticks(range(n), names)
        axes.tick_params(length=0, labelcolor=style.INK)
        axes.grid(visible=False)
        axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", lw=2)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, shrink=0.9, label="P(row is better)")
        bar.outline.set_visible(False)
        figure.supxlabel("bold: shown (Holm's p below 0.05)", fontsize=9, color=style.MUTED)


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, or only powers of ten where there are many."""
    many = np.log10(high / low) > 2.5
    axis.set_major_locator(LogLocator(10, (1.0,) if many else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _name_ends(
    axes: Axes,
    ends: Mapping[str, float],
    kinds: Mapping[str, Mapping[str, Any]],
    low: float,
    high: float,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Names beside the ends of lines, moved apart where they are close.

    ends: where the lines end, on an axis that runs evenly from low to high.
    """
    span = high - low
    places = style.spread(list(ends.values()), 0.055 * span, low + 0.02 * span, high)
    for (name, end), place in zip(ends.items(), places, strict=True):
        pointer: dict[str, Any] = {"arrowstyle": "-", "color": style.FAINT, "lw": 0.7}
        pointer |= {"relpos": (0, 0.5), "shrinkA": 2, "shrinkB": 0}
        axes.annotate(
            (labels or {}).get(name, name), (1, (end - low) / span), (1.035, (place - low) / span),
            xycoords="axes fraction", textcoords="axes fraction", va="center", fontsize=9.5,
            color=kinds[name]["color"], annotation_clip=False, arrowprops=pointer,
        )  # fmt: skip
