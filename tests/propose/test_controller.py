"""The controller is a distribution over exactly the genomes of its space."""

import math

import numpy as np
import pytest
import torch

from hybridsearch.genome.units import Space
from hybridsearch.propose.controller import Controller

SPACES = {
    "one": Space(1, 1),
    "two": Space(2, 2),
    "three": Space(1, 3),
    "middle": Space(2, 3, unary=("id", "beta", "sin"), binary=("add", "gate")),
    "single binary": Space(1, 2, unary=("id", "tanh"), binary=("mul",)),
    "single unary": Space(1, 3, unary=("id",), binary=("add", "mul")),
    "single genome": Space(1, 1, unary=("id",), binary=("add",)),
    "only stop": Space(1, 2, unary=("id",), binary=("add",)),
}


@pytest.fixture(params=SPACES, name="space")
def _space(request):
    return SPACES[request.param]


def make(space, scale=1.0, seed=0):
    """A controller far from uniform, so that no test passes by symmetry."""
    controller = Controller(space, hidden=8, embedding=4, logit_bound=10.0)
    return controller, controller.init(np.random.default_rng(seed), scale)


def draw(space, n=200):
    controller, weights = make(space)
    return controller, weights, controller.sample(weights, n, np.random.default_rng(1))


def test_samples_are_in_the_space(space):
    controller, _, rollout = draw(space)
    genomes = controller.decode(rollout.choices.numpy())
    assert all(g in space for g in genomes)
    assert {len(g) // 5 for g in genomes} <= set(range(space.min_units, space.max_units + 1))


def test_every_size_is_drawn():
    space = SPACES["three"]
    controller, _, rollout = draw(space)
    assert {len(g) for g in controller.decode(rollout.choices.numpy())} == {5, 10, 15}


def test_later_units_read_earlier_ones_only():
    space = SPACES["three"]
    controller, _, rollout = draw(space, 500)
    read = {k: set() for k in (1, 2, 3)}
    for g in controller.decode(rollout.choices.numpy()):
        for place in range(2, len(g), 5):
            read[place // 5 + 1] |= {g[place], g[place + 2]}
    assert read == {1: {"x"}, 2: {"x", "u1"}, 3: {"x", "u1", "u2"}}


def test_encode_is_the_inverse_of_decode(space):
    controller, _, rollout = draw(space)
    genomes = controller.decode(rollout.choices.numpy())
    assert torch.equal(controller.encode(genomes), rollout.choices)


def test_chances_are_the_probabilities_of_the_tokens(space):
    controller, _, rollout = draw(space)
    genomes = controller.decode(rollout.choices.numpy())
    chances = controller.chances(rollout.log_prob, genomes)
    stops = torch.tensor([step.place < 0 for step in controller.steps], dtype=torch.bool)
    of_tokens = rollout.log_prob[:, ~stops].sum(1)
    for genome, row, expected in zip(genomes, chances, of_tokens.tolist(), strict=True):
        assert len(row) == len(genome)
        assert math.log(math.prod(row)) == pytest.approx(expected, abs=0.02)


def test_score_repeats_what_sampling_said(space):
    controller, weights, rollout = draw(space)
    again = controller.score(weights, rollout.choices)
    assert torch.equal(again.log_prob, rollout.log_prob)
    assert torch.equal(again.entropy, rollout.entropy)


def test_decisions_after_the_end_cost_nothing():
    _, _, rollout = draw(SPACES["three"])
    ended = rollout.choices < 0
    assert ended.any()
    assert (rollout.log_prob[ended] == 0).all() and (rollout.entropy[ended] == 0).all()
    assert (rollout.log_prob[~ended] < 0).all() and (rollout.entropy[~ended] > 0).all()


@pytest.mark.parametrize("name", ["middle", "single binary", "single unary", "only stop"])
def test_probabilities_of_a_tiny_space_sum_to_one(name):
    space = SPACES[name]
    if name == "middle":
        space = Space(1, 2, unary=("id", "sin"), binary=("add", "gate"))
    controller, weights = make(space)
    genomes = list(space.enumerate())
    assert len(genomes) == space.count()
    log_p = controller.score(weights, controller.encode(genomes)).log_prob.double().sum(1)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_frequencies_follow_the_probabilities():
    space = Space(1, 1, unary=("id", "sin"), binary=("add", "gate"))
    controller, weights = make(space)
    genomes = list(space.enumerate())
    p = controller.score(weights, controller.encode(genomes)).log_prob.sum(1).exp().numpy()
    n = 20_000
    drawn = controller.decode(controller.sample(weights, n, np.random.default_rng(3)).choices)
    share = np.array([drawn.count(g) for g in genomes]) / n
    assert np.abs(share - p).max() < 4 * np.sqrt(p.max() / n)
    assert p.max() > 5 * p.min()  # far from uniform, or the test shows nothing


def test_what_was_chosen_is_fed_back():
    controller, weights = make(SPACES["one"])
    base = ("add", "id", "x", "id", "x")
    other = ("mul", "id", "x", "id", "x")
    log_p = controller.score(weights, controller.encode([base, other])).log_prob
    assert not torch.allclose(log_p[0, 1:], log_p[1, 1:])


def test_a_fresh_controller_is_nearly_uniform():
    controller, weights = make(SPACES["one"], scale=0.08)
    rollout = controller.sample(weights, 50, np.random.default_rng(0))
    assert rollout.entropy.sum(1).mean().item() == pytest.approx(np.log(10 * 25 * 25), abs=0.1)
