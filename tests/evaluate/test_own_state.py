"""Checkpoints of networks of the user's: memory under two names, and state that no file holds."""

from __future__ import annotations

import pytest
import torch

from hybridsearch.config import make_config
from hybridsearch.evaluate import checkpoint
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.training import Trainer, load_child, save_child
from hybridsearch.genome.function import resolve

HERE = "own_state"
OWN = """
import numpy as np
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.embed, self.act = nn.Embedding(5, 6), make_activation(6, -1)
        self.head = nn.Linear(6, 5)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.act(self.embed(tokens)).mean(1))

class Twice(Tied):
    def __init__(self, make_activation):
        super().__init__(make_activation)
        self.head = nn.Linear(6, 5)
        self.again, self.first = self.act, nn.ModuleList([self.embed, self.act])
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("late", self.seen[1:3])
        self.register_buffer("ones", torch.ones(1, 1).expand(3, 4))

    def forward(self, tokens):
        if self.training:
            self.seen += 1
        return self.head(self.again(self.embed(tokens) * self.late.mean() / 9).mean(1))

class Extra(Tied):
    def get_extra_state(self):
        return {"anything": 3}

    def set_extra_state(self, state):
        pass

def tied(make_activation):
    return Tied(make_activation)

def twice(make_activation):
    return Twice(make_activation)

def extra(make_activation):
    return Extra(make_activation)

def tokens(part):
    x = np.random.default_rng(len(part)).integers(0, 5, (64, 3))
    return x, x.sum(1) % 5
"""


@pytest.fixture(autouse=True)
def own(own_module):
    own_module(HERE, OWN)


def settings(network):
    return make_config(
        {
            "pool": "inline",
            "data": {"name": f"{HERE}:tokens", "inputs": "as_given"},
            "network": {"name": f"{HERE}:{network}"},
            "training": {"steps": 10, "batch_size": 16, "lr": 0.02},
        }
    )


def child_of(network):
    config = settings(network)
    trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
    return trainer, trainer.new_child(resolve("x*sigmoid(beta*x)"), 3)


@pytest.mark.parametrize("network", ["tied", "twice"])
def test_memory_under_two_names_is_kept_and_goes_on(network, tmp_path):
    path = tmp_path / "c.safetensors"
    trainer, straight = child_of(network)
    trainer.train(straight, 10)
    trainer, first = child_of(network)
    trainer.train(first, 4)
    save_child(first, path)
    trainer, second = child_of(network)
    assert load_child(second, path, at_most=10)
    trainer.train(second, 10)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    if network == "tied":
        assert second.network.head.weight is second.network.embed.weight
        kept = checkpoint.read_checkpoint(path).tensors
        assert "network.embed.weight" in kept
        assert "network.head.weight" not in kept  # once is enough


@pytest.mark.parametrize("network", ["tied", "twice", "extra"])
def test_such_children_are_promoted(network, tmp_path):
    evaluator = TrainingEvaluator(settings(network), tmp_path)

    def loss(steps):
        task = evaluator.task("Swish", "k", steps, 1)
        (result,) = evaluator.evaluate([task], keep_below=10)
        assert result.status == "ok", result.message
        return result.loss

    loss(4)
    there = list(tmp_path.glob("*.safetensors"))
    assert len(there) == (network != "extra")  # a state of any kind is in no file
    promoted = loss(10)
    evaluator.forget()
    assert loss(10) == promoted


def test_a_save_that_fails_for_any_reason_is_no_error(tmp_path, monkeypatch):
    def refuses(tensors, path, metadata):
        path.write_bytes(b"half")
        raise RuntimeError("I know no such format")

    trainer, child = child_of("tied")
    trainer.train(child, 2)
    monkeypatch.setattr(checkpoint, "save_file", refuses)
    save_child(child, tmp_path / "c.safetensors")
    assert not list(tmp_path.glob("c.*"))
