from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_loop import ACTIVATIONS, COMPOSITE, RELU, SWISH, Images, PlainTraining, normalised

from hybridsearch.config import make_config
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.training import Trainer
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve

STEPS = 9  # of 6 per epoch: the second epoch's order counts too


class InOrder(torch.utils.data.Sampler):
    """The images in the order of a Trainer's child."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count, self.epoch = seed, count, 0

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.epoch, 0])
        self.epoch += 1
        return iter(rng.permutation(self.count).tolist())

    def __len__(self):
        return self.count


def task(network: str):
    return make_config(
        {
            "data": {"name": "digits", "train": 200, "validation": 100},
            "network": {"name": network, "width": 4},
            "training": {"batch_size": 32, "warmup": 3, "hold": 5, "lr": 0.01, "kernel": "eager"},
        }
    )


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn", "resnet8"])
@pytest.mark.parametrize("formula", [RELU, SWISH, COMPOSITE])
def test_the_plain_loop_trains_as_the_trainer_does(network, formula):
    config = task(network)
    data = load_search_data(config.data)
    trainer = Trainer(config, data, torch.device("cpu"))
    child = trainer.new_child(resolve(formula), 3)
    plain = PlainTraining(config, data, formula, 3, order=InOrder(3, 200))
    for step in range(1, STEPS + 1):
        there = float(plain.train(1))
        trainer.train(child, step)
        assert there == pytest.approx(float(child.recent[-1]), rel=1e-3)
    start = PlainTraining(config, data, formula, 3).network
    pairs = zip(start.parameters(), plain.network.parameters(), strict=True)
    assert all((before != after).any() for before, after in pairs)
    mine, its = (
        [p for g in o.param_groups for p in g["params"]] for o in (plain.optimizer, child.optimizer)
    )
    assert sum(p.numel() for p in mine) == sum(p.numel() for p in its)
    labels = torch.from_numpy(data.validation.labels)
    accuracy = trainer.score(child, trainer.validation)[1]
    assert plain.score(normalised(data, data.validation), labels) == pytest.approx(
        accuracy, abs=0.03
    )


@pytest.mark.parametrize("formula", ACTIVATIONS)
@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 4, 4), 1), ((5, 3), -1)])
def test_plain_activations_equal_the_functions(formula, shape, axis):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    plain = ACTIVATIONS[formula]((3, 1, 1) if axis == 1 else (3,))
    torch.testing.assert_close(plain(x), Activation(formula, 3, axis)(x))


@pytest.fixture
def cifar_like():
    config = make_config(
        {
            "data": {"name": "synthetic:cifar10", "train": 64, "validation": 32},
            "network": {"name": "resnet8", "width": 4},
        }
    )
    return load_search_data(config.data)


def test_samples_are_normalised_as_batches_are(cifar_like):
    data = cifar_like
    images = Images(data.train, torch.from_numpy(data.mean), torch.from_numpy(data.std), "none")
    alone = torch.stack([images[n][0] for n in range(64)])
    torch.testing.assert_close(alone, normalised(data, data.train))
    assert [images[n][1] for n in range(64)] == data.train.labels.tolist()


def test_samples_are_crops_and_mirror_images(cifar_like):
    data = cifar_like
    mean, std = torch.zeros(3), torch.ones(3)
    images = Images(data.train, mean, std, "crop_flip")
    padded = torch.nn.functional.pad(images.images[0], (4, 4, 4, 4)).float() / 255
    windows = padded.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    windows = torch.cat([windows, windows.flip(3)])
    found = set()
    for _ in range(40):
        match = (windows == images[0][0]).flatten(1).all(1).nonzero()
        assert len(match) == 1
        found.add(int(match))
    assert len(found) > 25  # of 162
    assert min(found) < 81 <= max(found)
