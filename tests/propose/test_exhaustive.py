"""Exhaustive: in order, each function once, resumable, small spaces only."""

import pytest

from hybridsearch.errors import UserError
from hybridsearch.genome.canonical import keys
from hybridsearch.genome.units import Space
from hybridsearch.propose.exhaustive import ExhaustiveProposer
from hybridsearch.types import Outcome, Status

SMALL = Space(1, 2, unary=("id", "sin"), binary=("add", "sub"))


def outcome(proposal, status=Status.OK):
    reward = None if status is Status.ERROR else 0.5
    return Outcome(proposal, str(proposal.genome), status, reward, reward)


def firsts(space):
    """The first genome of every function, in the space's order."""
    genomes = list(space.enumerate())
    found = {}
    for genome, key in zip(genomes, keys(genomes), strict=True):
        found.setdefault(key, genome)
    return list(found.values())


def drain(proposer, n=7):
    asked = []
    while batch := proposer.ask(n):
        asked += [p.genome.tokens for p in batch]
        proposer.tell([outcome(p) for p in batch])
    return asked


def test_it_is_ordered_and_complete():
    assert drain(ExhaustiveProposer(SMALL)) == firsts(SMALL)


def test_it_goes_on_where_it_stopped():
    one, two = ExhaustiveProposer(SMALL), ExhaustiveProposer(SMALL)
    asked = []
    for _ in range(4):
        batch = one.ask(5)
        asked += [p.genome.tokens for p in batch]
        one.tell([outcome(p) for p in batch])
    two.restore(one.state())
    assert asked + drain(two) == firsts(SMALL)


def test_what_the_machine_failed_at_comes_again_once():
    proposer = ExhaustiveProposer(SMALL)
    batch = proposer.ask(10)
    failed = [p.genome.tokens for p in batch[3:5]]
    proposer.tell([outcome(p, Status.ERROR if 3 <= p.id < 5 else Status.OK) for p in batch])
    rest = []
    while batch := proposer.ask(10):
        rest += [p.genome.tokens for p in batch]
        proposer.tell(
            [outcome(p, Status.ERROR if p.genome.tokens in failed else Status.OK) for p in batch]
        )
    assert rest == firsts(SMALL)[10:] + failed
    assert proposer.ask(10) == []


@pytest.mark.parametrize("n", [7, 1000])
def test_what_failed_in_the_last_batch_comes_again_too(n):
    """Also where that is the only batch, and where the last but one is told after it."""
    proposer, asked, batches = ExhaustiveProposer(SMALL), [], []
    while batch := proposer.ask(n):
        batches.append(batch)
        asked += [p.genome.tokens for p in batch]
    assert asked == firsts(SMALL)  # the others wait for what may fail
    for batch in reversed(batches):
        assert proposer.ask(n) == []
        proposer.tell([outcome(p, Status.ERROR if p is batch[-1] else Status.OK) for p in batch])
    again = proposer.ask(1000)
    wanted = {batch[-1].genome.tokens for batch in batches}
    assert {p.genome.tokens for p in again} == wanted and len(again) == len(batches)
    proposer.tell([outcome(p, Status.ERROR) for p in again])
    assert proposer.ask(n) == []


def test_a_large_space_is_refused_in_one_line():
    ExhaustiveProposer(Space())
    with pytest.raises(UserError, match=r"at most 1,000,000 genomes, got 156,256,250; lower") as e:
        ExhaustiveProposer(Space(1, 2))
    assert "\n" not in str(e.value)
