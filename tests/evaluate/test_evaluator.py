from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hybridsearch.errors import UserError
from hybridsearch.evaluate import worker
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator, pick_workers
from hybridsearch.evaluate.training import Trainer
from hybridsearch.genome.function import resolve
from hybridsearch.kernels.choose import compiler_identity
from hybridsearch.packed import unpack
from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.line import rank_of
from hybridsearch.types import Evaluation, Status


@pytest.fixture
def make(tiny, tmp_path):
    def build(own_pool=None, **changes):
        return TrainingEvaluator(tiny(**changes), tmp_path / "children", own_pool)

    return build


def task_of(evaluator, expression="ReLU", steps=12, seed=3):
    function = resolve(expression)
    return evaluator.task(function.spec, function.key, steps, seed)


def one(evaluator, task, keep=False) -> Evaluation:
    (result,) = evaluator.evaluate([task], 10**9 if keep else 0)
    return result


def test_equal_tasks_have_equal_payloads(make):
    evaluator = make()
    first, again = (one(evaluator, task_of(evaluator)) for _ in range(2))
    assert first.status is Status.OK
    assert first.payload() == again.payload()
    assert first.curve[0][0] == 10
    other = one(evaluator, task_of(evaluator, seed=4))
    assert other.loss != first.loss


def test_promotion_through_checkpoints_changes_nothing(make):
    evaluator = make()
    low, top = task_of(evaluator, steps=5), task_of(evaluator, steps=12)
    straight = one(evaluator, top)
    one(evaluator, low, keep=True)
    saved = worker.child_path(evaluator.children, low)
    assert saved.exists()
    assert saved == worker.child_path(evaluator.children, top)
    assert one(evaluator, top).payload() == straight.payload()
    evaluator.forget()
    assert not saved.exists()
    assert one(evaluator, top).payload() == straight.payload()  # trained again from the start


def test_the_learning_rate_drops_at_shares_of_all_steps(make, tiny):
    """A worker is told the whole number of steps, though a task may ask for fewer."""
    training = {"steps": 12, "drops": [0.5], "warmup": 0, "lr": 0.05}
    evaluator = make(training=training)
    straight = Trainer(
        tiny(training=training), load_search_data(evaluator.config.data), torch.device("cpu")
    )
    child = straight.new_child(resolve("ReLU"), 3)
    straight.train(child, 12)
    loss = straight.score(child, straight.validation).loss
    assert one(evaluator, task_of(evaluator, steps=12)).loss == loss
    later = one(make(training={**training, "drops": [0.9]}), task_of(evaluator, steps=12))
    assert later.loss != loss
    assert [straight.learning_rate(step) for step in (0, 5, 6)] == pytest.approx([0.05, 0.05, 5e-3])


def test_processes_give_what_this_process_gives(make):
    inline, loky = make(), make(pool="loky", workers=2)
    tasks = [task_of(inline, e) for e in ("ReLU", "GELU", "x*sigmoid(beta*x)", "cos(x)-x")]
    want = {e.task: e.payload() for e in inline.evaluate(tasks)}
    assert {e.task: e.payload() for e in loky.evaluate(tasks)} == want
    loky.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"split_seed": 1}},
        {"data": {"train": 90}},
        {"data": {"augment": "shift"}},
        {"network": {"width": 3}},
        {"network": {"name": "digits_cnn"}},
        {"training": {"lr": 0.01}},
        {"training": {"precision": "bf16"}},
    ],
)
def test_the_context_covers_all_that_changes_the_number(make, changes):
    assert make().context != make(**changes).context


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"steps": 99}},
        {"budget": 3},
        {"seed": 9},
        {"fitness": "accuracy"},
        {"workers": 2},
        {"fidelity": {"rungs": [1]}},
        {"training": {"kernel": "eager"}},  # each task names its kernel
        {"training": {"stack": 2}},
        {"training": {"recompute": True}},
    ],
)
def test_the_context_covers_nothing_else(make, changes):
    assert make().context == make(**changes).context


def test_the_kernel_is_part_of_a_task(make):
    eager = make(training={"kernel": "eager"}).task("max(x, tanh(x))", "k", 5, 1)
    tape = make(training={"kernel": "tape"}).task("max(x, tanh(x))", "k", 5, 1)
    assert (eager.kernel, tape.kernel) == ("", "tape-2")
    assert eager.hash != tape.hash
    assert make(training={"kernel": "tape"}).task("GELU", "k", 5, 1).kernel == ""


def test_kernels_give_the_same_children_up_to_rounding(make):
    losses = []
    for kernel in ("eager", "tape", "native") if compiler_identity() else ("eager", "tape"):
        evaluator = make(training={"kernel": kernel})
        (result,) = evaluator.evaluate([evaluator.task("x*sigmoid(beta*x)", "k", 10, 1)])
        losses.append(result.loss)
    assert losses[1:] == pytest.approx([losses[0]] * (len(losses) - 1), rel=1e-4)


def test_a_kernel_that_a_worker_lacks_is_an_error_that_says_so(make):
    evaluator = make()
    task = dataclasses.replace(
        evaluator.task("max(x, tanh(x))", "k", 5, 1), kernel="native-2-elsewhere"
    )
    (result,) = evaluator.evaluate([task])
    assert result.status is Status.ERROR
    assert "native-2-elsewhere is not to be had here" in result.message


def test_a_kernel_that_cannot_be_had_is_refused_at_once(make, monkeypatch):
    monkeypatch.setattr("hybridsearch.kernels.choose._probe", lambda: ("", "no compiler"))
    with pytest.raises(UserError, match="needs a C"):
        make(training={"kernel": "native"}).task("max(x, tanh(x))", "k", 5, 1)
    with pytest.raises(UserError, match="not for a CPU"):
        make(training={"kernel": "compiled"}).task("max(x, tanh(x))", "k", 5, 1)
    assert "no native kernels" in make().note()


def test_divergence_is_a_value(make):
    evaluator = make(training={"lr": 1e9, "warmup": 0})
    result = one(evaluator, task_of(evaluator, "x^3"))
    assert result.status is Status.DIVERGED
    assert result.loss is None
    assert "step" in result.message


def test_an_error_of_the_machine_is_tried_again_once(make, monkeypatch):
    evaluator = make()
    calls = []
    real = worker._train_alone

    def flaky(job, started):
        calls.append(job.task.seed)
        if len(calls) == 1 or job.task.seed == 4:
            raise RuntimeError("no memory\nmore")
        return real(job, started)

    monkeypatch.setattr(worker, "_train_alone", flaky)
    good, bad = task_of(evaluator, seed=3), task_of(evaluator, seed=4)
    found = {e.task: e for e in evaluator.evaluate([good, bad])}
    assert found[good.hash].status is Status.OK
    assert found[bad.hash].status is Status.ERROR
    assert found[bad.hash].message == "RuntimeError: no memory"
    assert calls == [3, 4, 3, 4]


def test_a_timeout_is_tried_again_and_becomes_an_error(make):
    evaluator = make(time_limit=1e-9)
    result = one(evaluator, task_of(evaluator))
    assert result.status is Status.ERROR
    assert "stopped at step 0" in result.message


class FailingPool(InlinePool):
    """Loses every job but calibrations."""

    def run(self, function, jobs, limit):
        for name, job in jobs.items():
            lost = function is worker.run
            yield name, Failure("killed its worker twice", False) if lost else function(job)


def test_a_job_that_the_pool_lost_is_an_error(make):
    evaluator = make(FailingPool())
    result = one(evaluator, task_of(evaluator))
    assert result.status is Status.ERROR
    assert result.message == "killed its worker twice"


def test_the_limit_is_at_least_20_times_the_calibrated_duration(make, monkeypatch):
    class Slow(InlinePool):
        def run(self, function, jobs, limit):
            for name in jobs:
                yield name, 0.5

    assert make(Slow()).calibrate() == pytest.approx(20 * 0.5 * 20)
    limited = make(Slow(), time_limit=7.0)
    assert limited.full_seconds is None
    assert limited.calibrate() == 7.0
    assert limited.full_seconds == pytest.approx(0.5 * 20)
    assert make().calibrate() >= 30  # the floor


class TimedPool(InlinePool):
    """Sine takes long. order: of the last run, by rank."""

    def run(self, function, jobs, limit):
        found = super().run(function, jobs, limit)
        if function is not worker.run:
            return found
        self.order = [jobs[name].tasks[0] for name in sorted(jobs, key=lambda n: rank_of(jobs, n))]
        return (
            (name, [dataclasses.replace(r, seconds=9 if "sin" in task.function else 0.1)])
            for name, (r,) in found
            for task in jobs[name].tasks
        )


def test_fewest_steps_begin_first_and_of_as_many_the_slowest_function(make):
    evaluator = make(pool := TimedPool())
    names = ["ReLU", "sin(x)", "tanh(x)"]

    def evaluate(*steps):
        tasks = [task_of(evaluator, name, n) for name, n in zip(names, steps, strict=True)]
        assert len(list(evaluator.evaluate(tasks))) == 3
        return [names[tasks.index(task)] for task in pool.order]

    assert evaluate(2, 2, 2) == names
    assert evaluate(4, 4, 4) == ["sin(x)", "ReLU", "tanh(x)"]
    assert evaluate(6, 6, 5) == ["tanh(x)", "sin(x)", "ReLU"]


def test_a_network_that_cannot_train_is_one_line(make, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def bad(make_activation, in_shape, classes):\n"
        "    linear = torch.nn.Linear(3, classes)\n"
        "    return torch.nn.Sequential(linear, make_activation(classes, -1))\n"
        "def good(make_activation, in_shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20),\n"
        "        torch.nn.BatchNorm1d(20), make_activation(20, -1), torch.nn.Linear(20, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="first training steps: RuntimeError") as caught:
        make(network={"name": "mine:bad"}).calibrate()
    assert "\n" not in str(caught.value)
    evaluator = make(network={"name": "mine:good"})
    assert one(evaluator, task_of(evaluator)).status is Status.OK
    for name, words in (
        ("mine:nothing", "network mine:nothing: mine has no 'nothing'"),
        ("resnet9", "resnet8"),
        ("no.such:f", "network no.such:f: cannot import no.such"),
    ):
        with pytest.raises(UserError, match=words):
            make(network={"name": name})


def test_the_test_split_is_opened_by_test_tasks_only(make, monkeypatch):
    opened = []
    for module in ("hybridsearch.evaluate.evaluator", "hybridsearch.evaluate.worker"):
        original = __import__(module, fromlist=["x"]).load_test_data
        monkeypatch.setattr(
            f"{module}.load_test_data", lambda c, o=original: (opened.append(1), o(c))[1]
        )
    worker.test_split.cache_clear()
    evaluator = make()
    trained = task_of(evaluator)
    validation = one(evaluator, trained, keep=True)
    assert opened == []
    test = one(evaluator, evaluator.test_task(trained))
    assert opened
    assert evaluator.test_images == 713
    assert validation.each is None
    right = unpack(test.each, 713)
    assert test.metric == pytest.approx(np.mean(right))
    assert test.curve == validation.curve  # the same child, not trained again


def test_workers(tiny):
    assert pick_workers(tiny(workers=5), ("cpu",)) == 5
    assert pick_workers(tiny(), ("cuda:0",)) == 1
    assert pick_workers(tiny(workers=5), ("cuda:0", "cuda:1")) == 2  # one process per GPU


def test_evaluation_round_trip():
    made = Evaluation("t", Status.OK, 0.1, 0.9, ((10, 1.5), (20, 0.5)), "gQ==", "", 2.0, "h", True)
    assert Evaluation.from_json(made.payload(), made.volatile()) == made
    every = {f.name for f in dataclasses.fields(Evaluation)}
    # Logs and caches from before there were times stay equal, byte for byte.
    assert set(made.payload()) | set(made.volatile()) == every - {"cost"}
    timed = dataclasses.replace(made, cost=2e-9)
    assert set(timed.payload()) | set(timed.volatile()) == every
    assert Evaluation.from_json(timed.payload(), timed.volatile()) == timed
