"""Between search and retest: who are the finalists is decided with more seeds than one.

The best score of a search is the luckiest of many noisy ones, and early stopping has kept good
functions from the end. So candidates, stopped ones among them, are trained again from seeds that no
choice has looked at, and half of them stay, again and again (Karnin, Koren and Somekh 2013,
"Almost Optimal Exploration in Multi-Armed Bandits", sequential halving). Only validation images
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hybridsearch.config import Config
from hybridsearch.genome.function import resolve
from hybridsearch.observe import Observer
from hybridsearch.records import Records, able
from hybridsearch.types import numbers_for


@dataclass(frozen=True)
class Race:
    """finalists: token texts, best first. candidates, trainings: how many there were."""

    finalists: tuple[str, ...]
    candidates: int = 0
    trainings: int = 0


def race(config: Config, candidates: Sequence[str], recorder: Records, observer: Observer) -> Race:
    """The finalists among candidates (token texts, best of the search first).

    Who leads by the mean of all trainings of the race so far stays, the earlier one among equals.
    Who fails by the machine's fault falls out: the log has that, so that a resumed race goes on
    alike. With no more candidates than finalists nothing is trained. Raises: UserError when the
    machine fails all.
    """
    wanted = config.retest.finalists
    if len(candidates) <= wanted:
        return Race(tuple(candidates))
    sizes = rounds(len(candidates), wanted)
    observer.stage("race", trainings(config, len(candidates)))
    functions = [resolve(spec) for spec in candidates]
    scale = recorder.evaluator.scale
    scores: dict[str, list[float]] = {f.key: [] for f in functions}
    done = 0
    for number, size in enumerate(sizes):
        functions = functions[:size]
        count = config.race.seeds
        seeds = numbers_for(config.seed, "race", number * count, count)
        steps = config.training.steps
        tasks = {
            f.key: recorder.evaluator.replicates(f.spec, f.key, steps, seeds) for f in functions
        }
        every = [task for row in tasks.values() for task in row]
        results = recorder.evaluate(every, progress=partial(_advance, observer, done), needed=())
        done += len(every)
        functions = able(functions, tasks, results, observer)
        for key, row in tasks.items():
            scores[key] += [scale.score(results[task.hash]) for task in row]
        functions = sorted(functions, key=lambda f: -float(np.mean(scores[f.key])))
    return Race(tuple(f.spec for f in functions[:wanted]), len(candidates), done)


def trainings(config: Config, candidates: int) -> int:
    """How many a race of so many candidates has; none where it decides nothing."""
    finalists = config.retest.finalists
    if candidates <= finalists:
        return 0
    return config.race.seeds * sum(rounds(candidates, finalists))


def _advance(observer: Observer, before: int, done: int) -> None:
    """Tell of the trainings of a round, and those of the rounds before."""
    observer.advance(before + done)


def rounds(candidates: int, finalists: int) -> list[int]:
    """How many train in every round, each half of the one before but more than the finalists."""
    sizes = [candidates]
    while (half := -(-sizes[-1] // 2)) > finalists:
        sizes.append(half)
    return sizes
