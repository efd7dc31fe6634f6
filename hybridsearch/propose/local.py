"""Local search: from a point to a better neighbour until there is none, then from another start.

Source: White, Nolen and Savani 2021, "Exploring the Loss Landscape in Neural Architecture Search"
(arXiv 2005.02960), which finds it hard to beat where the noise is low.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsearch.config import LocalConfig
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.genome.variation import neighbours
from hybridsearch.propose.base import Candidate, Member, NoPolicy
from hybridsearch.propose.novelty import Novel, Novelty, random_draw
from hybridsearch.types import Outcome, Proposal, State, Status, seed_for

NEIGHBOUR = "neighbour"  # the operator of proposals beside a point


class LocalProposer(NoPolicy, Novel):
    """First improvement in batches: a batch of untried neighbours, drawn at random, is evaluated,
    and the best of them is the next point if it is better than the present one.

    The best of `starts` random functions is the first point. When the neighbours of a point are
    used up, the rest of a batch is random functions, the candidates of the next start.
    """

    name = "local"

    def __init__(self, space: Space, config: LocalConfig, seed: int) -> None:
        self._space, self._config = space, config
        self._rng = np.random.default_rng(seed_for(seed, "propose/local"))
        self._novelty, self._random = Novelty(space), random_draw(space, self._rng)
        self._point: Member | None = None
        self._untried: list[Tokens] = []  # neighbours of the point, shuffled; the last comes next
        self._steps: list[int] = []  # ids of its neighbours that wait for an outcome
        self._start: Member | None = None  # the best candidate of the next start
        self._starts = 0  # how many candidates there were

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids; fewer, at last none, where the space has no more."""
        asked: list[Proposal] = []
        while self._untried and len(asked) < n:
            asked += self._novelty.propose_from(self._neighbours(n - len(asked)), self.name)
        self._steps += [p.id for p in asked]
        return asked + self._novelty.propose(n - len(asked), self.name, self._random)

    def _neighbours(self, n: int) -> list[Candidate]:
        """The next n neighbours of the point, tried or not."""
        assert self._point is not None
        taken = [self._untried.pop() for _ in range(min(n, len(self._untried)))]
        return [self._beside(self._point, genome) for genome in taken]

    @staticmethod
    def _beside(point: Member, genome: Tokens) -> Candidate:
        return Candidate(genome, (point.id,), operator=NEIGHBOUR)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Move to the best neighbour of the batch if it is better; else restart at a dead end."""
        settled = self._novelty.settle(outcomes)
        trained = [Member.of(o) for o in settled if o.status is Status.OK]
        steps = [m for m in trained if m.id in self._steps]
        others = [m for m in trained if m.id not in self._steps]
        told = {o.proposal.id for o in outcomes}
        self._steps = [k for k in self._steps if k not in told]
        if settled:
            self._learn(steps, others)

    def draw(self, n: int) -> list[Candidate]:
        """Untried neighbours of the point, each once, or else random functions; none before the
        first. What is drawn and not chosen was passed over, so that a dead end is seen as one.
        """
        if not self._point and not self._starts:
            return []
        near = self._neighbours(n) if self._point else []
        return near + list(self._random(n - len(near)))

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """Neighbours and starts that others proposed count as its own. Those of a former point,
        which come late, are steps where they are better than the present one, as in `tell`; else
        one may be the next start, but brings it no nearer.
        """
        found = self._taken(outcomes)
        if not found:
            return
        near = {o.proposal.genome.tokens for o in found}.intersection(self._untried)
        self._untried = [genome for genome in self._untried if genome not in near]
        steps: list[Member] = []
        others: list[Member] = []
        for o in found:
            if o.status is not Status.OK:
                continue
            beside = o.proposal.operator == NEIGHBOUR
            member = Member.of(o)
            point = self._point if beside else None
            here = point and (o.proposal.parents == (point.id,) or member.reward > point.reward)
            if here or o.proposal.genome.tokens in near:
                steps.append(member)
            else:
                others.append(member)
                self._starts -= beside  # which `_learn` counts
        self._learn(steps, others)

    def _learn(self, steps: Sequence[Member], others: Sequence[Member]) -> None:
        self._starts += len(others)
        self._start = max((m for m in (self._start, *others) if m), key=_reward, default=None)
        best = max(steps, key=_reward, default=None)
        if self._point and best and best.reward > self._point.reward:
            self._move(best)
        elif not self._untried and self._start and self._starts >= self._config.starts:
            self._move(self._start)
            self._start, self._starts = None, 0

    def _move(self, point: Member) -> None:
        self._point = point
        near = neighbours(point.genome, self._space)
        self._untried = [near[k] for k in self._rng.permutation(len(near)).tolist()]

    def state(self) -> State:
        values, done = self._novelty.state()
        return State(
            {
                "novelty": values,
                "rng": self._rng.bit_generator.state,
                "point": self._point and self._point.to_json(),
                "untried": [list(genome) for genome in self._untried],
                "steps": list(self._steps),
                "start": self._start and self._start.to_json(),
                "starts": self._starts,
            },
            {"done": done},
        )

    def restore(self, state: State) -> None:
        values = state.values
        self._novelty.restore(values["novelty"], state.arrays["done"])
        self._rng.bit_generator.state = values["rng"]
        self._point = values["point"] and Member.from_json(values["point"])
        self._untried = [tuple(genome) for genome in values["untried"]]
        self._steps = list(values["steps"])
        self._start = values["start"] and Member.from_json(values["start"])
        self._starts = values["starts"]


def _reward(member: Member) -> float:
    return member.reward
