"""Networks and losses of the user's that draw at random: the same numbers, whatever ran before."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from hybridsearch.config import make_config
from hybridsearch.evaluate.accelerator import say_once
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.training import Trainer, load_child, save_child
from hybridsearch.genome.function import resolve

HERE = "own_draws"
OWN = """
import random
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

class Noisy(nn.Module):
    def __init__(self, make_activation, always=False):
        super().__init__()
        self.first, self.act, self.drop = nn.Linear(4, 8), make_activation(8, -1), nn.Dropout(0.3)
        self.last, self.always = nn.Linear(8, 1), always
        with torch.no_grad():
            self.last.bias += random.random() + np.random.rand()

    def forward(self, x):
        out = self.last(self.drop(self.act(self.first(x))))
        if self.training or self.always:
            out = out * (1 + 0.1 * np.random.rand() + 0.1 * random.random())
        return out + 0.1 * torch.randn(()) if self.always else out

def noisy(make_activation):
    return Noisy(make_activation)

def always(make_activation):
    return Noisy(make_activation, True)

def calm(make_activation):
    return nn.Sequential(nn.Linear(4, 8), make_activation(8, -1), nn.Linear(8, 1))

def jittered(outputs, targets):
    return (outputs.flatten() - targets + 0.1 * torch.randn(len(targets))).square()

def sampled(outputs, targets):
    some = np.random.permutation(len(targets))[:20]
    return float((outputs.flatten() - targets)[some].square().mean())

def numbers(part):
    draw = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[part])
    x = draw.normal(size=(96, 4))
    return x, x[:, 0] - x[:, 1] + draw.normal(size=96)
"""
KINDS = {
    "network": {"network": f"{HERE}:noisy"},
    "network that draws in evaluation too": {"network": f"{HERE}:always"},
    "loss": {"network": f"{HERE}:calm", "loss": f"{HERE}:jittered"},
    "metric": {"network": f"{HERE}:calm", "metric": {"name": f"{HERE}:sampled", "goal": "min"}},
}


@pytest.fixture(autouse=True)
def own(own_module):
    own_module(HERE, OWN)


def settings(network=f"{HERE}:noisy", loss="auto", metric="auto", **training):
    return make_config(
        {
            "pool": "inline",
            "data": {"name": f"{HERE}:numbers"},
            "network": {"name": network},
            "training": {"steps": 12, "batch_size": 16, "lr": 0.02, "loss": loss, **training},
            "metric": metric,
        }
    )


def stir():
    """Whatever this process did before."""
    torch.rand(7)
    np.random.rand(5)
    random.random()


def standing():
    _, words, *rest = np.random.get_state()
    return bytes(torch.get_rng_state().numpy()), bytes(words), rest, random.getstate()


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_was_stopped_equals_one_trained_straight_through(kind, tmp_path):
    config = settings(**KINDS[kind])
    trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
    straight = trainer.new_child(resolve("Swish"), 5)
    trainer.train(straight, 12)
    stir()
    first = trainer.new_child(resolve("Swish"), 5)
    trainer.train(first, 5)
    trainer.score(first, trainer.validation)
    save_child(first, tmp_path / "c.safetensors")
    second = trainer.new_child(resolve("Swish"), 5)
    assert load_child(second, tmp_path / "c.safetensors", at_most=12)
    stir()
    trainer.train(second, 12)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    assert straight.curve == second.curve
    stir()
    once, again = (trainer.score(child, trainer.validation) for child in (straight, second))
    assert once[:2] == again[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_results_depend_on_no_task_before_and_leave_the_caller_its_generators(kind, tmp_path):
    def run(names):
        evaluator = TrainingEvaluator(settings(**KINDS[kind]), tmp_path)
        tasks = [evaluator.task(name, resolve(name).key, 12, 3) for name in names]
        # The measured chance is part of what a child is judged by.
        found = {result.task: result.payload() for result in evaluator.evaluate(tasks)}
        return evaluator.scale, found

    stir()
    before = standing()
    first = run(("ReLU", "tanh(x)", "Swish"))
    assert standing() == before
    stir()
    assert run(("Swish", "ReLU", "tanh(x)")) == first
    assert all(result["status"] == "ok" for result in first[1].values())


def test_steps_draw_differently_and_so_do_children():
    config = settings()
    trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
    made = []
    for seed in (1, 2):
        child = trainer.new_child(resolve("ReLU"), seed)
        child.network.last.register_forward_pre_hook(
            lambda module, inputs: made.append(tuple((inputs[0] == 0).flatten().tolist()))
        )
        trainer.train(child, 3)
    assert len(set(made)) == 6


def test_a_step_that_draws_is_not_captured(fake_gpu):
    """A graph of CUDA would draw from what all children of a pack share."""

    def captures(network):
        config = settings(network=f"{HERE}:{network}", graph="on", steps=20)
        device = fake_gpu()
        trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"), device)
        child = trainer.new_child(resolve("ReLU"), 0)
        trainer.train(child, 20)
        return device.log.count("capture")

    assert captures("calm") == 1
    say_once.cache_clear()
    with pytest.warns(UserWarning, match="draw at random and run without a CUDA graph"):
        assert captures("noisy") == 0


def test_tasks_of_networks_of_ours_keep_their_context(tiny, tmp_path, monkeypatch):
    """What is counted for code of the user's voids no cache of others."""
    from hybridsearch.evaluate import evaluator

    def contexts(config):
        found = []
        for version in (evaluator.OWN_VERSION, evaluator.OWN_VERSION + 1):
            monkeypatch.setattr(evaluator, "OWN_VERSION", version)
            made = TrainingEvaluator(config, tmp_path)
            found.append((made.context, made.time_task("ReLU", "k").context))
        return [len(set(each)) for each in zip(*found, strict=True)]

    assert contexts(tiny()) == [1, 1]
    assert contexts(settings()) == [2, 2]
    assert contexts(settings(network=f"{HERE}:calm")) == [2, 2]
    assert contexts(settings(network="digits_mlp", loss=f"{HERE}:jittered")) == [2, 1]
