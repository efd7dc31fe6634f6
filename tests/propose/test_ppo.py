"""PPO on the controller: it learns, from its own samples only, and comes out of a collapse."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from hybridsearch.config import ControllerConfig
from hybridsearch.genome.units import Space
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.types import Outcome, Proposal, State, Status

SPACE = Space(1, 1, unary=("id", "neg", "sin", "tanh"), binary=("add", "mul", "gate"))
CONFIG = ControllerConfig(hidden=16, embedding=8)


def outcome(proposal: Proposal, reward: float | None, known: bool = False) -> Outcome:
    status = Status.ERROR if reward is None else Status.OK
    return Outcome(proposal, str(proposal.genome), status, reward, reward, known=known)


def log_prob(proposer: ControllerProposer, tokens) -> float:
    controller = proposer._controller
    return controller.score(proposer._weights, controller.encode([tokens])).log_prob.sum().item()


def is_good(tokens) -> bool:
    """An interaction: neither token is good without the other."""
    return (tokens[0] == "gate") == (tokens[1] == "sin") and tokens[3] == "tanh"


def mean_reward(proposer, n=500) -> float:
    return float(np.mean([is_good(p.genome.tokens) for p in proposer.ask(n)]))


@pytest.mark.parametrize("seed", range(3))
def test_it_learns(seed):
    """Fails when the update is removed or its sign is turned (both tried by hand)."""
    proposer = ControllerProposer(SPACE, CONFIG, seed)
    assert mean_reward(proposer) < 0.25
    for _ in range(30):
        proposer.tell([outcome(p, float(is_good(p.genome.tokens))) for p in proposer.ask(32)])
    assert mean_reward(proposer) > 0.6


def test_one_update_favours_the_better_half():
    proposer = ControllerProposer(SPACE, CONFIG, 0)
    asked = proposer.ask(64)
    good = ("gate", "sin", "x", "tanh", "x")
    before = log_prob(proposer, good)
    proposer.tell([outcome(p, float(p.genome.tokens[0] == "gate")) for p in asked])
    assert log_prob(proposer, good) > before + 0.01


def test_the_baseline_is_the_value_before_the_batch():
    """Equal rewards: judged by the batch's own mean they would have no advantage at all."""
    proposer = ControllerProposer(SPACE, CONFIG, 0)
    decay = CONFIG.baseline_decay
    assert proposer._advantages([0.5, 0.5]) == [1.0, 1.0]  # against the reward of chance
    assert proposer._baseline == 0.5
    high = proposer._advantages([0.9, 0.9])
    assert high[0] > 0 and proposer._baseline == pytest.approx(decay * 0.5 + (1 - decay) * 0.9)
    expected, scale = proposer._baseline, math.sqrt(proposer._scale * decay)
    low = proposer._advantages([expected, 0.0])
    assert low[0] == 0 and -expected / scale < low[1] < 0


def test_only_own_samples_teach():
    one, two = ControllerProposer(SPACE, CONFIG, 0), ControllerProposer(SPACE, CONFIG, 0)
    asked = one.ask(16)
    two.ask(16)
    own = [outcome(p, p.id / 16) for p in asked]
    foreign = [outcome(dataclasses.replace(p, id=p.id + 1000, proposer="x"), 1.0) for p in asked]
    one.tell(own)
    two.tell(own + foreign)
    weights = one.state().arrays, two.state().arrays
    assert all(np.array_equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert one.state().values == two.state().values


def test_a_sample_teaches_once():
    proposer = ControllerProposer(SPACE, CONFIG, 0)
    outcomes = [outcome(p, p.id / 16) for p in proposer.ask(16)]
    proposer.tell(outcomes)
    before = proposer.state()
    proposer.tell(outcomes)
    assert all(np.array_equal(before.arrays[k], a) for k, a in proposer.state().arrays.items())


def test_a_repeat_earns_a_part_of_its_reward():
    def baseline(share: float, known: bool) -> float:
        config = ControllerConfig(hidden=16, embedding=8, repeat_reward=share)
        proposer = ControllerProposer(SPACE, config, 0)
        outcomes = [outcome(p, 0.8, known) for p in proposer.ask(8)]
        proposer.tell([dataclasses.replace(o, key=str(o.proposal.id)) for o in outcomes])
        return proposer.state().values["baseline"]

    assert baseline(0.25, known=True) == pytest.approx(0.2)
    assert baseline(0.25, known=False) == baseline(1.0, known=True) == pytest.approx(0.8)


def imitating(weight: float | None, batches: int = 1) -> tuple[ControllerProposer, float]:
    """A controller shown one genome with a weight (or none), and its log-probability there."""
    config = CONFIG.model_copy(update={"imitation": weight or 0.0})
    proposer = ControllerProposer(SPACE, config, 0)
    example = ("gate", "sin", "x", "tanh", "x")
    for _ in range(batches):
        if weight is not None:
            proposer.imitate([example])
        proposer.tell([outcome(p, p.id % 3 / 3) for p in proposer.ask(32)])
    return proposer, log_prob(proposer, example)


def test_imitation_raises_the_probability_of_its_examples():
    logs = [imitating(weight, 5)[1] for weight in (0.0, 0.1, 1.0)]
    assert logs[0] < logs[1] < logs[2] and logs[2] > logs[0] + 1


def test_imitation_is_apart_from_the_policy_gradient():
    """It has no part in baseline and scale; with weight 0, or none, nothing changes at all."""
    plain, zero, one = (imitating(weight)[0] for weight in (None, 0.0, 1.0))
    for name, array in plain.state().arrays.items():
        assert np.array_equal(array, zero.state().arrays[name])
    assert plain.state().values == zero.state().values
    assert {**one.state().values, "rng": 0} == {**plain.state().values, "rng": 0}


def test_imitation_lasts_for_one_batch_and_survives_a_restore():
    proposer, other = (ControllerProposer(SPACE, CONFIG, seed) for seed in (0, 1))
    proposer.imitate([("gate", "sin", "x", "tanh", "x")])
    other.restore(proposer.state())
    assert other.state().values["examples"] == [["gate", "sin", "x", "tanh", "x"]]
    for controller in (proposer, other):
        controller.tell([outcome(p, p.id / 16) for p in controller.ask(16)])
    assert proposer.state().values["examples"] == []
    weights = (proposer.state().arrays, other.state().arrays)
    assert all(np.array_equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_a_space_of_one_genome():
    proposer = ControllerProposer(Space(1, 1, unary=("id",), binary=("mul",)), CONFIG, 0)
    asked = proposer.ask(3)
    assert {p.genome.tokens for p in asked} == {("mul", "id", "x", "id", "x")}
    proposer.tell([outcome(p, 0.5) for p in asked])
    assert proposer.ask(1)[0].id == 3


def test_clipping_bounds_one_batch():
    """Many passes over one batch move no decision far beyond the clip range (eq. 7)."""
    config = ControllerConfig(hidden=16, embedding=8, epochs=50, clip=0.1, entropy=0, lr=2e-3)
    proposer = ControllerProposer(SPACE, config, 0)
    asked = proposer.ask(64)
    choices = proposer._controller.encode([p.genome.tokens for p in asked])
    before = proposer._controller.score(proposer._weights, choices).log_prob
    proposer.tell([outcome(p, float(p.genome.tokens[0] == "gate")) for p in asked])
    ratio = (proposer._controller.score(proposer._weights, choices).log_prob - before).exp()
    assert 1.05 < ratio.max() < 1.3


def test_repeats_raise_the_entropy_weight_and_it_falls_back():
    proposer = ControllerProposer(SPACE, CONFIG, 0)
    weights = [proposer.state().values["entropy"]]
    for known in [True] * 30 + [False] * 30:
        asked = proposer.ask(8)
        outcomes = [outcome(p, 0.5, known) for p in asked]
        proposer.tell([dataclasses.replace(o, key=str(o.proposal.id)) for o in outcomes])
        weights.append(proposer.state().values["entropy"])
    assert weights[0] == CONFIG.entropy == weights[-1]
    assert weights[30] == CONFIG.entropy_max
    assert (
        sorted(weights[:31]) == weights[:31] and sorted(weights[30:], reverse=True) == weights[30:]
    )


def test_repeats_inside_a_batch_count():
    proposer = ControllerProposer(SPACE, CONFIG, 0)
    asked = proposer.ask(8)
    proposer.tell([dataclasses.replace(outcome(p, 0.5), key="same") for p in asked])
    assert proposer.state().values["entropy"] > CONFIG.entropy


def play(proposer: ControllerProposer, batches: int, seen: set[str]) -> list[int]:
    """A search in which one function is by far the best; new functions per batch."""
    new = []
    for _ in range(batches):
        count = 0
        outcomes = []
        for p in proposer.ask(32):
            key = str(p.genome)
            reward = 1.0 if p.genome.tokens == BEST else 0.1
            outcomes.append(outcome(p, reward, key in seen))
            count += key not in seen
            seen.add(key)
        proposer.tell(outcomes)
        new.append(count)
    return new


FULL = Space(1, 1)
BEST = ("gate", "id", "x", "sin", "x")


def push(proposer: ControllerProposer, amount: float) -> None:
    """Add to the logits of BEST and take from all others, by the bias of the output layer."""
    state = proposer.state()
    bias = state.arrays["weight.head_bias"]
    bias -= amount
    choices = proposer._controller.encode([BEST])[0].tolist()
    for step, pick in zip(proposer._controller.steps, choices, strict=True):
        bias[step.first + pick] += 2 * amount
    proposer.restore(state)


def collapsed(how: str) -> ControllerProposer:
    proposer = ControllerProposer(FULL, ControllerConfig(), 0)
    if how == "forced":
        push(proposer, 8.0)
        return proposer
    # Learnt: Adam remembers the large gradients. All else is worthless, and nothing resists.
    config = ControllerConfig(entropy=0, entropy_max=0)
    teacher = ControllerProposer(FULL, config, 0)
    push(teacher, 2.0)
    for _ in range(60):
        outcomes = [outcome(p, float(p.genome.tokens == BEST)) for p in teacher.ask(32)]
        teacher.tell([dataclasses.replace(o, key=str(o.proposal.id)) for o in outcomes])
    values = {**teacher.state().values, "entropy": ControllerConfig().entropy}
    proposer.restore(State(values, teacher.state().arrays))
    return proposer


@pytest.mark.parametrize("how", ["forced", "learnt"])
def test_it_recovers_from_a_collapse(how):
    """The policy repeats one known function. Long before 50 barren batches (the default patience)
    it proposes new ones again, and keeps doing so although the old one is by far the best."""
    proposer = collapsed(how)
    assert log_prob(proposer, BEST) > math.log(0.9)
    seen = {" ".join(BEST)}
    new = play(proposer, 80, seen)
    print(log_prob(proposer, BEST), new)
    assert sum(new[:3]) < 15
    assert all(sum(new[k : k + 15]) > 0 for k in range(65))
    assert sum(new[40:]) / (40 * 32) > 0.25


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_left_as_they_were(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        proposer = ControllerProposer(SPACE, CONFIG, 0)
        proposer.tell([outcome(p, 0.5) for p in proposer.ask(8)])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
