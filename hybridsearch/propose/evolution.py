"""Evolution of genomes: a DEAP toolbox in a (mu + lambda) loop under ask and tell.

Sources: Fortin et al. 2012 (DEAP); Baeck, Fogel and Michalewicz 1997 for (mu + lambda); Deb et al.
2002 (NSGA-II). DEAP draws from Python's global `random`; it gets a state of its own here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from deap import base, tools

from hybridsearch.config import EvolutionConfig
from hybridsearch.genome.canonical import keys
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.genome.variation import crossover, mutate
from hybridsearch.propose.base import Candidate
from hybridsearch.propose.novelty import Novelty, Population, random_draw
from hybridsearch.types import Json, Outcome, Proposal, State, Status, number_for, seed_for


class Score(base.Fitness):  # type: ignore[misc]
    """The reward, maximised."""

    weights = (1.0,)


class ScoreTime(base.Fitness):  # type: ignore[misc]
    """The reward, maximised, and the seconds per element, minimised."""

    weights = (1.0, -1.0)


class Individual:
    """A function that was evaluated, as DEAP wants it: with a `fitness`.

    origin: who proposed it. standing: its front, negated, and its crowding distance; what a
    tournament compares when there are two objectives.
    """

    def __init__(
        self, id: int, genome: Tokens, key: str, reward: float, cost: float | None, origin: str
    ) -> None:
        self.id, self.genome, self.key = id, genome, key
        self.reward, self.cost, self.origin = reward, cost, origin
        self.fitness = Score((reward,))
        self.standing = (0.0, 0.0)

    def to_json(self) -> list[Json]:
        return [self.id, list(self.genome), self.key, self.reward, self.cost, self.origin]

    @classmethod
    def from_json(cls, row: Sequence[Json]) -> Individual:
        id_, genome, key, reward, cost, origin = row
        return cls(id_, tuple(genome), key, reward, cost, origin)


class EvolutionProposer(Population):
    """Random functions until the population is full, then children of tournament winners.

    The population is the best `population` of all that trained, each function once: children
    compete with their parents. No function is proposed twice; when variation finds nothing new,
    random functions come in, and at last the rest of the space, in order.
    """

    name = "evolution"

    def __init__(self, space: Space, config: EvolutionConfig, seed: int) -> None:
        self._space, self._config = space, config
        self._rng = np.random.default_rng(seed_for(seed, "propose/evolution"))
        deap_seed = number_for(seed, "propose/evolution/deap")
        self._deap_random = random.Random(deap_seed).getstate()
        self._novelty, self._random = Novelty(space), random_draw(space, self._rng)
        self._population: list[Individual] = []
        self._toolbox = self._make_toolbox()

    def _make_toolbox(self) -> Any:
        two = self._config.objectives == "score_time"
        toolbox = base.Toolbox()
        toolbox.register("mate", crossover, space=self._space, rng=self._rng)
        toolbox.register("mutate", mutate, space=self._space, rng=self._rng)
        toolbox.register(
            "select",
            tools.selTournament,
            tournsize=self._config.tournament,
            fit_attr="standing" if two else "fitness",
        )
        toolbox.register("survive", tools.selNSGA2 if two else tools.selBest)
        return toolbox

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids; fewer, at last none, where the space has no more."""
        missing = self._config.population - len(self._population)
        return self._novelty.breed(n, self.name, missing, self._random, self._children)

    def best(self) -> list[Individual]:
        """The members by reward, best first, earlier ones first among equals."""
        return sorted(self._population, key=lambda m: (-m.reward, m.id))

    @property
    def exhausted(self) -> bool:
        """Every function of the space has been proposed, here or by those whose finds came in."""
        return self._novelty.exhausted

    # Variation -----------------------------------------------------------------------------

    def _children(self, n: int) -> list[Candidate]:
        """n children, each by crossover of two parents or by mutation of one (DEAP's varOr)."""
        if not self._population:
            return []
        with self._own_random():
            parents = self._toolbox.select(self._population, 2 * n)
        children = []
        for one, two in zip(parents[::2], parents[1::2], strict=True):
            if self._rng.random() < self._config.crossover and one is not two:
                child = self._toolbox.mate(one.genome, two.genome)[0]
                children.append(Candidate(child, (one.id, two.id), operator="crossover"))
            else:
                child = self._toolbox.mutate(one.genome)
                children.append(Candidate(child, (one.id,), operator="mutation"))
        return children

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Python's global generator in this proposer's state, and as it was afterwards."""
        before = random.getstate()
        random.setstate(self._deap_random)
        try:
            yield
        finally:
            self._deap_random = random.getstate()
            random.setstate(before)

    # Survival ------------------------------------------------------------------------------

    def _join(self, outcomes: Sequence[Outcome]) -> None:
        """The best of parents and children live on; those that did not train never join."""
        trained = [o for o in outcomes if o.status is Status.OK]
        there = {member.key for member in self._population}
        genomes = [o.proposal.genome.tokens for o in trained]
        for outcome, genome, key in zip(trained, genomes, keys(genomes), strict=True):
            if key not in there:
                there.add(key)
                p, reward = outcome.proposal, float(outcome.reward or 0.0)
                self._population.append(
                    Individual(p.id, genome, key, reward, outcome.cost, p.proposer)
                )
        if trained:
            self._rate()
            self._population = self._toolbox.survive(self._population, self._config.population)
            self._rate()

    def _rate(self) -> None:
        """Set what DEAP compares. Who has no measured time counts as slow as the slowest."""
        if self._config.objectives == "score":
            return
        known = [m.cost for m in self._population if m.cost is not None]
        slowest = max(known, default=0.0)
        for member in self._population:
            cost = slowest if member.cost is None else member.cost
            member.fitness = ScoreTime((member.reward, cost))
        fronts = tools.sortNondominated(self._population, len(self._population))
        for depth, front in enumerate(fronts):
            tools.emo.assignCrowdingDist(front)
            for member in front:
                member.standing = (-float(depth), member.fitness.crowding_dist)

    # State ---------------------------------------------------------------------------------

    def state(self) -> State:
        values, done = self._novelty.state()
        return State(
            {
                "novelty": values,
                "rng": self._rng.bit_generator.state,
                "population": [member.to_json() for member in self._population],
            },
            {"done": done, "deap_random": np.array(self._deap_random[1], dtype=np.uint32)},
        )

    def restore(self, state: State) -> None:
        self._novelty.restore(state.values["novelty"], state.arrays["done"])
        self._rng.bit_generator.state = state.values["rng"]
        words = tuple(int(word) for word in state.arrays["deap_random"])
        self._deap_random = (3, words, None)  # version, state, no left-over normal deviate
        self._population = [Individual.from_json(row) for row in state.values["population"]]
        self._rate()
