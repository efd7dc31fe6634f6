"""The picture of score against time: every fully trained function, and those that none beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from hybridsearch.analysis import style
from hybridsearch.analysis.search_plot import view

ROW = 0.05  # of the height, for one formula
FEW = 12  # points that are all shown


class TimedPoint(NamedTuple):
    """A fully trained function. nanoseconds: per element; fitness: higher is better; front:
    whether no other one beats it.
    """

    nanoseconds: float
    fitness: float
    formula: str
    front: bool


def plot_pareto(
    points: Sequence[TimedPoint],
    path: Path | str,
    *,
    chance: float,
    times: Mapping[str, float | None],
    title: str,
    ylabel: str,
    timed_on: str,
) -> None:
    """Fitness over nanoseconds per element (logarithmic), as a PNG of 10 by 5.6 inches.

    The front is a stepped line: the best score to be had in at most that time. Its functions are
    named to their left, where by its meaning no other one is. What lies below the range stands on
    the lower edge, and is counted in the legend. chance: the fitness of a child that learned
    nothing. times: of known functions, thin vertical lines. timed_on: what was measured.
    """
    known = [p for p in points if math.isfinite(p.fitness) and 0 < p.nanoseconds < math.inf]
    with style.figure(path, 10, 5.6) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        if not known:
            style.empty(axes, "no function was timed")
            return
        low, high = _range(known, chance)
        shown = low + 0.015 * (high - low)
        front = sorted((p for p in known if p.front and p.fitness >= shown), key=lambda p: p[:2])
        marks = {name: t for name, t in times.items() if t is not None and t > 0}
        span = [p.nanoseconds for p in known] + list(marks.values())
        axes.set(
            xscale="log",
            xlim=(min(span) / 1.1, max(span) * 1.15),
            ylim=(low, high),
            ylabel=ylabel,
            xlabel=f"nanoseconds per element, forward and backward ({timed_on})",
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        axes.yaxis.set_major_locator(MaxNLocator(7))
        handles = _dots(axes, known, shown)
        handles += _front(axes, front, low)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.draw_without_rendering()  # places the axes, so that texts can be measured
        _name_front(axes, front)
        _name_times(axes, marks)


def _range(points: Sequence[TimedPoint], chance: float) -> tuple[float, float]:
    """The range of fitness worth showing: as in the picture of the search, but with all of the
    front that learned something, which is the subject; and with everything, where that is little.
    """
    best = max(p.fitness for p in points)
    low, high = view([p.fitness for p in points], best, chance, [])
    shown = [p.fitness for p in points if p.front or len(points) <= FEW]
    shown = [fitness for fitness in shown if fitness > chance + 0.05 * (best - chance)]
    return min([low, *(fitness - 0.04 * (high - fitness) for fitness in shown)]), high


def _dots(axes: Axes, points: Sequence[TimedPoint], low: float) -> list[Line2D]:
    """Draw the functions; those below `low` as small triangles on the edge."""
    others = [p for p in points if p.fitness >= low and not p.front]
    handles: list[Line2D] = []
    if others:
        handles += axes.plot(
            [p.nanoseconds for p in others], [p.fitness for p in others], "o", color=style.BLUE,
            alpha=0.55, ms=5, mew=0, zorder=3, label="fully trained",
        )  # fmt: skip
    return handles + style.below(axes, [p.nanoseconds for p in points if p.fitness < low], 4)


def _front(axes: Axes, front: Sequence[TimedPoint], low: float) -> list[Line2D]:
    """The stepped line of the best score within a time, from the edge below to the edge right."""
    if not front:
        return []
    x = [front[0].nanoseconds, *(p.nanoseconds for p in front), axes.get_xlim()[1]]
    y = [low, *(p.fitness for p in front), front[-1].fitness]
    axes.plot(x, y, drawstyle="steps-post", color=style.ORANGE, lw=1.8, zorder=4)
    axes.plot(x[1:-1], y[1:-1], "o", color=style.ORANGE, mec="white", ms=7.5, zorder=6)
    look: dict[str, Any] = {"color": style.ORANGE, "lw": 1.8, "marker": "o", "mec": "white"}
    return [Line2D([], [], ms=7.5, label="Pareto front: none is as good in less time", **look)]


def _name_times(axes: Axes, times: Mapping[str, float]) -> None:
    """Thin vertical lines, named above the axes, the names moved apart where they are close."""
    names = sorted(times, key=times.__getitem__)
    left, right = (math.log(x) for x in axes.get_xlim())
    at = [(math.log(times[name]) - left) / (right - left) for name in names]
    for name, place in zip(names, style.spread(at, 0.07, 0.02, 0.98), strict=True):
        axes.axvline(times[name], color=style.MUTED, lw=0.9, ls=(0, (4, 3)), alpha=0.7, zorder=1)
        axes.annotate(
            name, (times[name], 1), (place, 1.045), xycoords=("data", "axes fraction"),
            textcoords="axes fraction", ha="center", fontsize=8.5, color=style.MUTED,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style.FAINT, "lw": 0.7, "shrinkB": 0},
        )  # fmt: skip


def _name_front(axes: Axes, front: Sequence[TimedPoint]) -> None:
    """Formulas left of their points or, where rows are taken, further up: nothing else is there."""
    if not front:
        return
    low, high = axes.get_ylim()
    row = ROW * (high - low)
    rows: list[float] = []
    for point in front:
        rows.append(max(point.fitness, rows[-1] + row if rows else -math.inf))
    top = max(high, rows[-1] + 0.6 * row)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    texts: list[Text] = [
        axes.text(0, 0, style.shorten(p.formula, 44), fontsize=8.5, bbox=box, zorder=5)
        for p in front
    ]
    frame = axes.get_window_extent()
    needed = [text.get_window_extent().width / frame.width + 0.025 for text in texts]
    left, right = (math.log(x) for x in axes.get_xlim())
    for point, width in zip(front, needed, strict=True):  # room for the cheapest one's name
        at = math.log(point.nanoseconds)
        left = min(left, (at - min(width, 0.8) * right) / (1 - min(width, 0.8)))
    axes.set(xlim=(math.exp(left), math.exp(right)), ylim=(low, top))
    gap = math.exp(0.012 * (right - left))
    for text, point, y in zip(texts, front, rows, strict=True):
        x = point.nanoseconds / gap
        text.set(position=(x, y), ha="right", va="center", color=style.INK)
        if y > point.fitness:
            ends = [x, point.nanoseconds], [y, point.fitness]
            axes.plot(*ends, color=style.ORANGE, lw=0.7, alpha=0.6, zorder=4)
