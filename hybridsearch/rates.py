"""Is it the function, or the learning rate? Winner and baselines, each at the rate that suits it.

A run trains every function at one rate, and a function with another slope or scale acts like
another rate. So winner and baselines are trained at several: validation data, on the seeds of the
retest, name the rate of each and the best baseline, and the two are compared on the seeds of the
duel, which have named neither a function nor a rate. What the run has trained comes from the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

FACTORS = (1 / 3, 1.0, 3.0)  # of the run's rate


def own_rates(
    folder: str | Path, factors: Sequence[float] = FACTORS, observer: Observer | None = None
) -> dict[str, Json]:
    """Compare the winner of a finished run with the best baseline, each at its own learning rate;
    returns what is written to `rates.json` in the run's folder.

    factors: of the run's rate; 1 is always among them. Every further one takes ten functions'
    trainings from as many seeds as the retest has; the comparison takes those of two.
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
        raise UserError(f"{run.folder} has no winner: nothing was trained to the end")
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
    rates, retest = _rates(config.training.lr, factors), config.retest
    functions = [winner, *baselines()]
    scores = _validation(config, children, functions, rates, observer)
    # Of equal ones the run's own rate, then the lower one.
    order = sorted(range(len(rates)), key=lambda k: (rates[k] != config.training.lr, k))
    best = {key: max(order, key=row.__getitem__) for key, row in scores.items()}
    baseline = max(functions[1:], key=lambda f: scores[f.key][best[f.key]])

    values: list[NDArray[np.float64]] = []
    for function in (winner, baseline):
        with _trained_at(config, children, rates[best[function.key]]) as recorder:
            tasks = replicates(config, recorder, (function,), retest.first + retest.seeds)
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
        return row | {"validation": scores[key], "rate": rates[best[key]]}

    return {
        "rates": list(rates),
        "own": config.training.lr,
        "seeds": retest.seeds,
        "baselines": [told(f) for f in functions[1:]],
        "winner": {**told(winner), "mean": float(values[0].mean())},
        "best_baseline": {**told(baseline), "mean": float(values[1].mean())},
        "metric": vars(measure),
        "fitness": config.fitness,
        "confidence": retest.confidence,
        "difference": vars(difference),
        "verdict": verdict(difference, rediscovered=False, higher=measure.higher),
    }


def _validation(
    config: Config,
    children: Path,
    functions: Sequence[Function],
    rates: Sequence[float],
    observer: Observer,
) -> dict[str, list[float]]:
    """The mean validation score of every function, by key, at every rate."""
    scores: dict[str, list[float]] = {f.key: [] for f in functions}
    for number, rate in enumerate(rates):
        with _trained_at(config, children, rate) as recorder:
            if not number:
                observer.note(recorder.evaluator.note())
            rows = replicates(config, recorder, functions, config.retest.first)
            tasks = [task for row in rows.values() for task in row]
            observer.stage(f"learning rate {rate:g} ({number + 1} of {len(rates)})", len(tasks))
            done = recorder.evaluate(tasks, progress=observer.advance, needed=rows)
            recorder.evaluator.forget()
            scale = recorder.evaluator.scale
            for key, row in rows.items():
                scores[key].append(float(np.mean([scale.score(done[t.hash]) for t in row])))
    return scores


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
