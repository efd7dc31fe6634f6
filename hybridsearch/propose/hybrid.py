"""Controller and population side by side: both propose, and they exchange what they find.

Source: Mundhenk et al. 2021 (arXiv 2111.00053), where a network seeds the population of a genetic
program and its best go back to the network. Here each keeps its own learning rule: the policy
gradient sees the controller's own samples only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsearch.config import ControllerConfig, EvolutionConfig, HybridConfig
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.propose.bandit import Bandit
from hybridsearch.propose.base import Candidate, Judge
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.novelty import has_verdict, random_draw
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.types import Outcome, Proposal, State, seed_for

Part = ControllerProposer | EvolutionProposer
RANDOM = "random"  # the origin of candidates that neither part made


class HybridProposer:
    """A bandit divides every batch; `Proposal.proposer` names the part that made a proposal.

    Two channels of exchange. What the controller found competes for a place in the population
    (immigrants keep their origin, and children name them as parents). The best that the population
    has made are examples for the controller, by a weighted imitation term; under a screen, too,
    where a controller alone would imitate its own chosen samples.
    """

    name = "hybrid"

    def __init__(
        self,
        space: Space,
        config: HybridConfig,
        controller: ControllerConfig,
        evolution: EvolutionConfig,
        seed: int,
    ) -> None:
        self._config, self._examples = config, controller.examples
        self._controller = ControllerProposer(space, controller, seed)
        self._population = EvolutionProposer(space, evolution, seed)
        self._bandit = Bandit(config)
        self._rng = np.random.default_rng(seed_for(seed, "propose/hybrid"))
        self._anywhere = random_draw(space, self._rng)
        self._heard = 0  # functions that it was told of
        self.next_id = 0

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids, the population's first; none when the population, which
        proposes no function twice, has come to the end of the space.
        """
        if self._population.exhausted:
            return []
        drawn = self._bandit.split(n)
        bred = self._ask(self._population, n - drawn)
        return bred + self._ask(self._controller, drawn)

    def _ask(self, part: Part, n: int) -> list[Proposal]:
        if not n:
            return []
        part.next_id = self.next_id  # one sequence of ids: parents are the run's
        asked = part.ask(n)
        self.next_id = part.next_id
        return asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Each part learns from its own; then each learns of the other's, where they exchange."""
        if not outcomes:
            return
        ordered = sorted(outcomes, key=lambda o: o.proposal.id)
        self._heard += sum(map(has_verdict, ordered))
        drawn = [o for o in ordered if o.proposal.proposer == self._controller.name]
        bred = [o for o in ordered if o.proposal.proposer == self._population.name]
        self._bandit.learn(drawn, bred)
        self._population.tell(bred)
        if self._config.exchange:
            self._population.adopt(drawn)
            if any(map(has_verdict, drawn)):  # else the controller learns nothing now
                self._teach()
        self._controller.tell(drawn)

    # As the source of a screen ---------------------------------------------------------------

    def draw(self, n: int) -> list[Candidate]:
        """Candidates of both parts, each its share, and some of neither: at first all."""
        anywhere = self._anywhere(round(self._random_share * n))
        rest = n - len(anywhere)
        bred = self._population.draw(rest - round(self._bandit.share * rest))
        drawn = self._controller.draw(rest - len(bred))
        made = {RANDOM: anywhere, self._population.name: bred, self._controller.name: drawn}
        return [c._replace(origin=name) for name, part in made.items() for c in part]

    @property
    def _random_share(self) -> float:
        """The share of candidates that neither part makes."""
        last, settle = self._config.random, self._config.settle
        known = min(1.0, self._heard / settle) if settle else 1.0
        return 1 - known * (1 - last)

    def skip(self, genomes: Sequence[Tokens]) -> None:
        """Somebody else proposes these functions: the population does not."""
        self._population.skip(genomes)

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """What was chosen is its maker's, and random ones join the population, which begins with
        such. Where they exchange, the population learns of the controller's too, and the controller
        imitates the population's best instead of what it has drawn itself (`_teach`).
        """
        self._heard += len(outcomes)
        drawn = [o for o in outcomes if o.proposal.proposer == self._controller.name]
        others = [o for o in outcomes if o.proposal.proposer != self._controller.name]
        bred = [o for o in others if o.proposal.proposer == self._population.name]
        self._bandit.learn(drawn, bred)
        self._controller.adopt(drawn)
        self._population.adopt(outcomes if self._config.exchange else others)
        if self._config.exchange:
            self._teach()

    @property
    def policy_share(self) -> float:
        return self._bandit.share

    def ask_policy(self, n: int) -> list[Proposal]:
        return [] if self._population.exhausted else self._ask(self._controller, n)

    def rehearse(self, judge: Judge) -> None:
        self._controller.rehearse(judge)

    def _teach(self) -> None:
        """The best that the population itself has made become the controller's examples, in place
        of any others: not immigrants, nor members that a screen has drawn at random.
        """
        bred = [m.genome for m in self._population.best() if m.origin == self._population.name]
        self._controller.imitate(bred[: self._examples])

    def state(self) -> State:
        own = State(
            {
                "next_id": self.next_id,
                "heard": self._heard,
                "bandit": self._bandit.state(),
                "rng": self._rng.bit_generator.state,
            }
        )
        parts = {"controller": self._controller.state(), "population": self._population.state()}
        return own.holding(**parts)

    def restore(self, state: State) -> None:
        values = state.values
        self.next_id, self._heard = values["next_id"], values["heard"]
        self._bandit.restore(values["bandit"])
        self._rng.bit_generator.state = values["rng"]
        self._controller.restore(state.part("controller"))
        self._population.restore(state.part("population"))
