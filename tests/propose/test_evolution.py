"""Evolution: selection, variation through DEAP, two objectives, immigrants."""

import random

import pytest

from hybridsearch.config import EvolutionConfig
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Space
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.pareto import pareto_front
from hybridsearch.types import Outcome, Proposal, Status

FULL = Space(1, 2)
CONFIG = EvolutionConfig(population=10, tournament=3, crossover=0.5)


def outcome(proposal, reward, cost=None, status=Status.OK):
    return Outcome(proposal, str(proposal.genome), status, reward, reward, cost=cost)


def likes_sine(genome: Genome) -> float:
    return genome.tokens.count("sin") / (2 * len(genome.units))


def play(proposer, batches, worth=likes_sine, n=16) -> list[float]:
    """Mean reward of each batch."""
    means = []
    for _ in range(batches):
        told = [outcome(p, worth(p.genome)) for p in proposer.ask(n)]
        proposer.tell(told)
        means.append(sum(o.reward for o in told) / len(told))
    return means


@pytest.mark.parametrize("crossover", [0.0, 1.0])
def test_it_learns_by_either_operator(crossover):
    config = CONFIG.model_copy(update={"crossover": crossover})
    means = play(EvolutionProposer(FULL, config, 0), 12)
    assert max(means[4:]) > means[0] + 0.25  # crossover alone runs out of new children


def test_the_best_live_on_each_function_once():
    proposer = EvolutionProposer(FULL, CONFIG, 0)
    every = [o for _ in range(4) for o in [outcome(p, p.id % 37 / 37) for p in proposer.ask(16)]]
    proposer._novelty._waiting.update({o.proposal.id: o.key for o in every})
    proposer.tell(every)
    living = sorted(m.reward for m in proposer.best())
    assert living == sorted(o.reward for o in every)[-10:]
    assert len({m.key for m in proposer.best()}) == 10


@pytest.mark.parametrize("status", [Status.REJECTED, Status.DIVERGED])
def test_who_did_not_train_is_no_parent(status):
    proposer = EvolutionProposer(FULL, CONFIG, 0)
    asked = proposer.ask(16)
    proposer.tell([outcome(p, 0.0, status=status if p.id % 2 else Status.OK) for p in asked])
    assert {m.id % 2 for m in proposer.best()} == {0}


def test_parents_are_named_and_win_tournaments():
    proposer = EvolutionProposer(FULL, CONFIG.model_copy(update={"tournament": 200}), 0)
    asked = proposer.ask(10)
    assert all(p.parents == () for p in asked)
    proposer.tell([outcome(p, float(p.id == 4)) for p in asked])
    children = proposer.ask(20)
    assert {p.parents for p in children} == {(4,)}  # the best of 200 draws out of 10


def test_crossover_names_both_parents():
    proposer = EvolutionProposer(FULL, CONFIG.model_copy(update={"crossover": 1.0}), 0)
    proposer.tell([outcome(p, 0.5) for p in proposer.ask(10)])
    parents = [p.parents for p in proposer.ask(20)]
    assert {len(set(ids)) for ids in parents} == {1, 2}  # nobody mates with itself
    assert sum(len(ids) == 2 for ids in parents) > 10


def test_deap_draws_from_a_state_of_its_own():
    """Whatever the global generator does, the tournaments are the same, and they do draw."""
    a, b = (EvolutionProposer(FULL, CONFIG, 5) for _ in range(2))
    for proposer in (a, b):
        proposer.tell([outcome(p, likes_sine(p.genome)) for p in proposer.ask(16)])
    random.seed(1)
    before = random.getstate()
    first = a.ask(16)
    assert random.getstate() == before
    random.seed(2)
    assert b.ask(16) == first
    words = a.state().arrays["deap_random"]
    start = EvolutionProposer(FULL, CONFIG, 5).state().arrays["deap_random"]
    assert not (words == start).all()


def test_an_error_inside_deap_gives_the_global_generator_back():
    proposer = EvolutionProposer(FULL, CONFIG, 0)
    proposer.tell([outcome(p, 0.5) for p in proposer.ask(10)])
    before = random.getstate()
    proposer._toolbox.register("select", lambda population, k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        proposer.ask(4)
    assert random.getstate() == before


def test_immigrants_join_and_are_not_proposed_again():
    proposer = EvolutionProposer(Space(1, 1), CONFIG, 0)
    play(proposer, 2)
    genome = Genome.from_text("gate scale x id x")
    guest = Proposal(10_000, genome, "rl")
    proposer.adopt([outcome(guest, 2.0)])
    assert proposer.best()[0].id == 10_000 and proposer.best()[0].origin == "rl"
    children = [p for _ in range(6) for p in proposer.ask(16)]
    assert any(10_000 in p.parents for p in children)
    assert genome.key not in {p.genome.key for p in children}


def test_all_of_a_space_but_the_immigrants_is_proposed():
    space = Space(1, 1, unary=("id", "tanh", "sin"), binary=("sub", "gate"))
    genomes = [Genome(tokens) for tokens in space.enumerate()]
    guests = [Proposal(10_000 + k, g, "rl") for k, g in enumerate(genomes[4:9])]
    proposer = EvolutionProposer(space, CONFIG, 0)
    proposer.adopt([outcome(p, 0.5) for p in guests])
    asked = set()
    while batch := proposer.ask(3):
        asked |= {p.genome.key for p in batch}
        proposer.tell([outcome(p, 0.1) for p in batch])
    assert asked == {g.key for g in genomes} - {p.genome.key for p in guests}


def test_immigrants_of_one_function_take_one_place():
    proposer = EvolutionProposer(Space(), CONFIG, 0)
    texts = ("max id x tanh x", "max tanh x id x", "max id x tanh x")
    guests = [Proposal(k, Genome.from_text(text), "rl") for k, text in enumerate(texts)]
    proposer.adopt([outcome(p, 0.5) for p in guests])
    assert [m.id for m in proposer.best()] == [0]


def test_bad_immigrants_do_not_join():
    proposer = EvolutionProposer(Space(1, 1), CONFIG, 0)
    play(proposer, 3)
    before = [m.id for m in proposer.best()]
    guest = Proposal(10_000, Genome.from_text("gate scale x id x"), "rl")
    proposer.adopt([outcome(guest, 2.0, status=Status.REJECTED)])
    proposer.adopt([outcome(guest, None, status=Status.ERROR)])
    proposer.adopt([outcome(guest, -1.0)])
    assert [m.id for m in proposer.best()] == before


TWO = EvolutionConfig(population=12, objectives="score_time")


def cost(genome: Genome) -> float:
    """Half of what is good costs time."""
    return 1e-9 * (1 + len(set(genome.tokens)) + 9 * genome.tokens[:5].count("sin"))


def test_two_objectives_keep_the_pareto_front():
    proposer = EvolutionProposer(FULL, TWO, 0)
    told = []
    for _ in range(10):
        batch = [outcome(p, likes_sine(p.genome), cost(p.genome)) for p in proposer.ask(16)]
        told += batch
        proposer.tell(batch)
    points = [(o.reward, o.cost) for o in told]
    front = {points[k] for k in pareto_front(points)}
    living = {(m.reward, m.cost) for m in proposer.best()}
    assert len(front) > 2
    assert front <= living


def test_two_objectives_prefer_the_fast_among_equals():
    score = EvolutionProposer(FULL, EvolutionConfig(population=12), 0)
    both = EvolutionProposer(FULL, TWO, 0)
    means = []
    for proposer in (score, both):
        for _ in range(12):
            proposer.tell([outcome(p, 0.5, cost(p.genome)) for p in proposer.ask(16)])
        means.append(sum(m.cost for m in proposer.best()) / 12)
    assert means[1] < means[0]


def test_without_a_time_a_function_counts_as_slow():
    """The second asks for nothing but time: the untimed one loses to the timed equal one."""
    proposer = EvolutionProposer(FULL, TWO.model_copy(update={"population": 2}), 0)
    asked = proposer.ask(2) + proposer.ask(1)
    costs = [5e-9, None, 1e-9]
    proposer.tell([outcome(p, 0.5, c) for p, c in zip(asked, costs, strict=True)])
    assert asked[2].id in {m.id for m in proposer.best()}
    timeless = EvolutionProposer(FULL, TWO, 0)
    play(timeless, 3)
    assert max(m.reward for m in timeless.best()) == timeless.best()[0].reward
