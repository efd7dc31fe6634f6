"""A benchmark on the terminal: the estimate, progress, then the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from hybridsearch.config import Config
from hybridsearch.paper.layout import grid, words
from hybridsearch.paper.run import TEXT, Asked, Estimate, benchmark, estimate
from hybridsearch.progress import Display


def run_and_show(
    asked: Asked, settings: Config, folder: Path, only_estimate: bool, console: Console
) -> int:
    """Estimate, train what is missing, print; returns the exit status."""
    found = estimate(asked, settings, folder, whole=only_estimate)
    console.print(f"Folder of the benchmark: {escape(str(folder))}", highlight=False)
    if found:
        console.print(estimates(found))
    else:
        console.print("all is trained already", highlight=False)
    if only_estimate:
        return 0
    try:
        with Display(console) as display:
            tables = benchmark(asked, settings, folder, display)
    except KeyboardInterrupt:
        console.print("\nStopped; finished trainings are kept. Continue with the same command.")
        return 130
    for table in tables:
        console.print(grid(table))
        console.print("\n".join(words(table)), highlight=False)
    console.print(f"Tables and all cells: {escape(str(folder / TEXT))}", highlight=False)
    return 0


def lasting(hours: float) -> str:
    """A time for people."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"


def estimates(found: Sequence[Estimate]) -> Grid:
    """What is left to train and what it takes."""
    title = "Still to be trained; ~: foretold from a smaller step"
    padding = (0, 1, 0, 0)  # so that a thousand hours fit into 80 columns
    made = Grid(title=title, title_justify="left", highlight=False, padding=padding)
    headings = ("data", "network", "to train", "steps", "s/step", "s/1000 scored")
    for heading in (*headings, "memory", "takes"):
        made.add_column(
            heading,
            justify="left" if heading in headings[:2] else "right",
            no_wrap=" " not in heading,
        )
    for one in found:
        c, about = one.cost, "" if one.cost.measured else "~"
        memory = "-" if c.peak is None else f"{c.peak / 1e9:.2f} GB"
        row = (one.column.data, one.column.network, f"{one.trainings:,}", f"{one.steps:,}")
        scored = f"{1000 * c.evaluation / c.evaluated:.3g}"
        made.add_row(*row, f"{about}{c.step:.3g}", scored, memory, lasting(one.hours))
    total = sum(one.hours for one in found)
    made.caption = (
        f"{lasting(total)} in all on {found[0].workers} worker(s) here; batches of "
        + " and ".join(str(b) for b in sorted({one.cost.batch for one in found}))
        + ", measured with ReLU on one thread (or one GPU)"
    )
    return made
