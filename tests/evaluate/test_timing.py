"""How long functions take: what is measured, on what, and how the answer is kept apart."""

from __future__ import annotations

import pytest
import torch

from hybridsearch.evaluate import timing, worker
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.timing import fastest, widest
from hybridsearch.genome.function import resolve
from hybridsearch.types import TIME, Status

HARD = "exp(-beta*(tanh(x)-sin(x))^2)"


@pytest.fixture
def make(tiny, tmp_path):
    def build(**changes):
        return TrainingEvaluator(tiny(**changes), tmp_path / "children")

    return build


def time_of(evaluator, expression):
    function = resolve(expression)
    (result,) = evaluator.evaluate([evaluator.time_task(function.spec, function.key)])
    return result


def trainer_of(evaluator):
    return worker.trainer_for(evaluator.config, "cpu")


CNN = {"network": {"name": "digits_cnn", "width": 8}, "training": {"batch_size": 100}}


def test_a_function_of_several_operations_takes_longer_than_relu(make):
    evaluator = make(**{**CNN, "training": {"batch_size": 100, "kernel": "eager"}})
    cheap, dear = time_of(evaluator, "ReLU"), time_of(evaluator, HARD)
    assert 0 < 2 * cheap.cost < dear.cost
    assert (dear.status, dear.loss, dear.metric, dear.curve) == (Status.OK, None, None, ())


def test_kernels_count(make):
    """Eager PyTorch makes a dozen passes over memory where the chunked kernel makes two."""
    chunked = {**CNN, "training": {"batch_size": 100, "kernel": "tape"}}
    task = make(**chunked).time_task(HARD, "k")
    assert (task.kernel, task.split, task.steps, task.seed) == ("tape-2", TIME, 0, 0)
    assert time_of(make(**chunked), HARD).cost > 0


@pytest.mark.parametrize(
    ("changes", "shape", "dtype"),
    [
        ({"network": {"name": "digits_mlp", "width": 4}}, (32, 32), torch.float32),
        (CNN, (100, 8, 8, 8), torch.float32),
        (
            {**CNN, "training": {"batch_size": 100, "precision": "bf16", "recompute": True}},
            (100, 8, 8, 8),
            torch.bfloat16,
        ),
    ],
)
def test_the_tensor_is_the_largest_of_training(make, changes, shape, dtype):
    evaluator = make(**changes)
    trainer = trainer_of(evaluator)
    place = widest(trainer)
    assert (place.shape, place.dtype) == (shape, dtype)
    assert place.elements == max(evaluator._work.sizes)
    work = timing.one_pass(trainer, resolve("Swish"), "", place)
    x = work.__closure__[work.__code__.co_freevars.index("x")].cell_contents
    assert (x.shape, x.stride(), x.dtype) == (shape, place.stride, dtype)
    assert len(shape) == 2 or x.is_contiguous(memory_format=torch.channels_last)
    assert f"{place.elements:,} elements" in evaluator.timed_on()


def test_a_pass_is_forward_and_backward_of_x_and_the_betas(make, monkeypatch):
    trainer = trainer_of(make())
    asked = []
    grad = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda out, wanted, g: asked.append(grad(out, wanted, g))
    )
    place = widest(trainer)
    timing.one_pass(trainer, resolve("x*sigmoid(beta*x)"), "", place)()
    timing.one_pass(trainer, resolve("ReLU"), "", place)()
    swish, relu = asked
    assert [tuple(g.shape) for g in swish] == [place.shape, (1, place.shape[1])]
    assert [tuple(g.shape) for g in relu] == [place.shape]


class Machine:
    """A clock, and a machine that does other things now and then."""

    def __init__(self, durations):
        self.now, self.calls, self.waits = 0.0, 0, 0
        self.durations = durations

    def work(self):
        self.now += self.durations(self.calls)
        self.calls += 1

    def wait(self):
        self.waits += 1

    def clock(self):
        return self.now


def test_what_else_the_machine_does_is_not_counted():
    busy = Machine(lambda n: 1e-4 if 60 <= n < 90 else 3e-4)
    assert fastest(busy.work, busy.wait, busy.clock) == pytest.approx(1e-4)
    assert busy.now < 3 * timing.SPAN


def test_a_slow_function_is_measured_a_few_times_and_a_fast_one_in_blocks():
    slow, fast = Machine(lambda n: 1.0), Machine(lambda n: 1e-6)
    assert fastest(slow.work, slow.wait, slow.clock) == 1.0
    assert slow.calls == 1 + timing.LEAST
    assert fastest(fast.work, fast.wait, fast.clock) == pytest.approx(1e-6)
    assert fast.waits < fast.calls / 100  # waiting for a device is not measured with every pass


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"split_seed": 1}},
        {"data": {"augment": "shift"}},
        {"seed": 5},
        {"training": {"lr": 0.01}},
        {"training": {"stack": 2}},
        {"fitness": "accuracy"},
    ],
)
def test_times_do_not_depend_on_data_and_optimiser(make, changes):
    assert make().time_task("ReLU", "k").hash == make(**changes).time_task("ReLU", "k").hash


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"width": 3}},
        {"network": {"name": "digits_cnn"}},
        {"training": {"batch_size": 31}},
        {"training": {"precision": "bf16"}},
    ],
)
def test_times_depend_on_the_tensor(make, changes):
    assert make().time_task("ReLU", "k").hash != make(**changes).time_task("ReLU", "k").hash


def test_times_depend_on_who_computes(make, monkeypatch):
    here = make().time_task("ReLU", "k")
    assert here.context != make().task("ReLU", "k", 5, 0).context
    monkeypatch.setattr(
        "hybridsearch.evaluate.evaluator.processor_name", lambda: "another processor"
    )
    assert make().time_task("ReLU", "k").context != here.context
    assert make().task("ReLU", "k", 5, 0).context == make().context


def test_a_measurement_that_fails_is_tried_again_and_then_an_error(make, monkeypatch):
    evaluator = make()
    calls = []

    def broken(trainer, function, kernel):
        calls.append(function.spec)
        if function.spec == "GELU" or len(calls) == 1:
            raise RuntimeError("no clock\nmore")
        return 1e-9

    monkeypatch.setattr(worker, "seconds_per_element", broken)
    good, bad = time_of(evaluator, "ReLU"), time_of(evaluator, "GELU")
    assert (good.status, good.cost) == (Status.OK, 1e-9)
    assert (bad.status, bad.cost, bad.message) == (Status.ERROR, None, "RuntimeError: no clock")
    relu = resolve("ReLU").spec
    assert calls == [relu, relu, "GELU", "GELU"]
    assert "cost" not in bad.payload()
