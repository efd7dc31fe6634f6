"""What all proposers share: numbering proposals, and one thread while computing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Tokens
from hybridsearch.types import Proposal


def number(first_id: int, genomes: Iterable[Tokens], proposer: str) -> list[Proposal]:
    """Proposals with consecutive ids from `first_id` on."""
    return [Proposal(first_id + k, Genome(g), proposer) for k, g in enumerate(genomes)]


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, the caller's number afterwards.

    The order of a threaded sum depends on the number of threads, so that a run's bits would depend
    on the machine; and a controller is too small to gain from threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
