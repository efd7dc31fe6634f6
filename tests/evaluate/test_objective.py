"""Losses and metrics: against NumPy and torch on the same numbers, and what does not fit."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.splits import Split, make_search_data
from hybridsearch.evaluate.judge import code_of, make_objective
from hybridsearch.evaluate.objective import Tally
from hybridsearch.types import Measure, Scale

OWN = """
import torch

def loss(outputs, targets):
    return (outputs - targets).abs().flatten(1).mean(1)

def mean_loss(outputs, targets):
    return loss(outputs, targets).mean()

def errors(outputs, targets):
    return (outputs - targets).square().flatten(1).sum(1)

def largest(outputs, targets):
    return float((outputs - targets).abs().max())

def bad(outputs, targets):
    return float("nan")

def raises(outputs, targets):
    raise KeyError("oh")

def wide(outputs, targets):
    return torch.zeros(2, 3)

def picky(outputs, targets):
    if not outputs.isfinite().all():
        raise ValueError("Input contains NaN")
    return 0.5
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_goals.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_goals"
    sys.modules.pop("own_goals", None)


def data(targets, count=40):
    """Random inputs with the given targets, the first three quarters for training."""
    inputs = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    cut = 3 * count // 4
    train, validation = Split(inputs[:cut], targets[:cut]), Split(inputs[cut:], targets[cut:])
    classes = int(targets.max()) + 1 if train.has_classes else 0
    return make_search_data("made", train, validation, classes, normalised=False)


def numbers(columns=2):
    return (3 + 5 * np.random.default_rng(2).normal(size=(40, columns))).astype(np.float32)


def objective(targets, **settings):
    return make_objective(make_config(settings), data(targets))


def score(found, outputs, targets, parts=3):
    """The score of outputs that come in some batches."""
    tally = Tally(found)
    for out, want in zip(outputs.chunk(parts), targets.chunk(parts), strict=True):
        tally.add(out, want)
    return tally.score()


def test_classes_have_cross_entropy_and_accuracy():
    labels = np.arange(40) % 5
    found = objective(labels)
    outputs, targets = torch.randn(40, 5), torch.from_numpy(labels)
    assert found.plain
    assert found.chance_loss == math.log(5)
    assert found.measure == Measure("accuracy", True, 0.2, 1.0)
    assert torch.equal(found.loss(outputs, targets), F.cross_entropy(outputs, targets))
    made = score(found, outputs, targets)
    assert made.loss == pytest.approx(float(F.cross_entropy(outputs, targets)))
    assert made.each.dtype == np.bool_
    assert made.each.tolist() == (outputs.argmax(1) == targets).tolist()
    assert made.metric == made.each.mean()


@pytest.mark.parametrize("metric", ["auto", "r2", "mse", "mae"])
@pytest.mark.parametrize("loss", ["auto", "mse", "l1", "huber"])
def test_numbers_are_standardised_for_the_network_and_not_for_the_metric(loss, metric):
    targets = numbers()
    found = objective(targets, training={"loss": loss}, metric=metric)
    train = targets[:30].astype(np.float64)
    mean, std = train.mean(0), train.std(0)
    outputs = np.random.default_rng(3).normal(size=(40, 2)).astype(np.float32)
    z = (targets - mean) / std
    gap = np.abs(outputs - z)
    expected = {
        "auto": gap**2,
        "mse": gap**2,
        "l1": gap,
        "huber": np.where(gap < 1, gap**2 / 2, gap - 0.5),
    }[loss]
    wide = (gap * std) ** 2 if metric == "mse" else gap * std
    each = 1 - (gap**2).mean(1) if metric in ("auto", "r2") else wide.mean(1)
    made = score(found, torch.from_numpy(outputs), torch.from_numpy(targets))
    assert made.loss == pytest.approx(expected.mean(), rel=1e-4)
    assert made.each == pytest.approx(each, rel=1e-3, abs=1e-4)
    assert made.metric == pytest.approx(each.mean(), rel=1e-4, abs=1e-5)
    assert found.measure.higher == (metric in ("auto", "r2"))
    # Chance is what a network says that gives the mean of the training targets.
    nothing = ((train.mean(0) - targets[30:]) / std) ** 2
    if metric in ("auto", "r2"):
        assert found.measure.chance == pytest.approx(1 - nothing.mean(), abs=1e-4)
    if loss in ("auto", "mse"):
        assert found.chance_loss == pytest.approx(nothing.mean(), rel=1e-4)


def test_one_number_per_example_may_come_with_or_without_a_column():
    flat = numbers(1)[:, 0]
    found = objective(flat)
    outputs = torch.randn(40, 1)
    one = score(found, outputs, torch.from_numpy(flat))
    same = score(found, outputs[:, 0], torch.from_numpy(flat))
    assert one.metric == same.metric
    assert np.array_equal(one.each, same.each)


def test_several_labels_of_0_and_1():
    targets = (numbers() > 3).astype(np.float32)
    found = objective(targets, training={"loss": "bce"})
    outputs = torch.randn(40, 2)
    made = score(found, outputs, torch.from_numpy(targets))
    assert found.measure.name == "accuracy"
    assert made.metric == pytest.approx(((outputs > 0).numpy() == (targets > 0.5)).mean())
    assert found.chance_loss == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("name", ["loss", "mean_loss"])
def test_a_loss_of_the_users_may_be_per_example_or_a_mean(own, name):
    targets = numbers()
    found = objective(targets, training={"loss": f"{own}:{name}"})
    outputs, wanted = torch.randn(40, 2), torch.from_numpy(targets)
    made = score(found, outputs, wanted)
    expected = float((outputs - wanted).abs().mean())
    assert float(found.loss(outputs, wanted)) == pytest.approx(expected, rel=1e-5)
    assert made.loss == pytest.approx(expected, rel=1e-5)
    assert made.metric == pytest.approx(made.loss, rel=1e-5)  # the metric is the loss by default
    assert len(made.each) == (40 if name == "loss" else 1)
    assert found.measure == Measure("loss", False, pytest.approx(found.chance_loss), 0.0)


def test_a_metric_of_the_users_sees_all_outputs_in_the_units_of_the_targets(own):
    targets = numbers()
    found = objective(targets, metric={"name": f"{own}:largest", "goal": "min"})
    outputs, wanted = torch.randn(40, 2), torch.from_numpy(targets)
    train = targets[:30].astype(np.float64)
    expected = np.abs(outputs.numpy() * train.std(0) + train.mean(0) - targets).max()
    made = score(found, outputs, wanted)
    assert made.metric == pytest.approx(expected, rel=1e-5)
    assert made.each.shape == (1,)
    assert (found.measure.name, found.measure.higher, found.measure.perfect) == (
        "largest",
        False,
        0,
    )
    each = objective(targets, metric={"name": f"{own}:errors", "goal": "min", "perfect": -1})
    assert len(score(each, outputs, wanted).each) == 40
    assert each.measure.perfect == -1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_of_the_users_is_not_asked_about_a_network_that_has_diverged(own, value):
    targets = numbers()
    found = objective(targets, metric=f"{own}:picky")
    outputs, wanted = torch.randn(40, 2), torch.from_numpy(targets)
    assert score(found, outputs, wanted).metric == 0.5
    outputs[7] = value
    assert not math.isfinite(score(found, outputs, wanted).loss)


def test_scales_turn_what_is_to_be_low():
    low = Measure("mse", False, 4.0, 0.0)
    scale = Scale.of("metric", low, 1.0)
    assert (scale.chance, scale.perfect) == (-4.0, 0.0)
    assert scale.reward(-1.0) == 0.75
    assert Scale.of("loss", low, 2.0).chance == -2.0


@pytest.mark.parametrize(
    ("targets", "settings", "words"),
    [
        ("classes", {"training": {"loss": "mse"}}, "mse expects targets that are numbers"),
        ("numbers", {"training": {"loss": "cross_entropy"}}, "expects targets that are classes"),
        ("numbers", {"training": {"loss": "msse"}}, "unknown loss 'msse'.*did you mean 'mse'"),
        ("numbers", {"metric": "accuracy"}, "accuracy fits the losses cross_entropy, bce"),
        ("classes", {"metric": "r2"}, "r2 fits the losses mse, l1, huber"),
        ("classes", {"metric": "acuracy"}, "unknown metric 'acuracy'.*did you mean 'accuracy'"),
        ("table", {}, "no loss of ours fits targets that are int64"),
        ("numbers", {"metric": "own_goals:bad"}, "should give finite numbers, got loss"),
        ("numbers", {"metric": "own_goals:raises"}, "failed with KeyError: 'oh'"),
        ("numbers", {"metric": "own_goals:gone"}, "own_goals has no 'gone'"),
        ("numbers", {"metric": "own_goals:wide"}, "of your metric a value per example"),
        ("numbers", {"training": {"loss": "own_goals:wide"}}, "of your loss a tensor"),
    ],
)
def test_what_does_not_fit_is_one_line(own, targets, settings, words):
    made = {
        "classes": np.arange(40) % 4,
        "numbers": numbers(),
        "table": np.zeros((40, 3), np.int64),
    }[targets]
    with pytest.raises(UserError, match=words) as error:
        objective(made, **settings)
    assert "\n" not in str(error.value)


def test_outputs_of_another_shape_than_the_targets_are_one_line():
    words = r"outputs of shape \[40, 2\], as the targets, got \[40, 3\]"
    with pytest.raises(ValueError, match=words):
        objective(numbers()).check(torch.zeros(40, 3), torch.from_numpy(numbers()))


def test_accuracy_as_fitness_needs_accuracy_as_metric():
    with pytest.raises(UserError, match="expected loss or metric, got accuracy"):
        objective(numbers()).scale("accuracy")


def test_the_code_of_the_users_goals_identifies_them(own, tmp_path, monkeypatch):
    config = make_config({"metric": f"{own}:largest"})
    before = code_of(config)
    (tmp_path / "own_goals.py").write_text(OWN + "\n# changed\n")
    with pytest.raises(UserError, match="own_goals was edited after this process imported it"):
        code_of(config)
    monkeypatch.delitem(sys.modules, "own_goals")  # as if another process began
    assert set(before) == {"metric"}
    assert code_of(config) != before
    assert code_of(make_config({})) == {}


GOALS = """
import torch

def dice(outputs, targets):
    return -(1 + 0 * outputs.flatten(1).mean(1))

def cosine(outputs, targets):
    return -torch.cosine_similarity(outputs, targets)

def percent(outputs, targets):
    return 12.0

def best(outputs, targets):
    return 1.0
"""


@pytest.fixture
def goals(tmp_path, monkeypatch):
    (tmp_path / "own_scales.py").write_text(GOALS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_scales", None)


@pytest.mark.parametrize(("loss", "value"), [("dice", "-1"), ("cosine", "0")])
def test_a_loss_that_is_not_positive_at_chance_is_one_line(goals, loss, value):
    words = (
        rf"training.loss own_scales:{loss}: expected .* above 0.* all 0, got {value};"
        ".* add a constant"
    )
    with pytest.raises(UserError, match=words) as error:
        objective(numbers(), training={"loss": f"own_scales:{loss}"})
    assert "\n" not in str(error.value)


def test_a_loss_of_ours_is_told_what_it_has_to_learn():
    targets = np.full((40, 1), 3, np.float32)
    with pytest.raises(UserError, match=r"training.loss mse: .* got 0; .* targets do not differ"):
        objective(targets)


@pytest.mark.parametrize(
    ("name", "goal", "perfect", "words"),
    [
        ("percent", "max", None, r"metric.perfect: expected a number above .* 12, got 1;"),
        ("percent", "min", 20, r"metric.perfect: expected a number below .* 12, got 20;"),
        ("best", "max", None, r"metric.perfect: expected a number above .* 1, got 1;"),
    ],
)
def test_a_metric_whose_best_is_no_better_than_chance_is_one_line(
    goals, name, goal, perfect, words
):
    metric = {"name": f"own_scales:{name}", "goal": goal, "perfect": perfect}
    found = objective(numbers(), metric=metric)
    assert found.scale("loss").perfect == 0  # it is no matter where the loss is what counts
    with pytest.raises(UserError, match=words) as error:
        found.scale("metric")
    assert "\n" not in str(error.value)
    assert "metric.goal" in str(error.value)


def test_a_metric_with_a_best_of_its_own_has_a_scale(goals):
    metric = {"name": "own_scales:percent", "perfect": 100}
    scale = objective(numbers(), metric=metric).scale("metric")
    assert scale.reward(12.0) == 0
    assert scale.reward(100.0) == 1


def test_a_metric_of_ours_that_nothing_can_better_is_one_line():
    targets = np.zeros((40, 2), np.float32)
    found = objective(targets, training={"loss": "bce"})
    with pytest.raises(UserError, match="fitness: accuracy is already 1"):
        found.scale("metric")
