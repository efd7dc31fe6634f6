"""The honest end of a run: finalists and baselines retrained on fresh seeds, one winner named on
validation, and only then the test split opened, once.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from hybridsearch.types import Evaluation, Json, Status, numbers_for, seed_for


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
class Retest:
    """The answer of a run. winner and best_baseline were named on validation."""

    finalists: tuple[Tested, ...]
    baselines: tuple[Tested, ...]
    winner: Tested
    best_baseline: Tested
    difference: Interval
    verdict: str


def retest(
    config: Config, finalists: Sequence[str], recorder: Recorder, observer: Observer
) -> Retest | None:
    """Retrain the finalists (token texts, best of the search first) and the nine baselines.

    Every function is trained on the same fresh seeds with the settings of the search. None when
    there is no finalist. Raises: UserError when the machine fails a training twice.
    """
    chosen = [resolve(spec) for spec in finalists]
    named = baselines()
    functions = {f.key: f for f in [*chosen, *named]}
    seeds = numbers_for(config.seed, "retest", config.retest.first, config.retest.seeds)
    evaluator = recorder.evaluator
    tasks = {
        key: evaluator.replicates(f.spec, key, config.training.steps, seeds)
        for key, f in functions.items()
    }
    every = [task for row in tasks.values() for task in row]
    if not chosen:
        return None

    observer.stage("retest", len(every))
    keep_all = config.training.steps + 1  # for the test, which scores the same children
    done = recorder.evaluate(every, keep_all, progress=observer.advance, strict=True)
    scale, measure = evaluator.scale, evaluator.measure
    scores = {key: [scale.score(done[task.hash]) for task in row] for key, row in tasks.items()}
    means = {key: float(np.mean(row)) for key, row in scores.items()}
    winner = max(chosen, key=lambda f: means[f.key])  # ties: the better in the search
    best = max(named, key=lambda f: means[f.key])
    decision: dict[str, Json] = {"kind": "winner", "winner": winner.key, "function": winner.spec}
    decision |= {"best_baseline": best.key, "validation": dict(sorted(means.items()))}
    recorder.log.append(decision)
    recorder.log.sync()

    observer.stage("test", len(every))
    try:
        opened = {task.hash: evaluator.test_task(task) for task in every}
    except UserError as error:
        both = {name.partition(":")[0] for name in (config.data.name, config.network.name)}
        unless = " (its file unchanged, for the network is in it)" if len(both) == 1 else ""
        raise UserError(
            f"{error}; what was searched and retrained is kept: mend the test data{unless}, and "
            "`resume` goes on from here"
        ) from error
    tested = recorder.evaluate(list(opened.values()), progress=observer.advance, strict=True)
    evaluator.forget()
    rng = np.random.default_rng(seed_for(config.seed, "bootstrap"))
    confidence, resamples = config.retest.confidence, config.retest.resamples
    least, most = measure.bounds
    examples = evaluator.test_images
    each = {task.hash: _each(tested[opened[task.hash].hash], examples) for task in every}
    # The same for all, also where all children of one function have diverged: they are compared.
    width = max((len(values) for values in each.values() if values is not None), default=examples)

    def judge(function: Function) -> Tested:
        values = _matrix([each[task.hash] for task in tasks[function.key]], width, measure.chance)
        return Tested(
            function,
            means[function.key],
            tuple(scores[function.key]),
            tuple(float(r.mean()) for r in values),
            bootstrap_mean(
                values,
                confidence=confidence,
                resamples=resamples,
                rng=rng,
                bounds=measure.bounds,
            ),
            values,
        )

    results = {key: judge(function) for key, function in functions.items()}
    difference = paired_difference(
        results[winner.key].values,
        results[best.key].values,
        confidence=confidence,
        resamples=resamples,
        rng=rng,
        bounds=(least - most, most - least),
    )
    rediscovered = winner.key in {f.key for f in named}
    return Retest(
        tuple(results[f.key] for f in chosen),
        tuple(results[f.key] for f in named),
        results[winner.key],
        results[best.key],
        difference,
        verdict(difference, rediscovered, measure.higher),
    )


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
