"""Tasks of the user's beyond the usual: targets that are maps, rare classes, heavy tails, networks
that fill the memory, data that are drawn anew.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import judge, worker
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.judge import make_objective
from hybridsearch.evaluate.objective import Tally
from hybridsearch.evaluate.training import Diverged, Trainer
from hybridsearch.genome.function import resolve
from hybridsearch.types import Status

OWN = """
import numpy as np
import os
import torch
from torch import nn

class Wide(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 1, 3, padding=1), make_activation(1, 1)
    def forward(self, x):
        return self.act(self.conv(x))[:, 0]

class Force(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(2, 4), make_activation(4, -1), nn.Linear(4, 1)
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.last(self.act(self.first(x))).sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0]

class Large(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), make_activation(4, -1), nn.Linear(4, 1))
    def forward(self, x):
        if len(x) > 40:
            raise MemoryError("out of memory")
        return self.net(x)

class Slip(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.act, self.last = make_activation(3, -1), nn.Linear(7, 2)
    def forward(self, x):
        return self.last(self.act(x))

def small(make_activation, outputs):
    return nn.Sequential(nn.Linear(2, 4), make_activation(4, -1), nn.Linear(4, outputs))

def maps(part):
    numbers = np.arange(64, dtype=np.float32) + 1000 * len(part)
    images = np.tile(numbers[:, None, None, None], (1, 1, 4, 4))
    return images, images[:, 0] + np.arange(4)

def columns(part):
    images, masks = maps(part)
    return images, masks[:, :1, 0]

def rare(part):
    labels = np.arange(200) % 20 == 0
    return np.random.default_rng(len(part)).normal(size=(200, 2)), labels.astype(int)

def tailed(part):
    draw = np.random.default_rng(len(part))
    x, y = draw.normal(size=(400, 2)), draw.normal(size=400)
    y[::400] = 2000.0
    return x, y

def split_anew(part):
    whole = np.random.permutation(60)
    rows = dict(train=whole[:40], validation=whole[40:50], test=whole[50:])[part]
    return np.stack([rows, rows], 1).astype(float), rows.astype(float)

def never_the_same(part):
    x = np.frombuffer(os.urandom(400), np.uint8).reshape(200, 2).astype(float)
    return x, x[:, 0]

def forces(part):
    x = np.random.default_rng(len(part)).normal(size=(64, 2))
    return x, -x

def masks(outputs, targets):
    return (outputs - targets[(..., *[None] * (3 - targets.dim()))]).square().mean((1, 2))

def mean_only(outputs, targets):
    return (outputs - targets.reshape(outputs.shape)).square().mean()

def of_two(outputs, targets):
    return (outputs[:, 1] - outputs[:, 0] - targets).square()

def accuracy(outputs, targets):
    return 90.0 + 0 * float(outputs.sum())

def all_classes(outputs, targets):
    if len(set(targets.tolist())) < 2:
        raise ValueError("expected both classes")
    return 0.7
"""
HERE = "own_extremes"


@pytest.fixture(autouse=True)
def own(own_module):
    own_module(HERE, OWN)


def settings(source, net="small", /, **more):
    training = {"steps": 10, "batch_size": 16, **more.pop("training", {})}
    return make_config(
        {
            "pool": "inline",
            "data": {"name": f"{HERE}:{source}", **more.pop("data", {})},
            "network": {"name": f"{HERE}:{net}", **more.pop("network", {})},
            "training": training,
            **more,
        }
    )


def trainer(config):
    return Trainer(config, load_search_data(config.data), torch.device("cpu"))


@pytest.fixture
def evaluator_of(tmp_path):
    return lambda config: TrainingEvaluator(config, tmp_path / "children")


@pytest.mark.parametrize(("source", "shape"), [("maps", (16, 4, 4)), ("columns", (16, 1))])
def test_targets_of_images_keep_their_shape(source, shape):
    made = trainer(settings(source, "Wide", training={"loss": f"{HERE}:masks"}))
    images, targets = made.batch(0, 3)
    assert targets.shape == shape
    pixels = images * made.input.std + made.input.mean  # of image k all are k + 1000
    torch.testing.assert_close(targets.reshape(16, -1)[:, 0], pixels[:, 0, 0, 0])


def test_images_are_not_moved_away_from_their_maps():
    with pytest.raises(UserError, match=r"crop_flip moves images, but not the targets .* \(4, 4\)"):
        load_search_data(settings("maps", data={"augment": "crop_flip"}).data)


def test_chance_is_judged_in_pieces_that_memory_holds(monkeypatch):
    config = settings("maps", "Wide", training={"loss": f"{HERE}:masks"})
    data, judged, add = load_search_data(config.data), [], Tally.add
    whole = make_objective(config, data)
    monkeypatch.setattr(judge, "PIECE", 100)

    def noting(self, outputs, targets):
        judged.append(outputs.numel())
        add(self, outputs, targets)

    monkeypatch.setattr(Tally, "add", noting)
    pieces = make_objective(config, data)
    assert sum(judged) == 64 * 16
    assert max(judged) <= 100
    assert pieces.chance_loss == pytest.approx(whole.chance_loss)


def test_a_metric_is_given_whole_splits_only(evaluator_of):
    config = settings("rare", metric={"name": f"{HERE}:all_classes", "perfect": 1.0})
    evaluator = evaluator_of(config)
    evaluator.calibrate()
    function = resolve("ReLU")
    (done,) = evaluator.evaluate([evaluator.task(function.spec, function.key, 4, 0)])
    assert (done.status, done.metric) == (Status.OK, pytest.approx(0.7))


def test_a_metric_that_is_called_like_one_of_ours_is_not_taken_for_it():
    config = settings("rare", metric={"name": f"{HERE}:accuracy", "perfect": 100.0})
    measure = make_objective(config, load_search_data(config.data)).measure
    assert measure.words(93.1) == "93.1"
    assert measure.bounds == (-np.inf, np.inf)


def test_means_of_batches_are_not_taken_for_examples():
    config = settings("tailed", training={"loss": f"{HERE}:mean_only"})
    made = trainer(config)
    score = made.score(made.new_child(resolve("ReLU"), 0), made.validation)
    assert score.each.shape == (1,)
    assert score.metric == pytest.approx(score.loss)


def test_a_heavy_tail_is_no_divergence_and_a_divergence_is():
    config = settings("tailed", training={"lr": 0.001})
    made = trainer(config)
    child = made.new_child(resolve("ReLU"), 0)
    made.train(child, 26)
    targets = [made.objective.loss_of_nothing(made.batch(0, step)[1]) for step in range(26)]
    assert max(targets) > config.training.diverged_above * made.objective.chance_loss
    wild = trainer(settings("tailed", training={"lr": 1000.0}))
    with pytest.raises(Diverged, match="training loss"):
        wild.train(wild.new_child(resolve("ReLU"), 0), 26)


def test_to_know_how_frequent_classes_are_is_a_score():
    objective = make_objective(config := settings("rare"), load_search_data(config.data))
    entropy = -(0.05 * np.log(0.05) + 0.95 * np.log(0.95))
    assert objective.prior_score("loss") == pytest.approx(-entropy)
    assert objective.prior_score("metric") == pytest.approx(0.95)
    numbers = make_objective(config := settings("tailed"), load_search_data(config.data))
    assert numbers.prior_score("loss") is None


def test_a_network_is_scored_in_batches_that_it_can_hold(evaluator_of):
    assert trainer(settings("tailed", training={"batch_size": 8})).evaluation_batch == 32
    evaluator_of(settings("tailed", "Large", training={"batch_size": 8})).calibrate()
    with pytest.raises(UserError, match="failed at its first training steps: MemoryError: out of"):
        evaluator_of(settings("tailed", "Large")).calibrate()


def test_parts_that_are_drawn_from_one_whole_do_not_overlap():
    data = settings("split_anew").data
    first, second = load_search_data(data), load_search_data(data)
    assert not set(first.train.labels) & set(first.validation.labels)
    assert first.digest == second.digest


def test_data_that_no_seed_fixes_are_refused(evaluator_of):
    with pytest.raises(UserError) as error:
        evaluator_of(settings("never_the_same")).calibrate()
    assert str(error.value).startswith(f"data {HERE}:never_the_same: a worker process got other")


def test_test_data_that_were_edited_are_refused():
    with pytest.raises(UserError, match="got other data"):
        worker.test_split(settings("tailed"), "cpu", "test-0123456789abcdef")


def test_what_is_wrong_with_a_network_is_not_said_of_the_loss():
    config = settings("tailed", "Slip", training={"loss": f"{HERE}:of_two"})
    with pytest.raises(UserError, match=rf"network '{HERE}:Slip' itself failed with RuntimeError"):
        make_objective(config, load_search_data(config.data))


def test_a_kernel_that_a_network_cannot_use_is_told_before_the_search(evaluator_of):
    task = {"training": {"loss": f"{HERE}:mean_only", "kernel": "tape"}}
    with pytest.raises(UserError, match=r"once_differentiable; training.kernel eager can be"):
        evaluator_of(settings("forces", "Force", **task)).calibrate()
    task["training"]["kernel"] = "eager"
    evaluator_of(settings("forces", "Force", **task)).calibrate()


def test_settings_without_effect_are_told(evaluator_of):
    plain = evaluator_of(settings("tailed")).note()
    told = evaluator_of(
        settings("tailed", data={"augment": "shift"}, network={"init": "he"})
    ).note()
    assert "without effect" not in plain
    assert told.startswith(f"{plain}; without effect here: network.init, data.augment")
