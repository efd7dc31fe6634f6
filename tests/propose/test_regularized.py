"""Aging evolution: the oldest dies, parents win samples, children are mutants."""

from hybridsearch.config import RegularizedConfig
from hybridsearch.genome.units import Space
from hybridsearch.propose.regularized import RegularizedProposer
from hybridsearch.types import Outcome, Status

CONFIG = RegularizedConfig(population=8, sample=4)


def outcome(proposal, reward, status=Status.OK):
    return Outcome(proposal, str(proposal.genome), status, reward, reward)


def test_the_oldest_dies_not_the_worst():
    proposer = RegularizedProposer(Space(), CONFIG, 0)
    for _ in range(4):
        proposer.tell([outcome(p, 1.0 / (1 + p.id)) for p in proposer.ask(5)])
    assert [m.id for m in proposer._population] == list(range(12, 20))


def test_who_did_not_train_takes_nobodys_place():
    proposer = RegularizedProposer(Space(), CONFIG, 0)
    proposer.tell([outcome(p, 0.5) for p in proposer.ask(8)])
    proposer.tell([outcome(p, 0.0, Status.REJECTED) for p in proposer.ask(8)])
    assert [m.id for m in proposer._population] == list(range(8))


def test_children_are_mutants_of_the_best_of_a_sample():
    proposer = RegularizedProposer(Space(), CONFIG.model_copy(update={"sample": 50}), 0)
    first = proposer.ask(8)
    proposer.tell([outcome(p, float(p.id == 3)) for p in first])
    children = proposer.ask(8)
    assert {p.parents for p in children} == {(3,)}
    best = first[3].genome.tokens
    assert all(
        sum(s != t for s, t in zip(best, p.genome.tokens, strict=True)) == 1 for p in children
    )


def test_a_sample_of_one_takes_any():
    proposer = RegularizedProposer(Space(), CONFIG.model_copy(update={"sample": 1}), 0)
    proposer.tell([outcome(p, float(p.id == 3)) for p in proposer.ask(8)])
    assert len({p.parents for p in proposer.ask(30)}) > 4


def test_it_learns():
    proposer = RegularizedProposer(Space(1, 2), RegularizedConfig(population=16, sample=6), 0)
    rewards = []
    for _ in range(14):
        told = [outcome(p, p.genome.tokens.count("sin") / 4) for p in proposer.ask(16)]
        rewards.append(sum(o.reward for o in told) / 16)
        proposer.tell(told)
    assert rewards[-1] > rewards[0] + 0.2
