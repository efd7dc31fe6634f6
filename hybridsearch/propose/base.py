"""What all proposers share."""

from __future__ import annotations

from collections.abc import Iterable

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Tokens
from hybridsearch.types import Proposal


def number(first_id: int, genomes: Iterable[Tokens], proposer: str) -> list[Proposal]:
    """Proposals with consecutive ids from `first_id` on."""
    return [Proposal(first_id + k, Genome(g), proposer) for k, g in enumerate(genomes)]
