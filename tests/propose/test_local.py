"""Local search: it climbs, sees a dead end, and starts anew."""

import numpy as np

from hybridsearch.config import LocalConfig
from hybridsearch.genome.units import Space
from hybridsearch.genome.variation import neighbours
from hybridsearch.propose.base import Candidate
from hybridsearch.propose.local import LocalProposer
from hybridsearch.types import Outcome, Status

CONFIG = LocalConfig(starts=4)
BEST = ("gate", "sin", "x", "tanh", "x")


def outcome(proposal, reward, status=Status.OK):
    return Outcome(proposal, str(proposal.genome), status, reward, reward)


def closeness(genome) -> float:
    return sum(s == t for s, t in zip(genome.tokens, BEST, strict=True)) / 5


def test_the_best_of_the_starts_is_the_first_point():
    proposer = LocalProposer(Space(), CONFIG, 0)
    asked = proposer.ask(4)
    proposer.tell([outcome(p, float(p.id == 2)) for p in asked])
    near = neighbours(asked[2].genome.tokens, Space())
    steps = proposer.ask(8)
    assert all(p.parents == (2,) and p.genome.tokens in near for p in steps)


def test_it_moves_to_the_best_neighbour_of_a_batch_if_it_is_better():
    proposer = LocalProposer(Space(), CONFIG, 0)
    proposer.tell([outcome(p, 0.5) for p in proposer.ask(4)])
    steps = proposer.ask(4)
    proposer.tell([outcome(p, 0.4) for p in steps])  # all worse: it stays
    assert {p.parents for p in proposer.ask(1)} == {(0,)}
    proposer.tell([])
    steps = proposer.ask(4)
    proposer.tell([outcome(p, 0.6 + p.id / 100) for p in steps])
    assert {p.parents for p in proposer.ask(4)} == {(steps[-1].id,)}


def test_at_a_dead_end_it_starts_anew_from_the_best_random_function():
    space = Space()
    proposer = LocalProposer(space, CONFIG, 0)
    proposer.tell([outcome(p, 1.0) for p in proposer.ask(4)])  # nothing will be better
    random = []
    for _ in range(20):
        asked = proposer.ask(8)
        random += [p.id for p in asked if not p.parents]
        proposer.tell([outcome(p, p.id / 1000) for p in asked])
        if len(random) >= 4:
            break
    assert {p.parents for p in proposer.ask(4)} == {(max(random),)}


def at_a_point(proposer):
    """The proposer with a point of reward 0.5, the proposal 0."""
    proposer.tell([outcome(p, 0.5 - p.id / 100) for p in proposer.ask(4)])
    return len(neighbours(proposer._point.genome, Space()))


def test_a_screen_that_chooses_no_neighbour_comes_to_a_dead_end_too():
    """Each is drawn once; then random ones are, and the best of so many is the next point."""
    proposer = LocalProposer(Space(), CONFIG, 0)
    many = at_a_point(proposer)
    drawn = [c for _ in range(3) for c in proposer.draw(many // 2)]
    near = [c.genome for c in drawn if c.parents == (0,)]
    assert len(near) == len(set(near)) == many
    random = [c for c in drawn if not c.parents][:4]
    for number, candidate in enumerate(random, start=10):
        assert not proposer.draw(1)[0].parents
        proposer.adopt([outcome(candidate.proposal(number, "local"), number / 100)])
    assert {c.parents for c in proposer.draw(8)} == {(13,)}


def test_a_neighbour_that_was_drawn_and_is_chosen_late_is_a_step_until_the_point_moves():
    proposer = LocalProposer(Space(), CONFIG, 0)
    drawn = proposer.draw(at_a_point(proposer))
    saved = proposer.state()
    proposer = LocalProposer(Space(), CONFIG, 0)
    proposer.restore(saved)
    proposer.adopt([outcome(drawn[5].proposal(10, "local"), 0.6)])
    proposer.draw(len(neighbours(drawn[5].genome, Space())))  # none is left
    for number, candidate in enumerate(drawn[10:20], start=20):  # of the former point
        proposer.adopt([outcome(candidate.proposal(number, "local"), 0.4)])
    assert proposer._point.id == 10
    proposer.adopt([outcome(c.proposal(30 + k, "local"), 0.1) for k, c in enumerate(random(4))])
    assert proposer._point.id == 20


def test_a_late_neighbour_of_a_former_point_is_a_step_if_it_is_better_than_the_present_one():
    """As it is where the search proposes by itself: with others under way it may come after."""
    proposer = LocalProposer(Space(), CONFIG, 0)
    drawn = proposer.draw(at_a_point(proposer))
    early, worse, late = (drawn[k].proposal(10 + k, "local") for k in range(3))
    proposer.adopt([outcome(early, 0.6)])
    proposer.adopt([outcome(worse, 0.55)])
    assert proposer._point.id == 10
    proposer.adopt([outcome(late, 0.7)])
    assert proposer._point.id == 12
    assert {c.parents for c in proposer.draw(4)} == {(12,)}


def random(n):
    rng = np.random.default_rng(9)
    return [Candidate(Space().sample(rng), operator="random") for _ in range(n)]


def test_a_rejected_neighbour_is_no_point():
    proposer = LocalProposer(Space(), CONFIG, 0)
    proposer.tell([outcome(p, -1.0) for p in proposer.ask(4)])
    proposer.tell([outcome(p, 0.0, Status.REJECTED) for p in proposer.ask(4)])
    assert {p.parents for p in proposer.ask(4)} == {(0,)}


def test_it_finds_the_top_of_a_hill():
    proposer = LocalProposer(Space(), CONFIG, 1)
    best = 0.0
    for _ in range(30):
        told = [outcome(p, closeness(p.genome)) for p in proposer.ask(8)]
        best = max(best, *(o.reward for o in told))
        proposer.tell(told)
    assert best == 1.0


def test_it_changes_size_where_the_space_has_several():
    proposer = LocalProposer(Space(1, 3), CONFIG, 0)
    for _ in range(20):
        asked = proposer.ask(16)
        proposer.tell([outcome(p, len(p.genome.units) / 3) for p in asked])
    assert max(len(p.genome.units) for p in asked) == 3
