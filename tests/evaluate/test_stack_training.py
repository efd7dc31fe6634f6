"""A stack gives each replicate what it would have alone, and no replicate can harm another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hybridsearch.config import Config
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.networks import NETWORKS
from hybridsearch.evaluate.stack_training import Stack, StackTrainer, load_stack, save_stack
from hybridsearch.evaluate.stacked import StackedLinear, StackedNetwork
from hybridsearch.evaluate.training import Child, Diverged, Trainer
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve

SEEDS = (5, 9, 2)
FUNCTIONS = ("x*sigmoid(beta*x)", "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)", "PReLU", "ReLU")


def make_trainer(config: Config) -> Trainer:
    return Trainer(config, load_search_data(config.data), torch.device("cpu"))


def replicate(network: StackedNetwork, alone: torch.nn.Module, place: int) -> dict:
    """The parameters and statistics of one replicate, in the order and shapes of `alone`."""
    found = []
    for module in network.modules():
        for name, value in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if isinstance(module, StackedLinear) and name == "weight":
                value = value.flatten(0, 1)
            axis = 1 if isinstance(module, Activation) else 0
            if value.dim():
                value = value.chunk(network.replicates, axis)[place]
            found.append(value.detach())
    names = [
        f"{path}.{name}"
        for path, module in alone.named_modules()
        for name, _ in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]
    ]
    return dict(zip(names, found, strict=True))


def worst(stack: Stack, child: Child, place: int) -> float:
    """The largest difference between a replicate and the child trained alone."""
    alone = child.network.state_dict()
    found = replicate(stack.network, child.network, place)
    assert alone.keys() == found.keys()
    return max(
        float((alone[n].double() - found[n].double()).abs().max())
        for n in alone
        if alone[n].numel()
    )


def start(trainer: Trainer, function: str, seeds=SEEDS) -> tuple[StackTrainer, Stack]:
    side_by_side = StackTrainer(trainer)
    return side_by_side, side_by_side.new_stack(resolve(function), seeds)


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn", "cnn28"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_step_equals_separate_training(tiny, network, function):
    trainer = make_trainer(tiny(network={"name": network}))
    side_by_side, stack = start(trainer, function)
    children = [trainer.new_child(resolve(function), seed) for seed in SEEDS]
    assert all(worst(stack, child, k) == 0 for k, child in enumerate(children))
    side_by_side.train(stack, 1)
    for place, child in enumerate(children):
        before = {n: t.clone() for n, t in child.network.state_dict().items()}
        trainer.train(child, 1)
        assert worst(stack, child, place) < 1e-5
        moved = child.network.state_dict()
        assert max(float((moved[n] - t).abs().max()) for n, t in before.items() if t.numel()) > 1e-3


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn"])
def test_many_steps_stay_close(tiny, network):
    """With other learning rates for betas and weights than one step can tell apart: momentum,
    weight decay and running statistics.
    """
    trainer = make_trainer(tiny(network={"name": network}, training={"lr": 0.01}))
    side_by_side, stack = start(trainer, "x*sigmoid(beta*x)")
    side_by_side.train(stack, 20)
    for place, seed in enumerate(SEEDS):
        child = trainer.new_child(resolve("x*sigmoid(beta*x)"), seed)
        trainer.train(child, 20)
        assert worst(stack, child, place) < 1e-4
        assert stack.curve_of(place) == pytest.approx(np.array(child.curve), abs=1e-5)
        loss, accuracy, correct = trainer.score(child, trainer.validation)
        found = side_by_side.score(stack, trainer.validation)[place]
        assert found.loss == pytest.approx(loss, abs=1e-5)
        assert abs(found.metric - accuracy) < 0.011  # at most one image at the border
        assert np.mean(found.each != correct) < 0.011


@pytest.mark.parametrize("augment", ["none", "shift", "crop_flip"])
def test_batches_are_those_of_the_children(tiny, augment):
    trainer = make_trainer(tiny(data={"augment": augment}))
    for step in range(4, 14):  # over the end of an epoch
        images, labels = trainer.input.stacked(SEEDS, step)
        for place, seed in enumerate(SEEDS):
            alone = trainer.batch(seed, step)
            assert torch.equal(images[place], alone[0])
            assert torch.equal(labels[place], alone[1])


def test_weight_decay_spares_betas_biases_and_norms(tiny):
    trainer = make_trainer(tiny(network={"name": "digits_cnn"}))
    _, stack = start(trainer, "Swish")
    decayed, spared = (group["params"] for group in stack.optimizer.param_groups)
    names = {id(p): name for name, p in stack.network.named_parameters()}
    alone = trainer.new_child(resolve("Swish"), 1).optimizer.param_groups
    assert [len(decayed), len(spared)] == [len(group["params"]) for group in alone]
    assert all(names[id(p)].endswith("weight") for p in decayed)
    assert sum("betas" in names[id(p)] for p in spared) == 3
    assert sum("bias" in names[id(p)] for p in spared) == 4


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("stop", [7, 10])
def test_a_continued_stack_equals_one_trained_straight_through(tiny, tmp_path, network, stop):
    trainer = make_trainer(tiny(network={"name": network}))
    side_by_side, straight = start(trainer, "x*sigmoid(beta*x)")
    side_by_side.train(straight, 23)

    _, first = start(trainer, "x*sigmoid(beta*x)")
    side_by_side.train(first, stop)
    side_by_side.score(first, trainer.validation)  # must leave no trace
    path = tmp_path / "s.safetensors"
    save_stack(first, path)
    _, second = start(trainer, "x*sigmoid(beta*x)")
    assert load_stack(second, path, at_most=23)
    side_by_side.train(second, 23)

    ours, theirs = second.network.state_dict(), straight.network.state_dict()
    assert all(torch.equal(ours[n], t) for n, t in theirs.items())
    assert second.curve == straight.curve
    scores = [side_by_side.score(s, trainer.validation) for s in (second, straight)]
    assert [s.loss for s in scores[0]] == [s.loss for s in scores[1]]

    for seeds, at_most in ((SEEDS, stop - 1), (SEEDS[::-1], 23), (SEEDS[:2], 23)):
        other = start(trainer, "x*sigmoid(beta*x)", seeds)[1]
        assert not load_stack(other, path, at_most)
    path.write_bytes(path.read_bytes()[:-40])
    assert not load_stack(second, path, 23)


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("width", [3, 4, 8, 16])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_replicate(tiny, network, width, value):
    """Grouped convolutions of other sizes are other kernels, some of which pad with zeros."""
    trainer = make_trainer(tiny(network={"name": network, "width": width}))
    side_by_side, clean = start(trainer, "x*sigmoid(beta*x)")
    _, stack = start(trainer, "x*sigmoid(beta*x)")
    alike = trainer.new_child(resolve("x*sigmoid(beta*x)"), 1).network
    for tensor in replicate(stack.network, alike, 1).values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    for trained in (clean, stack):
        side_by_side.train(trained, 12)
    assert list(stack.diverged) == [1]
    assert stack.diverged[1] == "training loss nan at step 1"
    assert not clean.diverged
    for place in (0, 2):
        ours, theirs = (replicate(s.network, alike, place) for s in (stack, clean))
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs)
        assert stack.curve_of(place) == clean.curve_of(place)
    scores = side_by_side.score(stack, trainer.validation)
    assert [math.isfinite(s.loss) for s in scores] == [True, False, True]


def test_divergence_has_the_step_and_words_of_a_child_alone(tiny, tmp_path):
    trainer = make_trainer(tiny(training={"lr": 0.05, "diverged_above": 1.5}))
    side_by_side, stack = start(trainer, "x^3", range(8))
    side_by_side.train(stack, 7)
    assert stack.diverged
    save_stack(stack, tmp_path / "s.safetensors")
    _, stack = start(trainer, "x^3", range(8))
    assert load_stack(stack, tmp_path / "s.safetensors", 12)
    side_by_side.train(stack, 12)
    alone = {}
    for seed in range(8):
        child = trainer.new_child(resolve("x^3"), seed)
        try:
            trainer.train(child, 12)
        except Diverged as error:
            alone[seed] = str(error)
    steps = {seed: message.split(" at ")[1] for seed, message in alone.items()}
    assert len(set(steps.values())) > 1
    assert len(alone) < 8
    assert {k: m.split(" at ")[1] for k, m in stack.diverged.items()} == steps
    assert all(m.startswith("training loss ") for m in stack.diverged.values())


def test_a_stack_of_the_dead_ends_early(tiny):
    trainer = make_trainer(tiny(training={"lr": 1e6, "warmup": 0}))
    side_by_side, stack = start(trainer, "x^3")
    side_by_side.train(stack, 500)
    assert set(stack.diverged) == {0, 1, 2}
    assert stack.step == 10


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn"])
def test_whole_trainings_are_alike_in_distribution(tiny, network):
    """Rounding grows over a training, so single numbers differ; their distribution must not."""
    settings = {"train": 384, "validation": 700}
    trainer = make_trainer(tiny(network={"name": network, "width": 8}, data=settings))
    side_by_side = StackTrainer(trainer)
    seeds = range(24)
    together = []
    for first in range(0, 24, 8):
        stack = side_by_side.new_stack(resolve("ReLU"), seeds[first : first + 8])
        side_by_side.train(stack, 40)
        together += [s.metric for s in side_by_side.score(stack, trainer.validation)]
    alone = []
    for seed in seeds:
        child = trainer.new_child(resolve("ReLU"), seed)
        trainer.train(child, 40)
        alone.append(trainer.score(child, trainer.validation)[1])
    gap = np.array(together) - np.array(alone)
    spread = np.std(alone)
    assert abs(gap.mean()) < 0.002
    assert np.std(gap) < spread  # paired: the same seed is much like itself
    assert 0.7 < np.std(together) / spread < 1.4


def test_bf16_stacks_train_too(tiny):
    trainer = make_trainer(tiny(training={"precision": "bf16"}, network={"name": "digits_cnn"}))
    side_by_side, stack = start(trainer, "Swish")
    side_by_side.train(stack, 20)
    child = trainer.new_child(resolve("Swish"), SEEDS[1])
    trainer.train(child, 20)
    found = side_by_side.score(stack, trainer.validation)[1].loss
    assert found == pytest.approx(trainer.score(child, trainer.validation)[0], rel=0.1)


def test_a_network_that_is_no_chain_is_refused():
    act = lambda channels, axis: Activation("ReLU", channels, axis)  # noqa: E731
    networks = [NETWORKS["resnet8"](act, (1, 8, 8), 10, 4) for _ in range(2)]
    with pytest.raises(TypeError, match="BasicBlock"):
        StackedNetwork(networks)
