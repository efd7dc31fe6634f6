"""The pictures that only a report has; those of a run are in `analysis`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from hybridsearch.analysis import style
from hybridsearch.analysis.compare_plot import looks
from hybridsearch.analysis.course import Floats, Windowed

SHADES = LinearSegmentedColormap.from_list("shades", ("#ffffff", style.SKY, style.BLUE, "#00263d"))


def plot_best_so_far(
    runs: Mapping[str, tuple[Floats, Floats]], path: Path, title: str, ylabel: str
) -> None:
    """The best fitness so far over distinct functions, a line a run; 9 by 4.8 inches.

    The range leaves out the first tenth of the functions, in which every line rises steeply.
    """
    with style.figure(path, 9, 4.8) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.add_subplot()
        shown = {name: xy for name, xy in runs.items() if np.isfinite(xy[1]).any()}
        if not shown:
            style.empty(axes, "no function was trained to the end")
            return
        levels = []
        for name, look in looks(list(shown)).items():
            x, y = shown[name]
            axes.plot(x, y, lw=2, drawstyle="steps-post", label=name, **look)
            levels.append(y[len(y) // 10 :][np.isfinite(y[len(y) // 10 :])])
        every = np.concatenate(levels)
        low, high = float(every.min()), float(every.max())
        air = 0.06 * max(high - low, 1e-4)
        axes.set(ylim=(low - air, high + air), xlabel="distinct functions evaluated", ylabel=ylabel)
        axes.set_xlim(0, max(float(x[-1]) for x, _ in shown.values()))
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        figure.legend(loc="outside lower center", ncols=min(4, len(shown)))


def plot_token_shares(shares: Windowed, groups: Sequence[Sequence[str]], path: Path) -> None:
    """A heat map: how often the controller's proposals hold each function, over its course. groups:
    names that belong together, each a panel; within it the most frequent at the end comes first.
    """
    sizes = [len(group) for group in groups]
    with style.figure(path, 9, 1.4 + 0.21 * sum(sizes)) as figure:
        figure.suptitle(
            "Share of the controller's proposals that hold a function",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        panels = figure.subplots(len(groups), 1, sharex=True, height_ratios=sizes, squeeze=False)
        image = None
        top = max(float(values.max()) for values in shares.values.values())
        for axes, group in zip(panels[:, 0], groups, strict=True):
            last = len(shares.at) // 3 or 1
            names = sorted(group, key=lambda n: -float(shares.values[n][-last:].mean()))
            image = axes.imshow(
                np.array([shares.values[name] for name in names]),
                aspect="auto",
                cmap=SHADES,
                vmin=0,
                vmax=top,
                interpolation="nearest",
            )
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.grid(visible=False)
            axes.tick_params(length=0)
        places = np.unique(np.linspace(0, len(shares.at) - 1, 7).round().astype(int))
        bottom = panels[-1, 0]
        bottom.set_xticks(places, [f"{shares.at[k]:.0f}" for k in places])
        bottom.set_xlabel("proposals of the controller")
        assert image is not None
        figure.colorbar(image, ax=panels[:, 0], format="{x:.0%}", shrink=0.5, pad=0.02)


def plot_diversity(runs: Mapping[str, Windowed], path: Path) -> None:
    """Two panels over proposals: how many are new, and how many kinds of functions they use."""
    with style.figure(path, 9, 4) as figure:
        figure.suptitle(
            "Diversity of what was proposed", x=0.01, ha="left", fontsize=12, fontweight="bold"
        )
        left, right = figure.subplots(1, 2)
        handles = []
        for name, look in looks(list(runs)).items():
            found = runs[name]
            handles += left.plot(found.at, found.values["new functions"], lw=2, label=name, **look)
            right.plot(found.at, found.values["effective tokens"], lw=2, **look)
        left.set(ylim=(0, 1.03), xlabel="proposals")
        left.yaxis.set_major_formatter("{x:.0%}")
        right.set(xlabel="proposals")
        right.set_ylim(bottom=0)
        left.set_title("new to the run", fontweight="normal", fontsize=10)
        right.set_title("effective number of functions used", fontweight="normal", fontsize=10)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
