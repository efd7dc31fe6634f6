"""Runs as tidy tables: one row an observation, one column a variable, for pandas.

Every table begins with the columns `run` (the folder's name), `strategy` (with its screen, where
that is not the strategy's own) and `seed`. They take one run or several (`load_run`, `load_runs`),
finished or not. pandas is the extra `notebook`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridsearch.analysis import course
from hybridsearch.analysis.runs import Run
from hybridsearch.analysis.tables import gap_words, sentence
from hybridsearch.evidence.resampling import two_way
from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.extras import need
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.types import Json

if TYPE_CHECKING:
    import pandas as pd

Runs = Run | Sequence[Run]

OF_RUN = ("run", "strategy", "seed")
OF_PROPOSAL = (
    *("id", "batch", "order", "formula", "genome", "key", "proposer", "status", "rung"),
    *("fitness", "reward", "known", "cost", "message"),
)
OF_EVALUATION = (
    *("task", "function", "key", "steps", "training_seed", "split", "status", "loss", "metric"),
    *("seconds", "cached"),
)
OF_TESTED = ("role", "label", "expression", "key", "validation", "mean", "low", "high")
GAP = ("difference", "difference_low", "difference_high")
SPENT = ("proposals", "distinct", "rejected", "training_steps", "seconds")
OF_VERDICT = (
    *("data", "network", "budget", "verdict", "says", "winner", "best_baseline", *GAP, "told"),
    *("incumbent", "incumbent_fitness", *SPENT),
)
DRAWS = 1000  # bootstrap resamples at each point of a band


def verdicts(runs: Runs) -> pd.DataFrame:
    """One row a run, finished or not.

    data, network, budget: what was asked. verdict: "better", "not shown", "worse", "rediscovered"
    or None, and `says` in a sentence. winner, best_baseline: their labels, named on validation.
    difference, difference_low, difference_high: the metric on test data (of classes accuracy, 0..1)
    of the winner less that of the best baseline, with its interval; `told`: the same in words.
    incumbent: the best of the search by its one score, incumbent_fitness. proposals, distinct,
    rejected, training_steps, seconds: what it took.
    """
    return _table(runs, OF_VERDICT, _verdict)


def proposals(runs: Runs) -> pd.DataFrame:
    """One row an outcome, in the order of the run.

    id, batch: of the proposal. order: its place among the distinct functions evaluated, from 1; 0
    for repeats and rejected ones. formula, genome, key: the function. proposer: who made it.
    status: "ok", "rejected", "diverged", "timeout" or "error". rung: the last one reached, -1
    untrained. fitness: higher is better, predicted for what was stopped early. reward: the same
    from chance 0 to perfect 1. known: it was seen before in this run. cost: seconds per element,
    where measured. message: why it was rejected.
    """
    return _table(runs, OF_PROPOSAL, lambda run: iter(run.outcomes))


def evaluations(runs: Runs) -> pd.DataFrame:
    """One row a training, or a look at it on another split, in the order of the run.

    task: its digest. function, key: what was trained. steps: of the optimiser, those of lower rungs
    included. training_seed: of the child. split: "validation", "test", or "time" for a measured
    time. status, loss (of classes in nats), metric (of classes accuracy, 0..1): the result.
    seconds: that it took; cached: not here.
    """
    return _table(runs, OF_EVALUATION, _evaluations)


def finalists(runs: Runs) -> pd.DataFrame:
    """One row a function of the retest: the finalists and the nine baselines of finished runs. A
    finalist that is a baseline found again has one as each, with another role.

    role: "winner" or "finalist", "best baseline" or "baseline". label, expression, key: the
    function. validation: mean score over the fresh seeds, on the scale of the fitness. mean, low,
    high: the metric on test data (of classes accuracy, 0..1) with its interval over seeds and test
    examples.
    """
    return _table(runs, OF_TESTED, _tested)


def retests(runs: Runs) -> pd.DataFrame:
    """One row a function and fresh seed of the retest.

    role, label, key: as in `finalists`. replicate: number of the seed, from 0; the same one of two
    functions of a run was trained with the same seed. validation: score on the scale of the
    fitness. test: the metric on test data.
    """
    return _table(runs, ("role", "label", "key", "replicate", "validation", "test"), _replicates)


def best_so_far(runs: Runs) -> pd.DataFrame:
    """One row a distinct function evaluated.

    functions: how many so far. best: the best fitness of a fully trained one by then; nan before
    there is one.
    """
    return _table(runs, ("functions", "best"), _course)


def bands(runs: Runs, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """One row a strategy and number of functions: `best_so_far` over the runs of the strategy.

    strategy, functions; mean, low, high: of the best so far and its interval over runs, at each
    point by itself; runs: how many. Points that some run of the strategy has not are left out; with
    one run low and high are nan. No column `run` or `seed`.
    """
    pandas = _pandas()
    rows = []
    for strategy, those in _by_strategy(_several(runs)).items():
        curves = [course.best_so_far(run)[1] for run in those]
        length = min(len(curve) for curve in curves)
        values = np.array([curve[:length] for curve in curves])
        for k in np.flatnonzero(np.isfinite(values).all(axis=0)):
            rng = np.random.default_rng(0)  # all points see the same draws
            found = two_way(values[:, k, None], confidence, DRAWS, rng)
            ends = (found.low, found.high) if len(those) > 1 else (np.nan, np.nan)
            rows.append((strategy, int(k) + 1, found.mean, *ends, len(those)))
    return pandas.DataFrame(rows, columns=["strategy", "functions", "mean", "low", "high", "runs"])


def tokens(runs: Runs) -> pd.DataFrame:
    """One row a run and primitive of the paper's table that was proposed.

    token; kind: "unary" or "binary". proposed: share of all proposals that hold it, repeats
    included. trained: share of those trained to the end.
    """
    return _table(runs, ("token", "kind", "proposed", "trained"), _tokens)


def _pandas() -> Any:
    return need("pandas", "notebook", "a table of runs")


def _several(runs: Runs) -> Sequence[Run]:
    return [runs] if isinstance(runs, Run) else runs


def _by_strategy(runs: Iterable[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.config.label, []).append(run)
    return found


def _table(
    runs: Runs, columns: Sequence[str], rows: Callable[[Run], Iterator[dict[str, Json]]]
) -> pd.DataFrame:
    """The rows of all runs; a value that a row has not is None."""
    found = [
        (run.folder.name, run.config.label, run.config.seed, *(row.get(c) for c in columns))
        for run in _several(runs)
        for row in rows(run)
    ]
    return _pandas().DataFrame(found, columns=[*OF_RUN, *columns])


def _verdict(run: Run) -> Iterator[dict[str, Json]]:
    summary = run.summary or {}
    gap = summary.get("difference_to_best_baseline") or {}
    config = run.config
    yield {
        "data": config.data.name,
        "network": config.network.name,
        "budget": config.budget,
        "verdict": summary.get("verdict"),
        "says": sentence(run.summary),
        **{name: (summary.get(name) or {}).get("label") for name in ("winner", "best_baseline")},
        **dict(zip(GAP, (gap.get("mean"), gap.get("low"), gap.get("high")), strict=True)),
        "told": "{} ({})".format(*gap_words(gap, run.measure)) if gap else None,
        **{name: summary.get(name) for name in ("incumbent", "incumbent_fitness")},
        **{name: summary.get("budgets", {}).get(name) for name in SPENT},
    }


def _evaluations(run: Run) -> Iterator[dict[str, Json]]:
    for payload, volatile in run.trials:
        if payload["kind"] == "evaluation":
            split = payload["split"].partition("-")[0]  # of the test split, without its digest
            yield {**payload, **volatile, "split": split, "training_seed": payload["seed"]}


def _tested(run: Run) -> Iterator[dict[str, Json]]:
    summary = run.summary or {}
    if not summary.get("winner"):
        return
    marked = {
        ("finalists", summary["winner"]["key"]): "winner",
        ("baselines", summary["best_baseline"]["key"]): "best baseline",
    }
    for group in ("finalists", "baselines"):
        for row in summary[group]:
            yield {**row, "role": marked.get((group, row["key"]), group[:-1])}


def _replicates(run: Run) -> Iterator[dict[str, Json]]:
    for row in _tested(run):
        both = zip(row["validation_scores"], row["test_scores"], strict=True)
        for number, (validation, test) in enumerate(both):
            yield {**row, "replicate": number, "validation": validation, "test": test}


def _course(run: Run) -> Iterator[dict[str, Json]]:
    for functions, best in zip(*course.best_so_far(run), strict=True):
        yield {"functions": int(functions), "best": float(best)}


def _tokens(run: Run) -> Iterator[dict[str, Json]]:
    proposed = Counter(t for o in run.outcomes for t in {*o["genome"].split()})
    trained = Counter(t for o in run.fully_trained for t in {*o["genome"].split()})
    for kind, names in (("unary", UNARY), ("binary", BINARY)):
        for name in names:
            if proposed[name]:
                yield {
                    "token": name,
                    "kind": kind,
                    "proposed": proposed[name] / len(run.outcomes),
                    "trained": trained[name] / max(1, len(run.fully_trained)),
                }
