"""The picture of the retest: finalists and baselines on fresh seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from hybridsearch.analysis import style
from hybridsearch.analysis.remarks import BOTH
from hybridsearch.types import Measure

BASE = ("best baseline", BOTH)  # what the others are measured by
MARKED = ("winner", "best found", *BASE)


class RetestRow(NamedTuple):
    """One function of the retest. scores: the metric on test data per seed; mean: of them, as it is
    told everywhere; low, high: its interval. kind: as `remarks.retested` has it.
    """

    label: str
    scores: Sequence[float]
    mean: float
    low: float
    high: float
    kind: str


def plot_retest(
    rows: Sequence[RetestRow],
    path: Path | str,
    title: str,
    measure: Measure,
    *,
    confidence: float = 0.95,
) -> None:
    """The metric of finalists and baselines on test data, best mean on top.

    A dot is the mean over seeds, its bar the interval, a faint tick one seed.
    confidence: the level of the intervals, which are shown as they come.
    """
    known = [row for row in rows if len(row.scores)]
    known.sort(key=lambda row: measure.sign * row.mean)
    look = {
        "winner": (style.BLUE, "winner, named on validation"),
        "best found": (style.BLUE, "best found, on validation"),
        "best baseline": (style.ORANGE, "best baseline, on validation"),
        BOTH: (style.ORANGE, "winner and best baseline, one function"),
        "finalist": (style.SKY, "other finalists"),
        "baseline": (style.MUTED, "other baselines"),
    }
    with style.figure(path, 9.0, 1.7 + 0.33 * max(3, len(known))) as figure:
        axes = figure.add_subplot()
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        if not known:
            style.empty(axes, "no function was retested")
            return
        for y, row in enumerate(known):
            color = look[row.kind][0]
            bold = row.kind in MARKED
            if bold:
                axes.axhspan(y - 0.5, y + 0.5, color=color, alpha=0.07, lw=0, zorder=0)
            if row.kind in BASE:
                axes.axvline(row.mean, color=color, lw=1, ls=(0, (4, 3)), alpha=0.8, zorder=1)
            ticks = np.full(len(row.scores), y)
            axes.plot(row.scores, ticks, "|", color=color, ms=9, mew=1, alpha=0.4, zorder=2)
            axes.plot([row.low, row.high], [y, y], color=color, lw=2.6 if bold else 1.8, zorder=3)
            axes.plot(row.mean, y, "o", color=color, ms=8 if bold else 6, mec="white", zorder=4)
            axes.annotate(
                measure.words(row.mean), (1.01, y), xycoords=("axes fraction", "data"), va="center",
                fontsize=9, color=style.INK if bold else style.MUTED,
                fontweight="bold" if bold else "normal",
            )  # fmt: skip
        axes.set_yticks(range(len(known)), [style.shorten(row.label, 40) for row in known])
        for text, row in zip(axes.get_yticklabels(), known, strict=True):
            if row.kind in MARKED:
                text.set(color=look[row.kind][0], fontweight="bold")
        axes.set(
            ylim=(-0.6, len(known) - 0.4),
            xlabel=f"test {measure.name}: mean of the seeds, {100 * confidence:g}% interval",
        )
        if measure.name == "accuracy":
            axes.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.6g}%")
        axes.margins(x=0.04)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        kinds = [kind for kind in look if any(row.kind == kind for row in known)]
        handles = [
            Line2D([], [], color=look[k][0], marker="o", ms=6, lw=2, mec="white", label=look[k][1])
            for k in kinds
        ]
        handles.append(
            Line2D([], [], color=style.MUTED, marker="|", ms=9, ls="", alpha=0.6, label="one seed")
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
