"""What a proposer has proposed already, so that it proposes no function twice.

It can know its own proposals only; what others found comes back as `Outcome.known`.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.canonical import keys
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.propose.base import Candidate, NoPolicy
from hybridsearch.types import Json, Outcome, Proposal

ROUNDS = 10  # of drawing, before the next source: only near a space's end do so many bring nothing
LAPS = 2  # through the space: the second is for what the machine failed at in the first
CHUNK = 256  # genomes whose keys are computed at once
FAR = 100_000  # genomes: some seconds; a space can have billions of spellings of few functions
Draw = Callable[[int], Sequence[Candidate]]


class Novelty:
    """The functions proposed so far, by key, and the source of new ones.

    A proposal waits from `propose` until `settle`. With a verdict its function is done for good;
    without one (an ERROR) it may be proposed once more, in the last lap.
    """

    def __init__(self, space: Space) -> None:
        self._space, self._size = space, space.count()
        self._done: set[str] = set()
        self._waiting: dict[int, str] = {}  # id -> key
        self._failed: dict[str, int] = {}  # key -> how often it came back without a verdict
        self._lap = self._place = 0  # of the walk through the space
        self.next_id = 0

    @property
    def exhausted(self) -> bool:
        """The walk through the space has ended: all of it was proposed, and what failed again."""
        if self._lap >= LAPS:
            return True
        return self._between and not self._waiting and not any(map(self.open, self._failed))

    @property
    def _between(self) -> bool:
        """Whether the walk stands at the beginning of a lap that is not the first."""
        return self._lap > 0 and not self._place

    def propose(self, n: int, name: str, *draws: Draw) -> list[Proposal]:
        """n proposals of functions not proposed before; fewer where the space has no more.

        draws: sources of candidates, tried in turn, ROUNDS times each; the walk through the whole
        space comes last, and with draws before it it gives up after FAR genomes. Between its laps
        it waits for all outcomes, since what fails yet belongs to the next one.
        """
        chosen: list[Proposal] = []
        for draw in draws:
            for _ in range(ROUNDS):
                if len(chosen) < n:
                    chosen += self.propose_from(draw(n - len(chosen)), name)
        chunks = FAR // CHUNK if draws else LAPS * self._size
        while len(chosen) < n and chunks and not self.exhausted:
            if self._between and self._waiting:
                break
            chosen += self.propose_from(self._walk(n - len(chosen)), name)
            chunks -= 1
        return chosen

    def breed(
        self, n: int, name: str, missing: int, random: Draw, children: Draw
    ) -> list[Proposal]:
        """`propose` for a population that lacks `missing` members: those at random, then children,
        and random functions where children bring nothing new.
        """
        first = min(n, max(0, missing))
        asked = self.propose(first, name, random)
        return asked + self.propose(n - first, name, children, random)

    def propose_from(self, candidates: Sequence[Candidate], name: str) -> list[Proposal]:
        """Proposals of those of the candidates that are new, in their order."""
        accepted = []
        for place, key in self._new([c.genome for c in candidates]):
            self._waiting[self.next_id] = key
            accepted.append(candidates[place].proposal(self.next_id, name))
            self.next_id += 1
        return accepted

    def _new(self, genomes: Sequence[Tokens]) -> Iterator[tuple[int, str]]:
        """Place and key of the genomes whose function may be proposed, each function once."""
        seen = self.waiting
        for place, key in enumerate(keys(genomes)):
            if key not in seen and self.open(key):
                seen.add(key)
                yield place, key

    def open(self, key: str) -> bool:
        """Whether a function may be proposed, those that wait aside."""
        return key not in self._done and self._failed.get(key, 0) <= self._lap

    @property
    def waiting(self) -> set[str]:
        """The keys of what was proposed and has no outcome yet."""
        return set(self._waiting.values())

    def _walk(self, n: int) -> list[Candidate]:
        """Up to n new functions, in the order of `Space.enumerate`, from a chunk of it."""
        start, end = self._place, min(self._place + CHUNK, self._size)
        genomes = [self._space.nth(k) for k in range(start, end)]
        self._place = end
        found: list[Candidate] = []
        for place, _ in self._new(genomes):
            found.append(Candidate(genomes[place], operator="walk"))
            if len(found) == n:
                self._place = start + place + 1
                break
        if self._place == self._size:
            self._lap, self._place = self._lap + 1, 0
        return found

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of own proposals that have a verdict, by id; all that are told wait no
        longer, and others, which may be older, still do.

        No reward (ERROR) and one that is no number are no verdict.
        """
        own = {o.proposal.id: o for o in outcomes if o.proposal.id in self._waiting}
        settled = []
        for id_, outcome in sorted(own.items()):
            key = self._waiting.pop(id_)
            if has_verdict(outcome):
                self._done.add(key)
                settled.append(outcome)
            else:
                self._failed[key] = self._failed.get(key, 0) + 1
        return settled

    def waits_for(self, outcome: Outcome) -> bool:
        """Whether it is the outcome of an own proposal that waits."""
        return outcome.proposal.id in self._waiting

    def note(self, genomes: Sequence[Tokens]) -> None:
        """These functions are done too: somebody else has proposed them."""
        self._done.update(keys(genomes))

    def state(self) -> tuple[dict[str, Json], NDArray[np.uint8]]:
        """JSON values, and the keys of what is done: [functions, 16] bytes, sorted."""
        values = {
            "next_id": self.next_id,
            "waiting": [[k, key] for k, key in self._waiting.items()],
            "failed": sorted(self._failed.items()),
            "lap": self._lap,
            "place": self._place,
        }
        return values, packed_keys(self._done)

    def restore(self, values: dict[str, Json], done: NDArray[np.uint8]) -> None:
        self.next_id, self._lap, self._place = values["next_id"], values["lap"], values["place"]
        self._waiting, self._failed = dict(values["waiting"]), dict(values["failed"])
        self._done = unpacked_keys(done)


class Novel:
    """A proposer whose ids are those of its `_novelty`."""

    _novelty: Novelty

    @property
    def next_id(self) -> int:
        """The id of the next proposal; settable, so that several proposers can share a run's."""
        return self._novelty.next_id

    @next_id.setter
    def next_id(self, value: int) -> None:
        self._novelty.next_id = value

    def skip(self, genomes: Sequence[Tokens]) -> None:
        """Somebody else proposes these functions."""
        self._novelty.note(genomes)

    def _taken(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """What others proposed and has a verdict, by id; it is not proposed here again."""
        found = sorted(filter(has_verdict, outcomes), key=lambda o: o.proposal.id)
        self.skip([o.proposal.genome.tokens for o in found])
        return found


class Population(NoPolicy, Novel, ABC):
    """A proposer whose candidates are the children of those that were evaluated."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Children that trained join in the order of their ids; others never do."""
        self._join(self._novelty.settle(outcomes))

    def draw(self, n: int) -> list[Candidate]:
        """Children of the population; none before there is one."""
        return self._children(n)

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """Take in what others proposed, like children of its own."""
        self._join(self._taken(outcomes))

    @abstractmethod
    def _children(self, n: int) -> list[Candidate]: ...

    @abstractmethod
    def _join(self, outcomes: Sequence[Outcome]) -> None:
        """Let those in that trained, and others go for them."""


def packed_keys(keys: Collection[str]) -> NDArray[np.uint8]:
    """Keys of functions, sorted: [functions, 16] bytes."""
    text = "".join(sorted(keys))
    return np.frombuffer(bytes.fromhex(text), dtype=np.uint8).reshape(-1, 16).copy()


def unpacked_keys(rows: NDArray[np.uint8]) -> set[str]:
    """The inverse of `packed_keys`."""
    return {sys.intern(row.tobytes().hex()) for row in rows}


def random_draw(space: Space, rng: np.random.Generator) -> Draw:
    """The source that draws from the whole space."""
    return lambda n: [Candidate(space.sample(rng), operator="random") for _ in range(n)]


def has_verdict(outcome: Outcome) -> bool:
    """Is there a finite reward?"""
    return outcome.reward is not None and math.isfinite(outcome.reward)
