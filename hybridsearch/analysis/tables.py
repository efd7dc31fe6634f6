"""The result of a run as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hybridsearch.types import Json

SAYS = {
    "better": "better: on test, the winner beats the best baseline",
    "not shown": "not shown: on test, no difference to the best baseline is shown",
    "worse": "worse: on test, the winner is worse than the best baseline",
    "rediscovered": "rediscovered: the winner is one of the baselines",
    "nothing trained": "nothing trained: no function was trained to the end",
}


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def show_summary(summary: dict[str, Json], console: Console) -> None:
    """Print the finalists beside the baselines, the verdict, and what it cost."""
    if summary["finalists"]:
        console.print(_table(summary))
    winner, best = summary["winner"], summary["best_baseline"]
    gap = summary["difference_to_best_baseline"]
    lines = [f"[bold]Verdict: {SAYS[summary['verdict']]}[/bold]"]
    if winner:
        seeds = len(winner["test_scores"])
        lines += [
            f"Winner on validation: {escape(winner['label'])}",
            f"Best baseline on validation: {escape(best['label'])}",
            f"Test accuracy, winner minus best baseline: {100 * gap['mean']:+.2f} points, "
            f"95% interval {100 * gap['low']:+.2f} to {100 * gap['high']:+.2f} "
            f"({seeds} seeds, paired; seeds and test images resampled)",
        ]
    spent = summary["budgets"]
    lines += [
        f"Search ({summary['strategy']}, seed {summary['seed']}): "
        f"{spent['proposals']:,} proposals, "
        f"{spent['distinct']:,} distinct functions evaluated ({spent['trained']:,} trained, "
        f"{spent['cache_hits']:,} from the cache), {spent['rejected']:,} rejected untrained, "
        f"{spent['training_steps']:,} training steps, {spent['seconds']:,.0f} s",
        f"Everything is in {escape(str(summary['folder']))}",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _table(summary: dict[str, Json]) -> Table:
    """One row per function, best on validation first within its group."""
    table = Table(title="Retest on fresh seeds: test accuracy in % (mean, 95% interval)")
    table.add_column("")
    table.add_column("function")
    for heading in ("validation", "test", "low", "high"):
        table.add_column(heading, justify="right")
    winner, best = summary["winner"]["key"], summary["best_baseline"]["key"]
    for group in ("finalists", "baselines"):
        rows = sorted(summary[group], key=lambda row: -row["validation"])
        for row in rows:
            mark = {winner: "winner", best: "best baseline"}.get(row["key"], group[:-1])
            table.add_row(
                mark,
                escape(row["label"]),
                f"{row['validation']:.4f}",
                *(percent(row[name]) for name in ("mean", "low", "high")),
                style="bold" if row["key"] in (winner, best) else None,
            )
        table.add_section()
    return table
