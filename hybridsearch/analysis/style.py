"""The look of every picture: one palette, one set of fonts, and no global state of pyplot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

DPI = 150

# Okabe and Ito 2008, "Color Universal Design": told apart with every kind of colour blindness.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, AMBER, SKY = "#CC79A7", "#E69F00", "#56B4E9"
CYCLE = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
INK, MUTED, FAINT, GRID = "#222222", "#6b6b6b", "#b5b5b5", "#e6e6e6"

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.color": INK,
    "text.parse_math": False,  # formulas hold no TeX, and a lone $ must not fail
    "figure.facecolor": "white",
}


@contextmanager
def figure(path: Path | str | IO[bytes], width: float, height: float) -> Iterator[Figure]:
    """An empty figure, width by height in inches, that is written to `path`, a file's name or a
    file, as a PNG at DPI.
    """
    with mpl.rc_context(RC):
        made = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(made)
        yield made
        made.savefig(path, dpi=DPI, format="png")


def empty(axes: Axes, message: str) -> None:
    """Say in the middle of the axes that there is nothing to show."""
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_axis_off()


def below(axes: Axes, places: Sequence[float], size: float) -> list[Line2D]:
    """Small triangles on the lower edge for what lies below the range; a handle that counts them,
    none where there are none.
    """
    if not places:
        return []
    label = f"below the range ({len(places)})"
    look: dict[str, Any] = {"color": FAINT, "ms": size, "mew": 0, "zorder": 2, "label": label}
    edge = axes.get_xaxis_transform()
    return list(axes.plot(places, [0.012] * len(places), "v", transform=edge, **look))


def shorten(text: str, width: int = 32) -> str:
    """At most `width` characters, with an ellipsis where some are missing."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions in low..high, `gap` apart, in the order of the wanted ones and as near as can be.

    Nearest in least squares: isotonic regression of what is left after the gaps are taken out.
    Where there are too many for the room they stand evenly, closer than `gap`.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    gaps = gap * np.arange(len(wanted))
    free = isotonic_regression(np.asarray(wanted)[order] - gaps).x
    placed = np.empty(len(wanted))
    placed[order] = np.clip(free, low, high - gaps[-1]) + gaps
    return [float(y) for y in placed]
