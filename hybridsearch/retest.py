"""The honest end of a run: finalists and baselines retrained on fresh seeds, one winner named on
validation, and only then the test split opened, once.

Seeds that made a winner by validation favour it on test too, since both are of the same networks.
So winner and best baseline are compared on seeds that named neither.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evidence.statistics import (
    Interval,
    bootstrap_mean,
    paired_difference,
    verdict,
)
from hybridsearch.genome.function import Function, baselines, resolve
from hybridsearch.observe import Observer
from hybridsearch.packed import unpack
from hybridsearch.recorder import Recorder
from hybridsearch.records import able
from hybridsearch.types import Evaluation, Json, Status, Task, numbers_for, seed_for


@dataclass(frozen=True)
class Tested:
    """A function after the retest.

    validation: mean score over the fresh seeds, on the scale of the run's fitness (what the
    winner is named on). test_scores: the metric on test data per seed. test: their mean and its
    interval over seeds and test examples. values: [seeds, examples], what the interval is made of;
    [seeds, 1] of a metric that has one number per split.
    """

    function: Function
    validation: float
    validation_scores: tuple[float, ...]
    test_scores: tuple[float, ...]
    test: Interval
    values: NDArray[np.float64]

    def to_json(self) -> dict[str, Json]:
        return {
            "expression": self.function.name,
            "label": self.function.label,
            "key": self.function.key,
            "validation": self.validation,
            "validation_scores": list(self.validation_scores),
            "test_scores": list(self.test_scores),
            "mean": self.test.mean,
            "low": self.test.low,
            "high": self.test.high,
        }


@dataclass(frozen=True)
class Duel:
    """Winner and best baseline on seeds that named neither: the metric on test data, [seeds]."""

    winner: tuple[float, ...]
    best_baseline: tuple[float, ...]

    def to_json(self) -> dict[str, Json]:
        """Seeds, and per function its scores and their mean."""
        rows = {"winner": self.winner, "best_baseline": self.best_baseline}
        told = {n: {"test_scores": list(v), "mean": float(np.mean(v))} for n, v in rows.items()}
        return {"seeds": len(self.winner), **told}


@dataclass(frozen=True)
class Retest:
    """The answer of a run. winner and best_baseline were named on validation; difference: of the
    two on test data, in the duel, or on the seeds that named them where there is none.
    """

    finalists: tuple[Tested, ...]
    baselines: tuple[Tested, ...]
    winner: Tested
    best_baseline: Tested
    duel: Duel | None
    difference: Interval
    verdict: str


def retest(
    config: Config, finalists: Sequence[str], recorder: Recorder, observer: Observer
) -> Retest | None:
    """Retrain the finalists (token texts, best of the search first) and the nine baselines.

    Every function is trained on the same fresh seeds with the settings of the search. A finalist
    that fails by the machine's fault is none. None when there is no finalist.
    Raises: UserError when the machine fails a training of a baseline twice, or of the winner once
    it is named, and when the test split cannot be had.
    """
    chosen = [resolve(spec) for spec in finalists]
    if not chosen:
        return None
    named = baselines()
    functions = {f.key: f for f in [*chosen, *named]}
    evaluator, measure = recorder.evaluator, recorder.evaluator.measure
    tasks = replicates(config, recorder, functions.values(), config.retest.first)
    every = [task for row in tasks.values() for task in row]

    observer.stage("retest", len(every))
    keep_all = config.training.steps + 1  # for the test, which scores the same children
    needed = {f.key for f in named}
    done = recorder.evaluate(every, keep_all, progress=observer.advance, needed=needed)
    chosen = able(chosen, tasks, done, observer)
    if not chosen:
        evaluator.forget()
        return None
    functions = {f.key: f for f in [*chosen, *named]}
    tasks = {key: tasks[key] for key in functions}
    scale = evaluator.scale
    scores = {key: [scale.score(done[task.hash]) for task in row] for key, row in tasks.items()}
    means = {key: float(np.mean(row)) for key, row in scores.items()}
    winner = max(chosen, key=lambda f: means[f.key])  # ties: the better in the search
    best = max(named, key=lambda f: means[f.key])
    decision: dict[str, Json] = {"kind": "winner", "winner": winner.key, "function": winner.spec}
    decision |= {"best_baseline": best.key, "validation": dict(sorted(means.items()))}
    recorder.log.append(decision)
    recorder.log.sync()

    observer.stage("test", sum(map(len, tasks.values())))
    values = tested(config, recorder, tasks, needed | {winner.key}, observer)
    pair = values[winner.key], values[best.key]
    duel = None
    if config.retest.duel and winner.key != best.key:
        rows = replicates(config, recorder, (winner, best), config.retest.further)
        observer.stage("duel", 2 * config.retest.seeds)
        found = tested(config, recorder, rows, rows, observer)
        pair = found[winner.key], found[best.key]
        duel = Duel(*(tuple(float(row.mean()) for row in one) for one in pair))
    evaluator.forget()

    rng = np.random.default_rng(seed_for(config.seed, "bootstrap"))
    confidence, resamples = config.retest.confidence, config.retest.resamples
    least, most = measure.bounds

    def judge(function: Function) -> Tested:
        rows = values[function.key]
        return Tested(
            function,
            means[function.key],
            tuple(scores[function.key]),
            tuple(float(row.mean()) for row in rows),
            bootstrap_mean(
                rows,
                confidence=confidence,
                resamples=resamples,
                rng=rng,
                bounds=measure.bounds,
            ),
            rows,
        )

    results = {key: judge(function) for key, function in functions.items() if key in values}
    difference = paired_difference(
        *pair,
        confidence=confidence,
        resamples=resamples,
        rng=rng,
        bounds=(least - most, most - least),
    )
    rediscovered = winner.key in needed
    return Retest(
        tuple(results[f.key] for f in chosen if f.key in results),
        tuple(results[f.key] for f in named),
        results[winner.key],
        results[best.key],
        duel,
        difference,
        verdict(difference, rediscovered, measure.higher),
    )


def replicates(
    config: Config, recorder: Recorder, functions: Iterable[Function], first: int
) -> dict[str, list[Task]]:
    """Full trainings by key, from as many fresh seeds as the config says; first: the number of the
    first of them.
    """
    seeds = numbers_for(config.seed, "retest", first, config.retest.seeds)
    steps, make = config.training.steps, recorder.evaluator.replicates
    return {f.key: make(f.spec, f.key, steps, seeds) for f in functions}


def tested(
    config: Config,
    recorder: Recorder,
    tasks: Mapping[str, Sequence[Task]],
    needed: Container[str],
    observer: Observer,
) -> dict[str, NDArray[np.float64]]:
    """Of every function its metric on test data, [seeds, examples], from trainings by key; opens
    the test split. Of functions that the machine fails there is none.

    Raises: UserError when the split cannot be had, or the machine fails one of the needed ones.
    """
    evaluator = recorder.evaluator
    try:
        opened = {k: [evaluator.test_task(task) for task in row] for k, row in tasks.items()}
    except UserError as error:
        both = {name.partition(":")[0] for name in (config.data.name, config.network.name)}
        unless = " (its file unchanged, for the network is in it)" if len(both) == 1 else ""
        raise UserError(
            f"{error}; what was searched and retrained is kept: mend the test data{unless}, and "
            "`resume` goes on from here"
        ) from error
    every = [task for row in opened.values() for task in row]
    done = recorder.evaluate(every, progress=observer.advance, needed=needed)
    functions = able((resolve(row[0].function) for row in opened.values()), opened, done, observer)
    examples = evaluator.test_images
    each = {task.hash: _each(done[task.hash], examples) for task in every}
    # The same for all, also where all children of one function have diverged: they are compared.
    width = max((len(values) for values in each.values() if values is not None), default=examples)
    chance = evaluator.measure.chance
    rows = {f.key: [each[task.hash] for task in opened[f.key]] for f in functions}
    return {key: _matrix(row, width, chance) for key, row in rows.items()}


def _each(result: Evaluation, examples: int) -> NDArray[np.float64] | None:
    """The metric of every example, or [1] of one that has none; None of a diverged child."""
    if result.status is not Status.OK or result.each is None:
        return None
    return unpack(result.each, examples)


def _matrix(
    rows: Sequence[NDArray[np.float64] | None], width: int, chance: float
) -> NDArray[np.float64]:
    """[seeds, width]: the metric of every example (of an accuracy 1 where the child was right), or
    the one of the split; a diverged child has learned nothing.
    """
    return np.stack([np.full(width, chance) if row is None else row for row in rows])
