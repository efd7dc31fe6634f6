"""Aging evolution: the oldest dies, not the worst, so that no lucky score lives for ever.

Source: Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search"
(arXiv 1802.01548), algorithm 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from hybridsearch.config import RegularizedConfig
from hybridsearch.genome.units import Space
from hybridsearch.genome.variation import mutate
from hybridsearch.propose.base import Candidate, Member
from hybridsearch.propose.novelty import Novelty, Population, random_draw
from hybridsearch.types import Outcome, Proposal, State, Status, seed_for


class RegularizedProposer(Population):
    """A child is the mutated best of a random sample of the population; it replaces the oldest.

    A batch of children comes from one population. Functions that did not train never join.
    """

    name = "regularized"

    def __init__(self, space: Space, config: RegularizedConfig, seed: int) -> None:
        self._space, self._config = space, config
        self._rng = np.random.default_rng(seed_for(seed, "propose/regularized"))
        self._novelty, self._random = Novelty(space), random_draw(space, self._rng)
        self._population: deque[Member] = deque(maxlen=config.population)

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids; fewer, at last none, where the space has no more."""
        missing = self._config.population - len(self._population)
        return self._novelty.breed(n, self.name, missing, self._random, self._children)

    def _join(self, outcomes: Sequence[Outcome]) -> None:
        """Children join in the order of their ids; as many of the oldest go."""
        self._population.extend(Member.of(o) for o in outcomes if o.status is Status.OK)

    def _children(self, n: int) -> list[Candidate]:
        if not self._population:
            return []
        children = []
        draws = self._rng.integers(len(self._population), size=(n, self._config.sample))
        for sample in draws.tolist():
            parent = max((self._population[k] for k in sample), key=lambda m: m.reward)
            genome = mutate(parent.genome, self._space, self._rng)
            children.append(Candidate(genome, (parent.id,), operator="mutation"))
        return children

    def state(self) -> State:
        values, done = self._novelty.state()
        return State(
            {
                "novelty": values,
                "rng": self._rng.bit_generator.state,
                "population": [member.to_json() for member in self._population],
            },
            {"done": done},
        )

    def restore(self, state: State) -> None:
        self._novelty.restore(state.values["novelty"], state.arrays["done"])
        self._rng.bit_generator.state = state.values["rng"]
        self._population.clear()
        self._population.extend(Member.from_json(row) for row in state.values["population"])
