"""Controller and population side by side: both propose, and they exchange what they find.

Source: Mundhenk et al. 2021 (arXiv 2111.00053), where a network seeds the population of a genetic
program and its best go back to the network. Here each keeps its own learning rule: the policy
gradient sees the controller's own samples only.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridsearch.config import ControllerConfig, EvolutionConfig, HybridConfig
from hybridsearch.genome.units import Space
from hybridsearch.propose.bandit import Bandit
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.novelty import has_verdict
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.types import Outcome, Proposal, State

Part = ControllerProposer | EvolutionProposer


class HybridProposer:
    """A bandit divides every batch; `Proposal.proposer` names the part that made a proposal.

    Two channels of exchange. What the controller found competes for a place in the population
    (immigrants keep their origin, and children name them as parents). The best that the population
    has made are examples for the controller, by a weighted imitation term.
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
        self._config = config
        self._controller = ControllerProposer(space, controller, seed)
        self._population = EvolutionProposer(space, evolution, seed)
        self._bandit = Bandit(config)
        self._next_id = 0

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
        part.next_id = self._next_id  # one sequence of ids: parents are the run's
        asked = part.ask(n)
        self._next_id = part.next_id
        return asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Each part learns from its own; then each learns of the other's, where they exchange."""
        if not outcomes:
            return
        ordered = sorted(outcomes, key=lambda o: o.proposal.id)
        drawn = [o for o in ordered if o.proposal.proposer == self._controller.name]
        bred = [o for o in ordered if o.proposal.proposer == self._population.name]
        self._bandit.learn(drawn, bred)
        self._population.tell(bred)
        if self._config.exchange:
            self._population.immigrate(drawn)
            if any(map(has_verdict, drawn)):  # else the controller learns nothing now
                self._teach()
        self._controller.tell(drawn)

    def _teach(self) -> None:
        """The best that the population itself has made become the controller's examples."""
        c = self._config
        bred = [m.genome for m in self._population.best() if m.origin == self._population.name]
        best = bred[: c.examples]
        self._controller.imitate(best, [c.imitation / len(best) for _ in best])

    def state(self) -> State:
        parts = {"controller": self._controller.state(), "population": self._population.state()}
        return State(
            {
                "next_id": self._next_id,
                "bandit": self._bandit.state(),
                **{name: part.values for name, part in parts.items()},
            },
            {f"{name}/{k}": a for name, part in parts.items() for k, a in part.arrays.items()},
        )

    def restore(self, state: State) -> None:
        values = state.values
        self._next_id = values["next_id"]
        self._bandit.restore(values["bandit"])
        for name, part in (("controller", self._controller), ("population", self._population)):
            arrays = {k.partition("/")[::2]: a for k, a in state.arrays.items()}
            own = {key: array for (whose, key), array in arrays.items() if whose == name}
            part.restore(State(values[name], own))
