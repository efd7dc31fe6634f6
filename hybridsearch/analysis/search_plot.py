"""The picture of a search: every function tried, the best so far, and what it has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from hybridsearch.analysis import style

LABELS = 4  # incumbents whose formulas are written


@dataclass(frozen=True)
class SearchPoint:
    """One distinct function that was trained.

    index: the how-manieth distinct function of the run, from 1. fitness: higher is better, on the
    scale of the top rung (predicted where `top`, fully trained, is false). formula: its text.
    """

    index: int
    fitness: float
    top: bool
    formula: str


def plot_search(
    points: Sequence[SearchPoint],
    path: Path | str,
    *,
    chance: float,
    baselines: Mapping[str, float] | None = None,
    title: str,
    ylabel: str = "fitness on validation data",
) -> None:
    """Fitness over the number of distinct functions, as a PNG of 10 by 5.6 inches at 150 dpi.

    A dot a function, dark where fully trained, light where stopped early; the bold line is the
    best fully trained one so far, with the formulas of its last improvements. The y-range shows
    the upper part; what lies below stands on the lower edge and is counted in the legend.
    chance: the fitness of a child that learned nothing. baselines: fitness by name. Leave out
    rejected proposals; points whose fitness is not finite are left out here.
    """
    known = sorted((p for p in points if np.isfinite(p.fitness)), key=lambda p: p.index)
    lines = {k: v for k, v in (baselines or {}).items() if np.isfinite(v)}
    with style.figure(path, 10, 5.6) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        if not known:
            style.empty(axes, "no function was trained")
            return
        best = _improvements(known)
        leader = best[-1].fitness if best else chance
        low, high = view([p.fitness for p in known], leader, chance, list(lines.values()))
        named = [p for p in best if p.fitness >= low][-LABELS:]
        room = 0.075 * len(named) + 0.03  # share of the height kept for formulas
        last = max(p.index for p in known)
        axes.set(
            xlim=(0, last + max(0.5, 0.01 * last)),
            ylim=(low, high + (high - low) * room / (1 - room)),
            xlabel="distinct functions evaluated",
            ylabel=ylabel,
        )
        axes.set_yticks([y for y in MaxNLocator(7).tick_values(low, high) if low <= y <= high])
        axes.spines["left"].set_bounds(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        handles = _dots(axes, known, low + 0.02 * (high - low))
        if best:
            steps = [*best, SearchPoint(last, best[-1].fitness, True, "")]
            x, y = [p.index for p in steps], [p.fitness for p in steps]
            handles += axes.plot(
                x,
                y,
                drawstyle="steps-post",
                color=style.ORANGE,
                lw=2.4,
                zorder=5,
                label="best so far",
            )
        if low < chance < high:
            axes.axhline(chance, color=style.MUTED, lw=1, ls=":", zorder=1)
            lines["chance"] = chance
        _name_levels(axes, {k: v for k, v in lines.items() if v >= low}, low, high)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.draw_without_rendering()  # places the axes, so that texts can be measured
        _name_incumbents(figure, axes, named, high)


def view(
    fitness: list[float], best: float, chance: float, baselines: list[float]
) -> tuple[float, float]:
    """The range of fitness worth showing.

    From the median of what beats chance clearly, though never so low that the top third of the
    functions is squeezed into less than about a third of the height; the best fully trained one
    and the baselines stay in view. Where nothing beats chance, from there.
    """
    values = np.array(fitness)
    ceiling = max(float(values.max()), *baselines, chance)
    alive = values[values > chance + 0.05 * (values.max() - chance)]
    if len(alive):
        median, third, tenth = (float(q) for q in np.quantile(alive, (0.5, 2 / 3, 0.9)))
        low = min(tenth, max(median, ceiling - 3 * (ceiling - third)))
        low = min([low, *(v for v in (*baselines, best) if v > chance)])
    else:
        low = chance
    least = 0.001 if len(alive) else 0.1  # of the level, lest a flat run looks rugged
    span = max(ceiling - low, least * abs(ceiling), 1e-6)
    return ceiling - 1.08 * span, ceiling + 0.04 * span


def _improvements(points: Sequence[SearchPoint]) -> list[SearchPoint]:
    """The fully trained points that were better than all fully trained ones before."""
    best: list[SearchPoint] = []
    for point in points:
        if point.top and (not best or point.fitness > best[-1].fitness):
            best.append(point)
    return best


def _dots(axes: Axes, points: Sequence[SearchPoint], low: float) -> list[Line2D]:
    """Draw the functions; those below `low` as small triangles on the edge."""
    size = 6.0 if len(points) <= 60 else 4.5  # points of 1/72 inch
    groups: tuple[tuple[str, bool, dict[str, Any]], ...] = (
        ("fully trained", True, {"color": style.BLUE, "alpha": 0.65, "ms": size}),
        ("stopped early (predicted)", False, {"color": style.SKY, "alpha": 0.6, "ms": 0.8 * size}),
    )
    handles: list[Line2D] = []
    for label, top, look in groups:
        chosen = [(p.index, p.fitness) for p in points if p.top is top and p.fitness >= low]
        if chosen:
            x, y = zip(*chosen, strict=True)
            handles += axes.plot(x, y, "o", mew=0, zorder=3, label=label, **look)
    return handles + style.below(axes, [p.index for p in points if p.fitness < low], 3.5)


def _name_levels(axes: Axes, levels: Mapping[str, float], low: float, high: float) -> None:
    """Thin lines across, named in the right margin, the names moved apart where they are close."""
    pointer: dict[str, Any] = {
        "arrowstyle": "-",
        "color": style.FAINT,
        "lw": 0.7,
        "relpos": (0, 0.5),
    }
    pointer |= {"shrinkA": 2, "shrinkB": 0}
    names = sorted(levels, key=levels.__getitem__)
    bottom, top = axes.get_ylim()
    places = style.spread([levels[n] for n in names], 0.042 * (top - bottom), low, top)
    for name, place in zip(names, places, strict=True):
        if name != "chance":
            axes.axhline(levels[name], color=style.MUTED, lw=0.8, alpha=0.45, zorder=1)
        axes.annotate(
            style.shorten(name, 18), (1, levels[name]), (1.035, place),
            xycoords=("axes fraction", "data"), textcoords=("axes fraction", "data"),
            va="center", fontsize=8.5, color=style.MUTED, annotation_clip=False,
            arrowprops=pointer,
        )  # fmt: skip


def _name_incumbents(figure: Figure, axes: Axes, best: Sequence[SearchPoint], high: float) -> None:
    """Formulas above the data, a row each, with a line down to their steps.

    Rows and alignments are those, of all, whose lines cross the fewest other formulas.
    """
    if not best:
        return
    frame = axes.get_window_extent()
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
    texts: list[Text] = [
        axes.text(0, 0, style.shorten(p.formula), fontsize=8.5, color=style.INK, bbox=box, zorder=7)
        for p in best
    ]
    widths = [text.get_window_extent().width / frame.width + 0.012 for text in texts]
    at = [float(axes.transLimits.transform((p.index, 0))[0]) for p in best]

    def left_ends(shares: Sequence[float]) -> list[float]:
        return [
            min(max(x - share * w, 0.005), max(0.005, 0.998 - w))
            for x, share, w in zip(at, shares, widths, strict=True)
        ]

    def crossings(rows: Sequence[int], starts: Sequence[float]) -> float:
        n = len(best)
        return sum(
            starts[j] - 0.01 < at[i] < starts[j] + widths[j] + 0.01
            for i in range(n)
            for j in range(n)
            if rows[j] < rows[i]
        ) + 0.01 * sum(row * (n - i) for i, row in enumerate(rows))  # and late ones on top

    rows, starts = min(
        (
            (rows, left_ends(shares))
            for rows in permutations(range(len(best)))
            for shares in product((0.0, 1.0, 0.5), repeat=len(best))
        ),
        key=lambda choice: crossings(*choice),
    )
    top = axes.get_ylim()[1]
    for text, point, row, start in zip(texts, best, rows, starts, strict=True):
        y = high + (row + 0.6) / len(best) * (top - high)
        text.set(position=(start + 0.006, y), transform=axes.get_yaxis_transform(), va="center")
        x = [point.index, point.index]
        axes.plot(x, [point.fitness, y], color=style.ORANGE, lw=0.8, alpha=0.7, zorder=4)
        axes.plot(point.index, point.fitness, "o", color=style.ORANGE, mec="white", ms=7, zorder=6)
