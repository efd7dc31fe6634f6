"""Random search: the baseline that every other proposer has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsearch.genome.units import Space, Tokens
from hybridsearch.propose.base import Candidate, NoPolicy, number
from hybridsearch.propose.novelty import random_draw
from hybridsearch.types import Outcome, Proposal, State, seed_for


class RandomProposer(NoPolicy):
    """Genomes drawn by `Space.sample`, independently; it may repeat itself and never ends."""

    name = "random"

    def __init__(self, space: Space, seed: int) -> None:
        self._rng = np.random.default_rng(seed_for(seed, "propose/random"))
        self._random = random_draw(space, self._rng)
        self.next_id = 0

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids."""
        proposals = number(self.next_id, self.draw(n), self.name)
        self.next_id += len(proposals)
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learnt."""

    def draw(self, n: int) -> list[Candidate]:
        return list(self._random(n))

    def skip(self, genomes: Sequence[Tokens]) -> None:
        """It may propose them all the same."""

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learnt."""

    def state(self) -> State:
        return State({"next_id": self.next_id, "rng": self._rng.bit_generator.state})

    def restore(self, state: State) -> None:
        self.next_id = state.values["next_id"]
        self._rng.bit_generator.state = state.values["rng"]
