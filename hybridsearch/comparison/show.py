"""The result of a comparison on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from hybridsearch.comparison.measures import EARLY
from hybridsearch.comparison.summary import Summary
from hybridsearch.comparison.words import ONE_SEED, chance_of, number, spell, verdict


def show_comparison(summary: Summary, folder: Path, console: Console) -> None:
    """Print a row a strategy, the target set, and what is shown of the pairs."""
    field, last = summary.field, max(next(iter(summary.strategies.values())).at, default=0)
    early = f"mean regret 1-{min(EARLY, summary.budget)}"
    kinds = "interquartile means, medians, 95% intervals" if summary.seeds > 1 else ONE_SEED
    table = Table(
        title=f"{summary.seeds} seed(s) each, {summary.budget:,} distinct functions a run; {kinds}",
        title_justify="left",
    )
    headings = ["strategy", early, *([f"regret at {last}"] if last else []), "until target"]
    for heading in (*headings, "until top 1%"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for name, s in summary.strategies.items():
        late = [spell(s.at[last])] if last else []
        times = [spell(s.times[what]) for what in ("to_target", "to_good")]
        table.add_row(name, spell(s.early), *late, *times)
    console.print(table)
    expected = field.random_expectation
    lines = [
        f"Target set: {field.target_size} of {field.size:,} functions; "
        + (
            f"uniform draws meet one after {number(expected)} on average, exactly (N+1)/(m+1)"
            if expected is not None
            else "of those that the runs evaluated; how many there are is not known"
        ),
        f"Truth: {field.source}",
    ]
    lines += pair_lines(summary)
    lines.append(f"Figures, tables and what is not shown: {folder / 'README.md'}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def pair_lines(summary: Summary) -> list[str]:
    """What is shown of every pair of strategies, a line each."""
    note = "" if summary.seeds > 1 else f"; {ONE_SEED}"
    return [
        f"{verdict(pair)}: {chance_of(pair)}, Holm's p {pair.p:.2g}{note}" for pair in summary.pairs
    ]
