"""The questions that a comparison answers: for each a table and a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hybridsearch.analysis.compare_plot import (
    Curve,
    Row,
    plot_curves,
    plot_intervals,
    plot_pairs,
    plot_shares,
)
from hybridsearch.comparison.field import Array
from hybridsearch.comparison.measures import EARLY, MARKS
from hybridsearch.comparison.summary import Runs, Summary, of_runs, rng_for
from hybridsearch.comparison.words import number, spell, verdict
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.strategies import interquartile_means

POINTS = 100  # of a curve: about as many as its width has room for
DRAWS = 1000  # bootstrap resamples of a curve's band, which nobody reads to the digit
FROM = 10  # functions from which curves are shown: before them most runs have hardly anything
STEP_MARKS = (0.1, 0.3, 1.0)  # shares of the training steps at which the table tells the regret
Cell = str | int | float


@dataclass(frozen=True)
class Question:
    """name: of its files. rows: of the table, plain values with ends apart, as CSV wants them;
    shown: the same for people. draw: makes the figure at a path.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    headings: Sequence[str]
    shown: Sequence[Sequence[str]]
    draw: Callable[[Path], None]


def questions(runs: Runs, summary: Summary, unit: str) -> list[Question]:
    """All of them, in the order of the report."""
    return [
        _by_functions(runs, summary, unit),
        _by_steps(runs, summary, unit),
        _until(runs, summary, "evaluations_to_target", "to_target"),
        _until(runs, summary, "evaluations_to_target_as_incumbent", "to_incumbent"),
        _area(summary, unit),
        _top(summary),
        _pairs(summary),
    ]


def _ends(interval: Interval) -> tuple[Cell, Cell, Cell]:
    """value, low, high; empty where beyond the budget."""
    ends = (interval.mean, interval.low, interval.high)
    return tuple(end if np.isfinite(end) else "" for end in ends)  # type: ignore[return-value]


def _kind(what: str, summary: Summary) -> str:
    """What the numbers of a table are; of one seed there is no interval."""
    return f"{what}, 95% interval" if summary.seeds > 1 else "one seed"


def _curves(rows: dict[str, Array], x: Array) -> list[Curve]:
    """rows: strategy -> [seeds, points]; nan from the point on where one of its runs has ended."""
    curves = []
    for name, values in rows.items():
        able = np.isfinite(values).all(axis=0)
        band = interquartile_means([values[:, able]], resamples=DRAWS, rng=rng_for(f"curve/{name}"))
        drawn = [of_runs(point, len(values)) for point in band]
        ends = np.array([[i.mean, i.low, i.high] for i in drawn]).reshape(-1, 3)
        curves.append(Curve(name, x[able], *ends.T))
    return curves


def _by_functions(runs: Runs, summary: Summary, unit: str) -> Question:
    budget = summary.budget
    points = np.unique(np.geomspace(1, budget, POINTS).round().astype(int))
    marks = [m for m in MARKS if m <= budget]
    regret = {n: np.stack([m.regret[points - 1] for m in rows]) for n, rows in runs.items()}
    early = f"mean 1-{min(EARLY, budget)}"
    rows: list[list[Cell]] = []
    shown = []
    for name, s in summary.strategies.items():
        told = {early: s.early, **{f"at {m}": s.at[m] for m in marks}}
        rows += [[name, what, *_ends(i)] for what, i in told.items()]
        shown.append([name, *map(spell, told.values())])

    def draw(path: Path) -> None:
        plot_curves(
            _curves(regret, points.astype(np.float64)),
            path,
            title="True regret of the incumbent over distinct functions",
            xlabel="distinct functions evaluated",
            ylabel=f"true regret, {unit}",
            start=min(FROM, budget / 2),
        )

    return Question(
        "regret_by_functions",
        f"True regret over distinct functions ({unit}; {_kind('interquartile mean', summary)})",
        ["strategy", "after", "value", "low", "high"],
        rows,
        ["strategy", early, *(f"at {m}" for m in marks)],
        shown,
        draw,
    )


def _by_steps(runs: Runs, summary: Summary, unit: str) -> Question:
    least = min(m.steps[-1] for rows in runs.values() for m in rows)
    most = max(m.steps[-1] for rows in runs.values() for m in rows)
    per_function = most / summary.budget
    points = np.geomspace(per_function, most, POINTS)
    at_marks = [share * float(least) for share in STEP_MARKS]

    def at(x: Array) -> dict[str, Array]:
        return {
            name: np.stack([_at_steps(m.regret, m.steps, x) for m in rows])
            for name, rows in runs.items()
        }

    told = _curves(at(np.array(at_marks)), np.array(at_marks))
    rows: list[list[Cell]] = []
    shown = []
    for c in told:
        found = [Interval(*row) for row in np.array([c.value, c.low, c.high]).T.tolist()]
        rows += [
            [c.name, round(x), *_ends(i)]
            for x, i in zip(np.asarray(c.x).tolist(), found, strict=True)
        ]
        shown.append([c.name, *map(spell, found)])

    def draw(path: Path) -> None:
        plot_curves(
            _curves(at(points), points),
            path,
            title="True regret of the incumbent over training steps",
            xlabel="training steps, of all children together",
            ylabel=f"true regret, {unit}",
            start=per_function * min(FROM, summary.budget / 2),
        )

    return Question(
        "regret_by_steps",
        f"True regret over training steps ({unit}; {_kind('interquartile mean', summary)})",
        ["strategy", "training_steps", "value", "low", "high"],
        rows,
        ["strategy", *(f"at {x:,.0f} steps" for x in at_marks)],
        shown,
        draw,
    )


def _at_steps(regret: Array, steps: NDArray[np.int64], x: Array) -> Array:
    """Regret when x steps are spent, by the functions that are done; before the first, that of
    the first; nan when the run has ended before.
    """
    place = np.searchsorted(steps, x, side="right") - 1
    value: Array = np.where(x > steps[-1], np.nan, regret[np.maximum(place, 0)])
    return value


def _until(runs: Runs, summary: Summary, name: str, what: str) -> Question:
    field, budget = summary.field, summary.budget
    events = {
        "to_target": "one of the target set was evaluated",
        "to_incumbent": "one of the target set was the incumbent",
    }
    rows: list[list[Cell]] = []
    shown = []
    for strategy, s in summary.strategies.items():
        median, met = s.times[what], s.met[what]
        rows.append([strategy, *_ends(median), met, summary.seeds - met])
        shown.append([strategy, spell(median), f"{met} of {summary.seeds}"])
    times = {strategy: [getattr(m, what) for m in row] for strategy, row in runs.items()}
    exact: Array | None = None
    if what == "to_target" and field.whole:  # drawn uniformly without repeats
        n = np.minimum(np.arange(1, budget + 1), field.size)
        exact = 1 - stats.hypergeom.pmf(0, field.size, field.target_size, n)
    kind = "evaluated" if what == "to_target" else "the incumbent"

    def draw(path: Path) -> None:
        title = f"Until one of the {field.target_size} best functions was {kind}"
        plot_shares(times, path, budget=budget, title=title, event=events[what], exact=exact)

    return Question(
        name,
        f"Evaluations until {events[what]} ({_kind('median', summary)}; runs in which it was)",
        ["strategy", "median", "low", "high", "met", "censored"],
        rows,
        ["strategy", "median", "runs"],
        shown,
        draw,
    )


def _area(summary: Summary, unit: str) -> Question:
    early = f"mean regret over 1-{min(EARLY, summary.budget)}"
    panels = {
        early: {name: s.early for name, s in summary.strategies.items()},
        f"area over 1-{summary.budget}": {n: s.area for n, s in summary.strategies.items()},
    }

    def draw(path: Path) -> None:
        made = {title: _rows(estimates) for title, estimates in panels.items()}
        label = f"{unit} (area: times evaluations); left is better"
        plot_intervals(made, path, title="Area under true regret", xlabel=label)

    return Question(
        "area_under_regret",
        f"Area under true regret ({unit} times evaluations; interquartile mean)",
        ["strategy", "value", "low", "high"],
        [[name, *_ends(s.area)] for name, s in summary.strategies.items()],
        ["strategy", "area"],
        [[name, spell(s.area)] for name, s in summary.strategies.items()],
        draw,
    )


def _rows(estimates: dict[str, Interval]) -> list[Row]:
    return [Row(name, i.mean, i.low, i.high) for name, i in estimates.items()]


def _top(summary: Summary) -> Question:
    found = {name: s.found for name, s in summary.strategies.items()}
    ks = list(next(iter(found.values())))

    def draw(path: Path) -> None:
        panels = {f"of the {k} best": _rows({n: f[k] for n, f in found.items()}) for k in ks}
        title = f"Distinct functions among the best, after {summary.budget:,} evaluations"
        plot_intervals(panels, path, title=title, xlabel="functions found; right is better")

    return Question(
        "top_functions",
        f"Of the k best functions, evaluated by the end ({summary.budget:,} evaluations; "
        "interquartile mean)",
        ["strategy", "k", "value", "low", "high"],
        [[name, k, *_ends(i)] for name, f in found.items() for k, i in f.items()],
        ["strategy", *(f"of {k}" for k in ks)],
        [[name, *(spell(f[k]) for k in ks)] for name, f in found.items()],
        draw,
    )


def _pairs(summary: Summary) -> Question:
    better: dict[tuple[str, str], float] = {}
    shown: set[tuple[str, str]] = set()
    for p in summary.pairs:
        better |= {(p.a, p.b): p.better.mean, (p.b, p.a): 1 - p.better.mean}
        if "no difference" not in verdict(p):
            shown |= {(p.a, p.b), (p.b, p.a)}

    def draw(path: Path) -> None:
        title = f"Who is better, on the mean regret over 1-{min(EARLY, summary.budget)}"
        plot_pairs(list(summary.strategies), better, shown, path, title=title)

    ends = ("value", "low", "high")
    return Question(
        "pairs",
        f"Pairs, on the mean true regret over 1-{min(EARLY, summary.budget)}; difference a less b",
        [
            *("a", "b", *(f"p_a_better_{e}" for e in ends), "p_holm"),
            *(f"difference_{e}" for e in ends),
        ],
        [[p.a, p.b, *_ends(p.better), p.p, *_ends(p.difference)] for p in summary.pairs],
        ["a", "b", "P(a better)", "Holm's p", "difference", "says"],
        [
            [p.a, p.b, spell(p.better), number(p.p, 2), spell(p.difference), verdict(p)]
            for p in summary.pairs
        ],
        draw,
    )
