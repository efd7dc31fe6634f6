"""Every function of a small space once, in the space's order."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsearch.errors import UserError
from hybridsearch.genome.units import Space
from hybridsearch.propose.novelty import Novelty
from hybridsearch.types import Outcome, Proposal, State

MOST_GENOMES = 1_000_000  # their keys take about half a minute; training them all, months


class ExhaustiveProposer:
    """The first genome of every distinct function, short ones first (`Space.enumerate`).

    What the machine failed at is proposed once more at the end.
    Raises: UserError when the space has more than MOST_GENOMES genomes.
    """

    name = "exhaustive"

    def __init__(self, space: Space) -> None:
        if space.count() > MOST_GENOMES:
            raise UserError(
                f"strategy exhaustive: expected a space of at most {MOST_GENOMES:,} genomes, got "
                f"{space.count():,}; lower space.max_units or list fewer functions in space.unary "
                "and space.binary"
            )
        self._novelty = Novelty(space)

    def ask(self, n: int) -> list[Proposal]:
        """The next n functions, fewer at the end of the space, and none while the last of it are
        under way, of which some may come again; none at the end.
        """
        return self._novelty.propose(n, self.name)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learnt but what is done."""
        self._novelty.settle(outcomes)

    def state(self) -> State:
        values, done = self._novelty.state()
        return State(values, {"done": done})

    def restore(self, state: State) -> None:
        self._novelty.restore(state.values, state.arrays["done"])
