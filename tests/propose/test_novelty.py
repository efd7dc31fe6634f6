"""No function twice, and an end: of the space, or of what can be walked."""

import numpy as np

from hybridsearch.genome.canonical import keys
from hybridsearch.genome.units import Space
from hybridsearch.propose import novelty as module
from hybridsearch.propose.base import Candidate
from hybridsearch.propose.novelty import Novelty
from hybridsearch.types import Outcome, Status

SMALL = Space(1, 1, unary=("id", "sin", "tanh"), binary=("sub", "gate"))
SAME = ("sub", "sin", "x", "id", "x")


def outcome(proposal, reward=0.5):
    status = Status.ERROR if reward is None else Status.OK
    return Outcome(proposal, "", status, reward, reward)


def test_spellings_of_one_function_are_one():
    novelty = Novelty(Space())
    draw = [
        Candidate(("add", "sin", "x", "id", "x"), (7,)),
        Candidate(("add", "id", "x", "sin", "x")),
    ]
    asked = novelty.propose_from(draw, "a")
    assert [(p.genome.tokens, p.parents) for p in asked] == [(draw[0].genome, (7,))]
    novelty.settle([outcome(p) for p in asked])
    assert novelty.propose_from(draw, "a") == []


def test_what_waits_is_not_proposed_again_either():
    novelty = Novelty(Space())
    assert novelty.propose_from([Candidate(SAME)], "a")
    assert novelty.propose_from([Candidate(SAME)], "a") == []


def test_sources_are_tried_in_turn_and_the_walk_comes_last():
    novelty = Novelty(SMALL)
    drawn = []
    rng = np.random.default_rng(0)

    def stuck(n):
        drawn.append(("stuck", n))
        return [Candidate(SAME)] * n

    def random(n):
        drawn.append(("random", n))
        return [Candidate(SMALL.sample(rng)) for _ in range(n)]

    asked = novelty.propose(18, "a", stuck, random)
    assert set(keys([p.genome.tokens for p in asked])) == set(keys(list(SMALL.enumerate())))
    assert asked[0].genome.tokens == SAME
    names = [name for name, _ in drawn]
    assert names == sorted(names, reverse=True) and names.count("stuck") == module.ROUNDS


def test_the_walk_gives_up_in_a_space_of_countless_spellings(monkeypatch):
    """Sums of x alone: 1.6e9 genomes, 255 functions at most; the run must not hang in it."""
    monkeypatch.setattr(module, "FAR", 1024)
    space = Space(8, 8, unary=("id",), binary=("add",))
    novelty = Novelty(space)
    asked = []
    while batch := novelty.propose(8, "a", lambda n: [Candidate(space.nth(0))]):
        asked += batch
        novelty.settle([outcome(p) for p in batch])
    assert 0 < len(asked) < 256
    assert not novelty.exhausted


def test_the_walk_has_ended_when_all_is_told_and_nothing_failed():
    novelty = Novelty(SMALL)
    asked = novelty.propose(1000, "a")
    assert not novelty.exhausted
    novelty.settle([outcome(p) for p in asked[1:]])
    assert not novelty.exhausted and novelty.propose(4, "a") == []
    novelty.settle([outcome(asked[0])])
    assert novelty.exhausted and novelty.propose(4, "a") == []


def test_a_failed_function_comes_again_in_the_last_lap_only():
    novelty = Novelty(SMALL)
    first = novelty.propose(1, "a")
    novelty.settle([outcome(p, None) for p in first])
    assert novelty.propose_from([Candidate(first[0].genome.tokens)], "a") == []
    rest = []
    while batch := novelty.propose(4, "a"):
        rest += batch
        novelty.settle([outcome(p, None if p.genome == first[0].genome else 0.5) for p in batch])
    assert [p.genome for p in rest].count(first[0].genome) == 1
    assert rest[-1].genome == first[0].genome
