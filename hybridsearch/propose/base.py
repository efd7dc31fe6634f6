"""What all proposers share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Tokens
from hybridsearch.types import Json, Outcome, Proposal


class Candidate(NamedTuple):
    """A genome that may be proposed, and the ids of the proposals that it was made from."""

    genome: Tokens
    parents: tuple[int, ...] = ()


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


def number(first_id: int, genomes: Iterable[Tokens], proposer: str) -> list[Proposal]:
    """Proposals with consecutive ids from `first_id` on."""
    return [Proposal(first_id + k, Genome(g), proposer) for k, g in enumerate(genomes)]
