"""Random search: the baseline that every other proposer has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsearch.genome.units import Space
from hybridsearch.propose.base import number
from hybridsearch.types import Outcome, Proposal, State, seed_for


class RandomProposer:
    """Genomes drawn by `Space.sample`, independently; it may repeat itself and never ends."""

    name = "random"

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed_for(seed, "propose/random"))
        self._next_id = 0

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids."""
        genomes = [self._space.sample(self._rng) for _ in range(n)]
        proposals = number(self._next_id, genomes, self.name)
        self._next_id += len(proposals)
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learnt."""

    def state(self) -> State:
        return State({"next_id": self._next_id, "rng": self._rng.bit_generator.state})

    def restore(self, state: State) -> None:
        self._next_id = state.values["next_id"]
        self._rng.bit_generator.state = state.values["rng"]
