"""The values that flow one way through a search; all frozen, all with a JSON round trip.

Config -> Proposer.ask -> Proposal -> Task -> Evaluation -> Outcome -> Proposer.tell
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.genome import Genome

Json = Any  # what json.dumps takes
TIME = "time"  # the split of a task whose function is timed, not trained
TEST = "test-"  # how the name of a test split begins; its digest follows


class Status(StrEnum):
    """How an evaluation ended."""

    OK = "ok"
    REJECTED = "rejected"  # by preflight, untrained, at no cost to the budget
    DIVERGED = "diverged"  # training blew up: a property of the function
    TIMEOUT = "timeout"  # the machine's fault: tried again once, then ERROR
    ERROR = "error"  # the machine's fault: never rewarded, never punished, never cached


@dataclass(frozen=True)
class Proposal:
    """A genome that a proposer suggests. `id` is unique in a run, `parents` are ids.

    operator: how it was made: random, walk (through the space), policy, crossover, mutation,
    neighbour. chances: of a policy's, the probability of every token when it was drawn; 1 where
    there was one choice. Under a screen these are of the draw, not of being chosen.
    """

    id: int
    genome: Genome
    proposer: str
    parents: tuple[int, ...] = ()
    operator: str = ""
    chances: tuple[float, ...] = ()

    def to_json(self) -> list[Json]:
        genome, parents, chances = list(self.genome.tokens), list(self.parents), list(self.chances)
        return [self.id, genome, self.proposer, parents, self.operator, chances]

    @classmethod
    def from_json(cls, row: Sequence[Json]) -> Proposal:
        """The inverse of `to_json`."""
        id_, genome, proposer, parents, operator, chances = row
        made = Genome(tuple(genome))
        return cls(id_, made, proposer, tuple(parents), operator, tuple(chances))


@dataclass(frozen=True)
class Task:
    """One training of one function up to `steps`; equal tasks have equal results. Or, with split
    TIME and no steps, the time of its activation, which no measurement gives twice: who asks again
    gets the first answer, from the log or the cache.

    function: token text of a genome, or the name of a baseline. key: the function's key.
    seed: of the child's weights and data order. context: digest of all else that changes the
    number (data, split, network, optimiser, numerics, evaluator version). split: which data score
    it; "test" only after the winner is named. kernel: how the function is computed, chosen by the
    driver for all workers; "" is plain PyTorch. stack: the seeds that are trained side by side in
    one network, in order; () where the child is trained alone.
    Raises: ValueError when `seed` is not in its stack.
    """

    function: str
    key: str
    steps: int
    seed: int
    context: str
    split: str = "validation"
    kernel: str = ""
    stack: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.stack and self.seed not in self.stack:
            raise ValueError(f"seed {self.seed} is not in its stack {self.stack}")

    @cached_property
    def hash(self) -> str:
        """The cache key: 32 hex digits over everything but the function's spelling."""
        parts = [self.key, self.steps, self.seed, self.context, self.split]
        if self.kernel:
            parts.append({"kernel": self.kernel})
        if self.stack:
            parts.append({"stack": list(self.stack)})
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Evaluation:
    """What a task gave. loss is the mean loss (of classes: cross-entropy in nats), metric that of
    the config (of classes: accuracy in 0..1).

    curve: [(step, mean training loss since the point before), ...]. each: the metric of every
    example of the test split (of a metric that has none: itself), packed (`packed.pack`). cost:
    seconds per element, forward and backward, where the task asks for the time. seconds, host and
    cached are volatile: they differ between equal runs.
    """

    task: str
    status: Status
    loss: float | None = None
    metric: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    each: str | None = None
    message: str = ""
    seconds: float = 0.0
    host: str = ""
    cached: bool = False
    cost: float | None = None

    VOLATILE = ("seconds", "host", "cached")

    def payload(self) -> dict[str, Json]:
        """The deterministic part, as JSON; without `cost` where there is none."""
        left_out = self.VOLATILE if self.cost is not None else (*self.VOLATILE, "cost")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def volatile(self) -> dict[str, Json]:
        """The part that differs between equal runs, as JSON."""
        return {name: getattr(self, name) for name in self.VOLATILE}

    @classmethod
    def from_json(cls, payload: Mapping[str, Json], volatile: Mapping[str, Json]) -> Evaluation:
        fields = {**payload, **volatile}
        fields["status"] = Status(fields["status"])
        fields["curve"] = tuple((int(step), loss) for step, loss in fields["curve"])
        return cls(**fields)


@dataclass(frozen=True)
class Measure:
    """What the values of a metric mean.

    higher: whether more is better. chance: of a child that has learned nothing, which is also what
    a diverged one has. perfect: the best that there is.
    """

    name: str
    higher: bool
    chance: float
    perfect: float

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.higher else -1

    @property
    def title(self) -> str:
        """Its name, and which way it goes where that is not the usual way."""
        return self.name if self.higher else f"{self.name} (less is better)"

    @property
    def bounds(self) -> tuple[float, float]:
        """What a mean of it can be, where that is known."""
        return _BOUNDS.get(self.name, (-math.inf, math.inf))

    def words(self, value: float, difference: bool = False) -> str:
        """A value, or the difference of two, as people write it: accuracy in %, or points."""
        if self.name == "accuracy":
            return f"{100 * value:+.2f} points" if difference else f"{100 * value:.2f}%"
        return f"{value:+.4g}" if difference else f"{value:.4g}"


def fitness_words(fitness: float) -> str:
    """A fitness to four decimals; with as many digits, where it is so small that those say less."""
    return f"{fitness:.4f}" if abs(fitness) >= 0.01 or fitness == 0 else f"{fitness:.4g}"


_BOUNDS = {
    "accuracy": (0.0, 1.0),
    "r2": (-math.inf, 1.0),
    "mse": (0.0, math.inf),
    "mae": (0.0, math.inf),
}


def accuracy_of(classes: int) -> Measure:
    """The share of examples that are classified rightly."""
    return Measure("accuracy", True, 1 / classes, 1.0)


@dataclass(frozen=True)
class Scale:
    """What a score means: higher is better, `chance` is a child that has learned nothing,
    `perfect` one that makes no error.

    A score is minus the loss (of classes: chance -ln(classes)), or the metric, with a minus where
    less of it is better. perfect is above chance, which `Objective.scale` sees to.
    """

    fitness: str  # loss, accuracy or metric
    chance: float
    perfect: float
    sign: int = 1

    @classmethod
    def of(cls, fitness: str, measure: Measure, chance_loss: float) -> Scale:
        """The scale of a fitness; chance_loss: of a child that has learned nothing."""
        if fitness == "loss":
            return cls(fitness, -chance_loss, 0.0)
        sign = measure.sign
        return cls(fitness, sign * measure.chance, sign * measure.perfect, sign)

    @classmethod
    def of_classes(cls, fitness: str, classes: int) -> Scale:
        """Of a classifier that is trained with cross-entropy and measured by its accuracy."""
        return cls.of(fitness, accuracy_of(classes), math.log(classes))

    def score(self, evaluation: Evaluation) -> float:
        """The score of an evaluation; never below chance, which is what a failed child has."""
        if evaluation.status is not Status.OK:
            return self.chance
        if self.fitness == "loss":
            value = None if evaluation.loss is None else -evaluation.loss
        else:
            value = None if evaluation.metric is None else self.sign * evaluation.metric
        return self.chance if value is None else max(self.chance, value)

    def reward(self, score: float) -> float:
        """The score mapped linearly: chance is 0, perfect is 1."""
        return (score - self.chance) / (self.perfect - self.chance)


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal, told to its proposer.

    fitness: on the scale of the top rung, higher is better; a child that was stopped early has the
    score that its rung predicts; rejected and diverged ones have the chance score; None for ERROR.
    reward: the fitness mapped so that chance is 0 and a perfect child is 1. rung: the last one
    reached (-1 untrained, top = fully trained). known: the function was seen before in this run.
    cost: seconds per element, forward and backward, measured once per function; None: not measured.
    """

    proposal: Proposal
    key: str
    status: Status
    fitness: float | None
    reward: float | None
    rung: int = -1
    known: bool = False
    message: str = ""
    evaluations: tuple[str, ...] = ()
    cost: float | None = None

    def payload(self) -> dict[str, Json]:
        record = dict(vars(self))
        del record["proposal"]
        return {
            "id": self.proposal.id,
            "genome": str(self.proposal.genome),
            "formula": self.proposal.genome.formula,
            "proposer": self.proposal.proposer,
            "parents": list(self.proposal.parents),
            "operator": self.proposal.operator,
            "chances": list(self.proposal.chances),
            **record,
        }


@dataclass(frozen=True)
class State:
    """What a proposer must keep to go on exactly where it stopped: JSON values and arrays."""

    values: dict[str, Json] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def holding(self, **parts: State) -> State:
        """This state with those of parts in it, each under its name."""
        arrays = {f"{name}/{k}": a for name, part in parts.items() for k, a in part.arrays.items()}
        values = {name: part.values for name, part in parts.items()}
        return State(self.values | values, self.arrays | arrays)

    def part(self, name: str) -> State:
        """The state that it holds under a name."""
        start = f"{name}/"
        arrays = {k.removeprefix(start): a for k, a in self.arrays.items() if k.startswith(start)}
        return State(self.values[name], arrays)


class Proposer(Protocol):
    """Suggests functions and learns from what became of them; it cannot train anything."""

    def ask(self, n: int) -> list[Proposal]:
        """At most n proposals with new ids; an empty list means exhausted."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """The outcomes of all proposals of one ask, in the order of their ids; of what was not
        evaluated an ERROR. With several asks under way a later one may be told first.
        """
        ...

    def state(self) -> State:
        """A snapshot; `restore` of it makes an equal proposer."""
        ...

    def restore(self, state: State) -> None: ...


def seed_for(root: int, purpose: str, *path: int) -> np.random.SeedSequence:
    """The seed of one purpose; never depends on a worker or an order of arrival."""
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    return np.random.SeedSequence([root, word, *path])


def number_for(root: int, purpose: str, *path: int) -> int:
    """The same as a number of 32 bits, such as the seed of a training."""
    return int(seed_for(root, purpose, *path).generate_state(1)[0])


def numbers_for(root: int, purpose: str, first: int, count: int) -> list[int]:
    """Such numbers for the places from `first` on."""
    return [number_for(root, purpose, k) for k in range(first, first + count)]
