"""The pictures of a run: search curve, score against time, best functions, retest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hybridsearch.analysis.plots import (
    RetestRow,
    SearchPoint,
    TimedPoint,
    function_curve,
    plot_found,
    plot_functions,
    plot_pareto,
    plot_retest,
    plot_search,
)
from hybridsearch.analysis.remarks import retested
from hybridsearch.analysis.runs import Run, load_run
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.store.disk import make_folder

SHOWN = 5  # finalists drawn
FOUND = 8  # best functions drawn


def draw_run(folder: str | Path, place: Path | None = None) -> list[Path]:
    """Write the PNGs that the run's records allow into its folder, or into another place, which is
    made where it is needed; returns their paths.
    """
    run = load_run(folder)
    if run.summary is None or not run.distinct:
        return []
    place = run.folder if place is None else place
    make_folder(place)
    made = [_search_curve(run, place)]
    if "pareto" in run.summary:
        made.append(_pareto(run, place))
    if any(float(o["fitness"]) > run.summary["chance"] for o in run.fully_trained):
        made.append(_found(run, place))
    if run.summary["finalists"]:
        made += [_best_functions(run, place), _retest(run, place)]
    return made


def axis(run: Run) -> str:
    """What the fitness of a run is, for an axis."""
    measure = run.measure
    if run.config.fitness == "loss":
        return "minus validation loss" + (" (nats)" if measure.name == "accuracy" else "")
    return ("" if measure.higher else "minus ") + f"validation {measure.name}"


def _what(run: Run) -> str:
    return f"{run.config.label}, {run.config.data.name}, seed {run.config.seed}"


def _search_curve(run: Run, place: Path) -> Path:
    path, top = place / "search_curve.png", run.top
    points = [
        SearchPoint(o["order"], o["fitness"], o["rung"] == top, o["formula"]) for o in run.distinct
    ]
    assert run.summary is not None
    plot_search(
        points,
        path,
        chance=run.summary["chance"],
        title=f"Search: {_what(run)}",
        ylabel=axis(run),
    )
    return path


def _pareto(run: Run, place: Path) -> Path:
    path = place / "pareto.png"
    assert run.summary is not None
    front = {row["key"] for row in run.summary["pareto"]}
    points = [
        TimedPoint(1e9 * o["cost"], o["fitness"], o["formula"], o["key"] in front)
        for o in run.fully_trained
        if o["cost"] is not None
    ]
    plot_pareto(
        points,
        path,
        chance=run.summary["chance"],
        times=run.summary["times"],
        title=f"Score against time: {_what(run)}",
        ylabel=axis(run),
        timed_on=run.summary["timed_on"],
    )
    return path


def _found(run: Run, place: Path) -> Path:
    path = place / "found_functions.png"
    best = sorted(run.fully_trained, key=lambda o: -float(o["fitness"]))
    draw_found(
        [o["function"] for o in best],
        path,
        f"Top functions of the search, before the race: {_what(run)}",
    )
    return path


def draw_found(specs: Sequence[str], path: Path, title: str) -> None:
    """Draw the first of some genomes, the best first. specs: token texts."""
    best = [resolve(spec) for spec in specs[:FOUND]]
    curves = [function_curve(f.genome, f.label) for f in best if isinstance(f.genome, Genome)]
    plot_found(curves, path, title)


def _best_functions(run: Run, place: Path) -> Path:
    path = place / "best_functions.png"
    assert run.summary is not None
    best = [resolve(f["expression"]) for f in run.summary["finalists"][:SHOWN]]
    curves = [function_curve(f.genome, f.label) for f in best if isinstance(f.genome, Genome)]
    plot_functions(curves, path, f"Best functions: {_what(run)}")
    return path


def _retest(run: Run, place: Path) -> Path:
    path = place / "retest.png"
    assert run.summary is not None
    rows = [
        RetestRow(f["label"], f["test_scores"], f["mean"], f["low"], f["high"], kind)
        for kind, f in retested(run.summary)
    ]
    seeds = run.config.retest.seeds
    title = f"Retest on {seeds} fresh seeds: {_what(run)}"
    plot_retest(rows, path, title, run.measure, confidence=run.summary["confidence"])
    return path
