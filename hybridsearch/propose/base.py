"""What all proposers share, and what one must be able to do to be screened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Tokens
from hybridsearch.types import Json, Outcome, Proposal, Proposer


class Candidate(NamedTuple):
    """A genome that may be proposed, and the ids of the proposals that it was made from.

    origin: who made it, where the one that proposes it is another. operator, chances: as in
    `Proposal`.
    """

    genome: Tokens
    parents: tuple[int, ...] = ()
    origin: str = ""
    operator: str = ""
    chances: tuple[float, ...] = ()

    def proposal(self, id: int, name: str) -> Proposal:
        """It as a proposal of the proposer of that name, unless it has an origin."""
        genome, who = Genome(self.genome), self.origin or name
        return Proposal(id, genome, who, self.parents, self.operator, self.chances)

    def to_json(self) -> list[Json]:
        genome, parents, chances = list(self.genome), list(self.parents), list(self.chances)
        return [genome, parents, self.origin, self.operator, chances]

    @classmethod
    def from_json(cls, row: Sequence[Json]) -> Candidate:
        """The inverse of `to_json`."""
        genome, parents, origin, operator, chances = row
        return cls(tuple(genome), tuple(parents), origin, operator, tuple(chances))


Judge = Callable[[Sequence[Tokens]], Sequence[float]]  # of genomes, what each promises


class Source(Proposer, Protocol):
    """A proposer that a screen can choose from."""

    name: str
    next_id: int  # the id of the next proposal; settable, so that several can share a run's

    def draw(self, n: int) -> list[Candidate]:
        """About n genomes that it would propose now, known ones among them perhaps; it does not
        wait for their outcomes. None before it has learnt from an outcome, or where it has no more.
        """
        ...

    def skip(self, genomes: Sequence[Tokens]) -> None:
        """Somebody else proposes these functions now."""
        ...

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes of candidates that it drew and somebody else chose."""
        ...

    @property
    def policy_share(self) -> float:
        """Which share of its proposals a policy draws that learns by its gradient. Chosen samples
        are not the policy's, so a part of this share stays unscreened.
        """
        ...

    def ask_policy(self, n: int) -> list[Proposal]:
        """n proposals by that policy alone."""
        ...

    def rehearse(self, judge: Judge) -> None:
        """Let a policy learn from what a model thinks of samples that it draws now."""
        ...


class NoPolicy:
    """The part of a `Source` that has no policy gradient."""

    policy_share = 0.0

    def ask_policy(self, n: int) -> list[Proposal]:
        return []

    def rehearse(self, judge: Judge) -> None: ...


class Member(NamedTuple):
    """A function that was evaluated. reward: 0 is chance, 1 perfect."""

    id: int
    genome: Tokens
    reward: float

    @classmethod
    def of(cls, outcome: Outcome) -> Member:
        """Of an outcome that has a reward."""
        assert outcome.reward is not None
        return cls(outcome.proposal.id, outcome.proposal.genome.tokens, float(outcome.reward))

    def to_json(self) -> list[Json]:
        return [self.id, list(self.genome), self.reward]

    @classmethod
    def from_json(cls, row: Sequence[Json]) -> Member:
        return cls(row[0], tuple(row[1]), row[2])


def number(first_id: int, candidates: Iterable[Candidate], proposer: str) -> list[Proposal]:
    """Proposals with consecutive ids from `first_id` on."""
    return [candidate.proposal(first_id + k, proposer) for k, candidate in enumerate(candidates)]
