"""Functions, batch by batch, trained up the rungs: who stops where, and with which score."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridsearch.config import Config
from hybridsearch.fidelity import Extrapolation, probe, promote, rung_steps
from hybridsearch.forecast import Forecast
from hybridsearch.genome.text import from_token_text
from hybridsearch.genome.units import Tokens
from hybridsearch.types import Evaluation, Scale, Status, Task, number_for

if TYPE_CHECKING:  # it brings torch, for which those who only look should not wait
    from hybridsearch.evaluate.evaluator import Evaluator

PROBE = 32  # children of a rung, one of which goes on though it is not among the best


@dataclass(slots=True)
class Climb:
    """One function's way up: its score at every rung it reached, and how it failed, if it did."""

    key: str
    spec: str
    scores: list[float] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    failure: Evaluation | None = None
    trained: bool = False

    @property
    def genome(self) -> Tokens:
        return from_token_text(self.spec)

    @property
    def rung(self) -> int:
        """The last rung with a score, from 0; -1 when there is none."""
        return len(self.scores) - 1

    @property
    def status(self) -> Status:
        return self.failure.status if self.failure else Status.OK

    def add(self, result: Evaluation, scale: Scale) -> None:
        """Take in the evaluation of the next rung."""
        self.tasks.append(result.task)
        self.trained |= not result.cached
        if result.status is Status.OK:
            self.scores.append(scale.score(result))
        else:
            self.failure = result


class Ascent:
    """The way up of the functions of a batch. children: all, in their order. alive: those that are
    to be trained on rung `rung`; none when all have ended.
    """

    def __init__(self, children: Iterable[Climb]) -> None:
        self.children = list(children)
        self.alive, self.rung = self.children, 0


class Ladder:
    """Successive halving with one training seed that all candidates share (a paired comparison).

    seen: per rung below the top, the scores of all children that came to it so far.
    forecasts: per rung, what they promise at the top; None where scores alone decide.
    """

    def __init__(self, config: Config, evaluator: Evaluator) -> None:
        self.config, self.evaluator = config, evaluator
        self.scale = evaluator.scale
        self.rungs = rung_steps(config.fidelity, config.training.steps)
        self.top = len(self.rungs) - 1
        self.seed = number_for(config.seed, "search", 0)
        self.extrapolation = Extrapolation(self.scale.chance)
        # As NumPy reads them at once: there may be a hundred thousand, and all decide every time.
        self.seen = [array("d") for _ in self.rungs[:-1]]
        self.forecasts = [Forecast() for _ in self.seen] if config.fidelity.forecast else None
        self.stopped: dict[str, Climb] = {}  # by key, those that learned something, as they came

    def tasks(self, ascent: Ascent) -> list[Task]:
        """Those of the children that are alive, on their rung."""
        steps = self.rungs[ascent.rung]
        return [self.evaluator.task(c.spec, c.key, steps, self.seed) for c in ascent.alive]

    def go_on(self, ascent: Ascent, done: Mapping[str, Evaluation], batch: int) -> None:
        """Take in what the tasks of a rung gave, by hash, and decide who goes on to the next one.

        batch: the number of the batch, from which the draw of the probe is derived. What the
        children show has to be told to `learn` at the end.
        """
        alive, rung = ascent.alive, ascent.rung
        for child, task in zip(alive, self.tasks(ascent), strict=True):
            child.add(done[task.hash], self.scale)
        alive = [child for child in alive if child.failure is None]
        ascent.alive, ascent.rung = [], rung + 1
        if rung < self.top:
            ascent.alive = self._promoted(alive, rung, batch)
            self.seen[rung].extend(child.scores[-1] for child in alive)

    def recall(self, child: Climb) -> None:
        """A child that came as far as it did before the search was resumed."""
        for rung, score in enumerate(child.scores[: self.top]):
            self.seen[rung].append(score)

    def steps_of(self, rung: int) -> int:
        """The optimiser steps from the rung below to this one."""
        return self.rungs[rung] - (self.rungs[rung - 1] if rung else 0)

    def steps(self, children: Iterable[Climb]) -> int:
        """The optimiser steps of children, those that failed on the way not counted."""
        return sum(self.rungs[child.rung] for child in children if child.rung >= 0)

    def _promoted(self, alive: list[Climb], rung: int, batch: int) -> list[Climb]:
        """The children that go on: the first of the run, the best, and one probe for the fit."""
        scores = {child.key: child.scores[-1] for child in alive}
        before = len(self.seen[rung])
        first = max(0, self.config.fidelity.first - before)
        going = {*list(scores)[:first], *self._best(scores, alive, rung)}
        chance = self.scale.chance
        stopped = [key for key in scores if key not in going]
        draw = number_for(self.config.seed, "probe", batch, rung)
        extra = probe(stopped, scores, chance, draw) if _probes(before, len(scores)) else ""
        return [child for child in alive if child.key in going or child.key == extra]

    def _best(self, scores: Mapping[str, float], alive: list[Climb], rung: int) -> list[str]:
        """The keys of the children that are among the best share of the rung. scores: theirs."""
        earlier: Sequence[float] = self.seen[rung]
        forecast = self.forecasts[rung] if self.forecasts else None
        if forecast is not None and forecast.ready and alive:
            optimism, genomes = self.config.fidelity.optimism, [child.genome for child in alive]
            promises, earlier = forecast.promises(genomes, list(scores.values()), optimism)
            scores = dict(zip(scores, promises, strict=True))
        return promote(scores, self.config.fidelity.keep, earlier)

    def learn(self, children: Iterable[Climb]) -> None:
        """Add what children have shown: scores at rungs beside that at the top, if there is one.
        What the machine's fault has ended shows nothing.
        """
        for child in children:
            if child.status not in (Status.OK, Status.DIVERGED):
                for rung, score in enumerate(child.scores[: self.top]):
                    self.seen[rung].remove(score)
                continue
            end = child.scores[-1] if child.rung == self.top else None
            if child.status is Status.OK and end is None:
                self.stopped[child.key] = child
            if child.status is Status.DIVERGED:
                end = self.scale.chance
            genome = child.genome if self.forecasts else ()
            for rung, score in enumerate(child.scores[: self.top]):
                if self.forecasts:
                    self.forecasts[rung].see(genome, score, end)
                if end is not None:
                    self.extrapolation.add(rung, score, end)

    def fitness(self, children: Sequence[Climb]) -> list[float | None]:
        """The scores on the top's scale: measured there, predicted below, chance for a diverged
        child, None for the machine's faults.
        """
        result = [self._measured(child) for child in children]
        for rung in range(self.top):
            stopped = [
                (row, child)
                for row, child in enumerate(children)
                if child.status is Status.OK and child.rung == rung
            ]
            predicted = self._predicted([child for _, child in stopped], rung)
            for (row, _), score in zip(stopped, predicted, strict=True):
                result[row] = score
        return result

    def prospects(self, count: int) -> list[Climb]:
        """The stopped children of whom most is expected by now, best first; none at chance."""
        children = list(self.stopped.values())
        chance = self.scale.chance
        expected = [chance if score is None else score for score in self.fitness(children)]
        able = [row for row, score in enumerate(expected) if score > chance]
        best = sorted(able, key=lambda row: -expected[row])
        return [children[row] for row in best[:count]]

    def _measured(self, child: Climb) -> float | None:
        if child.status is Status.DIVERGED:
            return self.scale.chance
        at_top = child.status is Status.OK and child.rung == self.top
        return child.scores[-1] if at_top else None

    def _predicted(self, children: Sequence[Climb], rung: int) -> list[float]:
        """What children that stopped at a rung would have scored at the top."""
        scores = [child.scores[-1] for child in children]
        if not children:
            return []
        if self.forecasts and self.forecasts[rung].ready:
            expected = self.forecasts[rung].scores([c.genome for c in children], scores)
            return [max(self.scale.chance, score) for score in expected]
        line = self.extrapolation.fit(rung)
        return [line.predict(score) for score in scores]


def _probes(before: int, count: int) -> bool:
    """Whether one of `count` children is a probe: the first of a rung, then one in PROBE. before:
    how many came to the rung earlier.
    """
    return before == 0 or before // PROBE != (before + count) // PROBE
