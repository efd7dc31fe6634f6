"""Is it the function, or the learning rate? Winner and baselines, each at the rate that suits it.

A run trains every function at one rate, and a function with another slope or scale acts like
another rate. So winner and baselines are trained at several: validation data, on the seeds of the
retest, name the rate of each and the best baseline, and the two are compared on the seeds of the
duel, which have named neither a function nor a rate. What the run has trained comes from the cache.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from hybridsearch.analysis.runs import LOG, RATES, Run, load_run
from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evidence.statistics import paired_difference, verdict
from hybridsearch.genome.function import Function, baselines
from hybridsearch.observe import Observer, Silent
from hybridsearch.recorder import Recorder
from hybridsearch.retest import replicates, tested
from hybridsearch.session import CHILDREN
from hybridsearch.store.cache import Cache
from hybridsearch.store.disk import hold, write_json
from hybridsearch.store.folders import cache_of
from hybridsearch.store.log import RunLog
from hybridsearch.types import Json, seed_for

Scores = dict[str, float]  # by key
FACTORS = (1 / 3, 1.0, 3.0)  # of the run's rate
STEP = 3.0  # from the highest rate to the next, where one of the two is best at it
FURTHER = 3  # rates beyond an edge that are tried at most


def own_rates(
    folder: str | Path, factors: Sequence[float] = FACTORS, observer: Observer | None = None
) -> dict[str, Json]:
    """Compare the winner of a finished run with the best baseline, each at its own learning rate;
    returns what is written to `rates.json` in the run's folder.

    factors: of the run's rate; 1 is always among them. Where one of the two is best at the lowest
    or the highest rate, up to FURTHER are tried beyond. Every rate takes ten functions' trainings
    from as many seeds as the retest has; the comparison takes those of two.
    Raises: UserError when the run has no winner that is no baseline, or for a factor that is none.
    """
    run, observer = load_run(folder), observer or Silent()
    winner = _winner(run)
    config = run.config.model_copy(update={"cache": str(cache_of(run.config.cache, run.folder))})
    with hold(run.folder):
        found = compare_rates(config, run.folder / CHILDREN, winner, factors, observer)
        write_json(run.folder / RATES, found)
    return found


def _winner(run: Run) -> Function:
    """Raises: UserError where there is none to compare."""
    if run.config.table is not None:
        raise UserError(f"{run.folder} searched a recorded table, which knows one learning rate")
    if run.summary is None:
        raise UserError(f"{run.folder} is not finished; go on with `resume`, then ask again")
    if not run.summary["winner"]:
        raise UserError(f"{run.folder} has no winner: {run.summary['verdict']}")
    winner = run.tested(run.summary["winner"])
    if winner.key in {f.key for f in baselines()}:
        raise UserError(f"{run.folder}: the winner is one of the baselines")
    return winner


def _rates(own: float, factors: Sequence[float]) -> list[float]:
    """The rates to try, rising. Raises: UserError for a factor that makes none."""
    if wrong := [f for f in factors if not 0 < f < inf]:
        raise UserError(f"--factors: expected numbers above 0, got {wrong[0]:g}")
    return sorted({own, *(float(f"{own * f:.6g}") for f in factors if f != 1)})


def compare_rates(
    config: Config, children: Path, winner: Function, factors: Sequence[float], observer: Observer
) -> dict[str, Json]:
    """As `own_rates`, of a function that a search with this config has named. children: folder for
    checkpoints.
    """
    own, retest = config.training.lr, config.retest
    functions = [winner, *baselines()]
    found: dict[float, Scores] = {}
    new, further = _rates(own, factors), FURTHER
    while new:
        for rate in new:
            observer.stage(f"learning rate {rate:g}", len(functions) * retest.seeds)
            found[rate] = _validation(config, children, functions, rate, observer)
        # Of equal ones the run's own rate, then the lower one.
        order = sorted(found, key=lambda rate: (rate != own, rate))
        best = {f.key: max(order, key=lambda rate: found[rate][f.key]) for f in functions}
        baseline = max(functions[1:], key=lambda f: found[best[f.key]][f.key])
        new = _beyond(found, {best[winner.key], best[baseline.key]})[:further]
        further -= len(new)

    values: list[NDArray[np.float64]] = []
    for function in (winner, baseline):
        with _trained_at(config, children, best[function.key]) as recorder:
            tasks = replicates(config, recorder, (function,), retest.further)
            observer.stage(f"comparison: {function.label}", retest.seeds)
            values.append(tested(config, recorder, tasks, tasks, observer)[function.key])
            recorder.evaluator.forget()
            measure = recorder.evaluator.measure
    least, most = measure.bounds
    difference = paired_difference(
        *_alike(values),
        confidence=retest.confidence,
        resamples=retest.resamples,
        rng=np.random.default_rng(seed_for(config.seed, "rates")),
        bounds=(least - most, most - least),
    )

    def told(function: Function) -> dict[str, Json]:
        key = function.key
        row = {"label": function.label, "expression": function.name, "key": key}
        return row | {"validation": [found[rate][key] for rate in rates], "rate": best[key]}

    def compared(function: Function, each: NDArray[np.float64]) -> dict[str, Json]:
        scores = [float(row.mean()) for row in each]
        return {**told(function), "test_scores": scores, "mean": float(np.mean(scores))}

    rates = sorted(found)
    return {
        "rates": rates,
        "own": own,
        "seeds": retest.seeds,
        "baselines": [told(f) for f in functions[1:]],
        "winner": compared(winner, values[0]),
        "best_baseline": compared(baseline, values[1]),
        "metric": vars(measure),
        "fitness": config.fitness,
        "confidence": retest.confidence,
        "difference": vars(difference),
        "verdict": verdict(difference, rediscovered=False, higher=measure.higher),
    }


def _beyond(tried: Collection[float], best: Container[float]) -> list[float]:
    """The next rates where one of the best is the lowest or the highest of those tried."""
    low, high = min(tried), max(tried)
    new = [float(f"{low / STEP:.6g}")] if low in best else []
    return [*new, float(f"{high * STEP:.6g}")] if high in best else new


def _validation(
    config: Config,
    children: Path,
    functions: Sequence[Function],
    rate: float,
    observer: Observer,
) -> Scores:
    """The mean validation score of every function at a rate."""
    with _trained_at(config, children, rate) as recorder:
        rows = replicates(config, recorder, functions, config.retest.first)
        tasks = [task for row in rows.values() for task in row]
        done = recorder.evaluate(tasks, progress=observer.advance, needed=rows)
        recorder.evaluator.forget()
        score = recorder.evaluator.scale.score
        return {k: float(np.mean([score(done[t.hash]) for t in row])) for k, row in rows.items()}


@contextmanager
def _trained_at(config: Config, children: Path, rate: float) -> Iterator[Recorder]:
    """What trains at a rate, into the config's cache. The log of a run is left alone: it holds what
    made the run, in that order.
    """
    training = config.training.model_copy(update={"lr": rate})
    assert config.cache is not None
    with ExitStack() as stack:
        changed = config.model_copy(update={"training": training})
        evaluator = TrainingEvaluator(changed, children)
        stack.callback(evaluator.close)
        cache = Cache(Path(config.cache))
        stack.callback(cache.close)
        log = RunLog(Path(stack.enter_context(TemporaryDirectory()), LOG))
        stack.callback(log.close)
        evaluator.calibrate()
        yield Recorder(log, cache, evaluator)


def _alike(values: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Matrices of one shape: of a function of which every training has diverged it is not known how
    many numbers a metric of the user's gives.
    """
    if len({v.shape for v in values}) == 1:
        return values
    return [v.mean(axis=1, keepdims=True) for v in values]
