"""Tables 4 and 5 of the paper with what was measured beside what was published."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table as Grid
from scipy.stats import spearmanr

from hybridsearch.evidence.statistics import Interval, bootstrap_median
from hybridsearch.paper.grid import Result
from hybridsearch.paper.published import LABELS, NUMBERS, SETS, TITLES, accuracy, name_of
from hybridsearch.types import Json, seed_for

BESIDE = "ReLU"  # stands beside every set in the paper's tables


@dataclass(frozen=True)
class Entry:
    """A function in a column. published: accuracy in 0..1, None where there is none."""

    result: Result
    published: float | None
    measured: Interval

    @property
    def name(self) -> str:
        return self.result.function.name


@dataclass(frozen=True)
class PaperTable:
    """A data set. columns: network -> entries, all of the same functions in the same order. note:
    what is smaller than in the paper, "" where nothing is.
    """

    data: str
    columns: Mapping[str, Sequence[Entry]]
    seeds: int
    note: str

    @property
    def title(self) -> str:
        scaled = f", scaled down: {self.note}" if self.note else ""
        return (
            f"{TITLES[self.data]}, the paper's table {NUMBERS[self.data]}{scaled}; test accuracy "
            f"in percent, median of {self.seeds} seed(s) with 95% interval"
        )

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in next(iter(self.columns.values()))]


def table_of(
    data: str, results: Mapping[str, Sequence[Result]], seeds: int, note: str, root: int
) -> PaperTable:
    """The table of a data set. results: network -> a result per function. root: seed of the
    bootstrap.
    """
    columns = {}
    for network, rows in results.items():
        rng = np.random.default_rng(seed_for(root, f"paper/{data}/{network}"))
        columns[network] = [
            Entry(row, accuracy(data, network, row.function), _median(row, rng)) for row in rows
        ]
    return PaperTable(data, columns, seeds, note)


def _median(result: Result, rng: np.random.Generator) -> Interval:
    return bootstrap_median(result.test, rng=rng)


def correlations(table: PaperTable) -> Iterator[tuple[str, str, float, int]]:
    """(network, set of functions, Spearman's rank correlation of published and measured, functions)
    where a set has at least four in the table. There is none where all are equal on one side.
    """
    for network, entries in table.columns.items():
        for name, members in SETS.items():
            pairs = [
                (e.published, e.measured.mean)
                for e in entries
                if e.published is not None and name_of(e.result.function) in {*members, BESIDE}
            ]
            if len(pairs) < 4:
                continue
            published, measured = zip(*pairs, strict=True)
            if min(len(set(published)), len(set(measured))) > 1:
                yield network, name, float(spearmanr(published, measured)[0]), len(pairs)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def cell(entry: Entry) -> str:
    """The measured number with its interval, of one seed without."""
    m = entry.measured
    if len(entry.result.test) == 1:
        return percent(m.mean)
    return f"{percent(m.mean)} ({percent(m.low)}-{percent(m.high)})"


def label(network: str) -> str:
    """How a network is headed."""
    return LABELS.get(network, network)


def headings(table: PaperTable) -> list[str]:
    found = []
    for network in table.columns:
        own = "published" if network in LABELS else "published (mean of three)"
        found += [f"{label(network)}: {own}", f"{label(network)}: measured"]
    return found


def rows(table: PaperTable) -> Iterator[list[str]]:
    for place, name in enumerate(table.names):
        cells = []
        for entries in table.columns.values():
            cells += [percent(entries[place].published), cell(entries[place])]
        yield [name, *cells]


def grid(table: PaperTable) -> Grid:
    """For the terminal."""
    made = Grid(title=table.title, title_justify="left", highlight=False)
    made.add_column("function", overflow="fold")
    for heading in headings(table):
        made.add_column(heading, justify="right")
    for row in rows(table):
        made.add_row(*row)
    return made


def markdown(table: PaperTable) -> str:
    columns = ["function", *headings(table)]
    lines = [f"**{table.title}**", "", "| " + " | ".join(columns) + " |"]
    lines.append("|" + "---|" * len(columns))
    lines += ["| " + " | ".join(r.replace("|", "\\|") for r in row) + " |" for row in rows(table)]
    return "\n".join([*lines, "", *words(table)]) + "\n"


def words(table: PaperTable) -> list[str]:
    """What diverged and the rank correlations, in sentences."""
    diverged = [
        f"{label(network)}: {e.name} diverged in {e.result.diverged} of "
        f"{len(e.result.test)} trainings, which count as guessing."
        for network, entries in table.columns.items()
        for e in entries
        if e.result.diverged
    ]
    return diverged + [
        f"{label(network)}, {name}: rank correlation of published and measured "
        f"{value:.2f} over {count} functions."
        for network, name, value, count in correlations(table)
    ]


def to_json(table: PaperTable) -> dict[str, Json]:
    """Accuracies in 0..1."""
    columns: dict[str, Json] = {}
    for network, entries in table.columns.items():
        columns[network] = [
            {
                "function": e.name,
                "spec": e.result.function.spec,
                "key": e.result.function.key,
                "published": e.published,
                "median": _estimate(e.measured),
                "lr": e.result.rate,
                "test": e.result.test.tolist(),
                "validation": e.result.validation.tolist(),
                "seconds": e.result.seconds.tolist(),
                "diverged": e.result.diverged,
            }
            for e in entries
        ]
    found = [
        {"network": network, "functions": name, "spearman": value, "count": count}
        for network, name, value, count in correlations(table)
    ]
    return {"title": table.title, "columns": columns, "rank_correlations": found}


def _estimate(interval: Interval) -> dict[str, float]:
    return {"value": interval.mean, "low": interval.low, "high": interval.high}


def tidy(tables: Sequence[PaperTable]) -> str:
    """All cells as CSV, a training a row."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = ("data", "network", "function", "lr", "replicate", "test_accuracy")
    writer.writerow([*columns, "validation_accuracy", "seconds", "published"])
    for table in tables:
        for network, entries in table.columns.items():
            for e in entries:
                scores = zip(e.result.test, e.result.validation, e.result.seconds, strict=True)
                for k, (test, validation, seconds) in enumerate(scores):
                    start = [table.data, network, e.name, e.result.rate, k]
                    writer.writerow([*start, test, validation, seconds, e.published])
    return text.getvalue()
