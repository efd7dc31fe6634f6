"""The hybrid equals its parts without exchange, and each channel of exchange does something."""

from dataclasses import replace

import numpy as np
import pytest

from hybridsearch.config import ControllerConfig, EvolutionConfig, HybridConfig
from hybridsearch.genome.units import Space
from hybridsearch.propose.bandit import Bandit
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.hybrid import HybridProposer
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.types import Outcome, Proposal, Status

FULL = Space(1, 2)
CONTROLLER = ControllerConfig(hidden=16, embedding=8)
EVOLUTION = EvolutionConfig(population=8)
APART = HybridConfig(bandit=False, share=0.5, exchange=False)
STATUSES = (Status.OK, Status.OK, Status.REJECTED, Status.OK, Status.ERROR, Status.DIVERGED)


def make(config, space=FULL, seed=3, **controller):
    changed = CONTROLLER.model_copy(update=controller)
    return HybridProposer(space, config, changed, EVOLUTION, seed)


def outcome(proposal, reward=None, status=Status.OK, known=False):
    text = str(proposal.genome)
    if status is Status.ERROR:
        reward = None
    elif reward is None:
        reward = sum(map(ord, text)) % 17 / 17 if status is Status.OK else 0.0
    return Outcome(proposal, text, status, reward, reward, known=known)


def by(proposals, name):
    return [p for p in proposals if p.proposer == name]


@pytest.mark.parametrize("share", [0.5, 0.3, 0.0, 1.0])
def test_apart_each_part_equals_that_part_alone(share):
    """Step for step: same genomes, same weights, same population, whatever the ask sizes."""
    hybrid = make(APART.model_copy(update={"share": share}))
    alone = {
        "rl": ControllerProposer(FULL, CONTROLLER, 3),
        "evolution": EvolutionProposer(FULL, EVOLUTION, 3),
    }
    for size in (12, 1, 7, 1, 1, 32, 12, 12):
        asked = hybrid.ask(size)
        assert len(asked) == size
        told = [outcome(p, status=STATUSES[p.id % 6], known=p.id % 5 == 0) for p in asked]
        hybrid.tell(told)
        for name, part in alone.items():
            own = [o for o in told if o.proposal.proposer == name]
            if own:
                again = part.ask(len(own))
                assert [p.genome for p in again] == [o.proposal.genome for o in own]
                part.tell([replace(o, proposal=p) for o, p in zip(own, again, strict=True)])
    state = hybrid.state()
    for name, key in (("rl", "controller"), ("evolution", "population")):
        part = alone[name].state()
        assert part.values["rng"] == state.values[key]["rng"]
        assert all(np.array_equal(a, state.arrays[f"{key}/{k}"]) for k, a in part.arrays.items())
    kept = [[m.genome, m.reward] for m in alone["evolution"].best()]
    assert kept == [[m.genome, m.reward] for m in hybrid._population.best()]


def test_parents_are_ids_of_the_run_and_labels_name_the_part():
    hybrid = make(APART)
    seen = {}
    for _ in range(4):
        asked = hybrid.ask(12)
        assert {p.proposer for p in asked} == {"rl", "evolution"}
        for p in asked:
            assert all(seen[parent].proposer == "evolution" for parent in p.parents)
            seen[p.id] = p
        hybrid.tell([outcome(p) for p in asked])
    assert any(p.parents for p in seen.values())


# The channels: each with and without, so that a channel that does nothing fails ------------------


def immigration(exchange: bool):
    """The controller's first find is the best of all; what does the population make of it?"""
    hybrid = make(HybridConfig(bandit=False, share=0.5, exchange=exchange), imitation=0.0)
    find, bred, first = None, [], set()
    for _ in range(6):
        asked = hybrid.ask(24)
        find = find or by(asked, "rl")[0]
        first |= {p.genome.key for p in by(asked, "evolution")}
        bred += by(asked, "evolution")
        hybrid.tell([outcome(p, 9.0 if p.genome.key == find.genome.key else None) for p in asked])
    return find, bred, first, hybrid


def test_the_controllers_finds_reach_the_population():
    find, bred, made, hybrid = immigration(True)
    assert find.genome.key not in made  # the population had not made it, and does not make it again
    assert find.genome.key in {m.key for m in hybrid._population.best()}
    children = [p for p in bred if find.id in p.parents]
    assert len(children) > 5
    _, _, without, other = immigration(False)
    assert {p.genome.key for p in children} - without  # functions that were not there
    assert find.genome.key not in {m.key for m in other._population.best()}


def imitation(exchange: bool):
    """The population's first function is the best of all; does the controller go there?"""
    config = HybridConfig(bandit=False, share=0.5, exchange=exchange)
    hybrid = make(config, Space(), examples=1)
    star, drawn = None, []
    for _ in range(12):
        asked = hybrid.ask(24)
        star = star or by(asked, "evolution")[0]
        drawn += by(asked, "rl")
        # The controller itself is told that all it draws is equal.
        hybrid.tell([outcome(p, 1.0 if p.id == star.id else 0.3) for p in asked])
    near = {
        p.genome.tokens
        for p in drawn
        if sum(s != t for s, t in zip(star.genome.tokens, p.genome.tokens, strict=True)) <= 1
    }
    return star, near


def test_the_populations_best_reach_the_controller():
    star, near = imitation(True)
    other, without = imitation(False)
    assert star.genome == other.genome
    assert len(near - without) > 5  # functions that were not there
    assert len(without) < 3


def test_the_controller_does_not_imitate_itself():
    hybrid = make(HybridConfig(bandit=False, share=0.5), examples=8)
    asked = hybrid.ask(24)
    shown = []
    hybrid._controller.imitate = shown.append
    hybrid.tell([outcome(p, 0.9 if p.proposer == "rl" else 0.1 + p.id / 100) for p in asked])
    [genomes] = shown
    bred = {p.genome.tokens for p in by(asked, "evolution")}
    assert not genomes  # its own finds fill the population of 8
    assert len(hybrid._population.best()) == 8 and bred
    asked = hybrid.ask(24)
    hybrid.tell([outcome(p, 1.0 if p.proposer == "evolution" else 0.2) for p in asked])
    assert shown[-1]
    assert set(shown[-1]) <= {p.genome.tokens for p in by(asked, "evolution")}


# The bandit ---------------------------------------------------------------------------------------


def some(name, rewards, known=False, status=Status.OK):
    genome = make(APART).ask(1)[0].genome
    return [
        Outcome(Proposal(k, genome, name), "", status, r, r, known=known)
        for k, r in enumerate(rewards)
    ]


def test_the_share_is_the_formula():
    """Thierens 2005, equations 1 to 3, worked out by hand."""
    c = HybridConfig(floor=0.2, memory=2.0, bar=2)
    bandit = Bandit(c)
    assert bandit.share == c.share
    bandit.learn(some("rl", [0.4, 0.6]), some("evolution", [0.1, 0.3]))  # no bar yet: 0
    rate = 1 - np.exp(-2 / 2.0)
    q1, q2 = rate * 0.5, rate * 0.2
    assert bandit.share == pytest.approx(0.2 + 0.6 * q1 / (q1 + q2))
    bandit.learn(some("rl", [0.2, 0.4]), some("evolution", [0.9]))  # the bar is 0.4
    q1 += rate * (0.0 - q1)
    q2 += (1 - np.exp(-1 / 2.0)) * (0.5 - q2)
    assert bandit.share == pytest.approx(0.2 + 0.6 * q1 / (q1 + q2))


@pytest.mark.parametrize("better", [0, 1])
def test_the_share_follows_who_improves_down_to_the_floor(better):
    bandit = Bandit(HybridConfig(floor=0.1))
    for k in range(60):
        arms = [some("rl", [0.1] * 8), some("evolution", [0.1] * 8)]
        arms[better] = some("best", [0.2 + k / 100] * 8)
        bandit.learn(*arms)
    assert bandit.share == pytest.approx(0.9 if better == 0 else 0.1, abs=0.01)


def test_what_was_known_or_failed_earns_nothing():
    bandit = Bandit(HybridConfig())
    bandit.learn(some("rl", [0.9] * 4, known=True), some("evolution", [0.1] * 4))
    assert bandit.share == pytest.approx(HybridConfig().floor)
    before = bandit.state()
    bandit.learn(some("rl", [None] * 4, status=Status.ERROR), [])
    assert bandit.state() == before


def test_off_the_share_is_fixed():
    bandit = Bandit(HybridConfig(bandit=False, share=0.7))
    bandit.learn(some("rl", [0.0] * 4), some("evolution", [0.9] * 4))
    assert bandit.share == 0.7


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_asks_of_any_size_add_up_to_the_share(share, size):
    bandit = Bandit(HybridConfig(bandit=False, share=share))
    parts = [bandit.split(size) for _ in range(50)]
    assert all(0 <= part <= size for part in parts)
    assert abs(sum(parts) - share * 50 * size) <= 1


def test_candidates_are_random_until_the_parts_know_something():
    hybrid = make(HybridConfig(random=0.25, settle=40))

    def share():
        drawn = hybrid.draw(64)
        assert len(drawn) == 64
        return sum(c.origin == "random" for c in drawn) / 64

    shares = [share()]
    for _ in range(3):
        hybrid.tell([outcome(p) for p in hybrid.ask(20)])
        shares.append(share())
    assert shares == pytest.approx([1.0, 0.625, 0.25, 0.25], abs=0.02)
    never = make(HybridConfig(random=0.25, settle=0)).draw(64)
    assert sum(c.origin == "random" for c in never) == 16
