"""Jobs on the way to GPUs: grouped, packed, and the same numbers whatever the pack."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from hybridsearch.errors import UserError
from hybridsearch.evaluate import devices, group, timing, training, worker
from hybridsearch.evaluate.devices import Claim, pick_devices
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import resolve
from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool
from hybridsearch.types import Status

FUNCTIONS = ("ReLU", "GELU", "x*sigmoid(beta*x)", "cos(x)-x", "x^3", "tanh(x)", "sqrt(x)")
GIB = 2**30


@pytest.fixture
def with_gpu(monkeypatch, fake_gpu, tiny, tmp_path):
    """A function that makes an evaluator whose children run on a fake GPU of its own."""

    def build(gpu=None, pool=None, own_devices=("cuda:0",), folder="children", **changes):
        gpu = gpu or fake_gpu()
        for module in (worker, training, group):
            monkeypatch.setattr(module, "accelerator_for", lambda device: gpu)
        monkeypatch.setattr(group, "_CLAIM", SimpleNamespace(device=lambda d, f: "cpu"))
        clear()
        evaluator = TrainingEvaluator(tiny(**changes), tmp_path / folder, pool)
        evaluator.device, evaluator.devices = own_devices[0], own_devices
        return evaluator

    def clear():
        for kept in (worker.trainer_for, worker.test_split, group.packer_for):
            kept.cache_clear()

    yield build
    clear()


def tasks_of(evaluator, steps=25, seeds=(3,)):
    known = [resolve(expression) for expression in FUNCTIONS]
    return [evaluator.task(f.spec, f.key, steps, seed) for f in known for seed in seeds]


def payloads(evaluator, tasks, keep=False):
    found = list(evaluator.evaluate(tasks, 10**9 if keep else 0))
    assert sorted(e.task for e in found) == sorted(t.hash for t in tasks)
    return {e.task: e.payload() for e in found}


CNN = {"network": {"name": "digits_cnn"}, "data": {"augment": "shift"}}


@pytest.mark.slow
def test_the_pack_changes_nothing(with_gpu, fake_gpu):
    """Evaluations and digest, for every pack, with graphs, divergence and two seeds at once."""
    found, contexts = [], set()
    for most in (1, 2, 4):
        gpu = fake_gpu()
        evaluator = with_gpu(gpu, **CNN, pack=most)
        found.append(payloads(evaluator, tasks_of(evaluator, seeds=(3, 4))))
        contexts.add(evaluator.context)
        assert gpu.most == most
        assert "capture" in gpu.log
    assert found[0] == found[1] == found[2]
    assert len(contexts) == 1
    status = [payload["status"] for payload in found[0].values()]
    assert status.count("ok") >= 8


def test_one_by_one_without_a_pack_gives_the_same(with_gpu):
    evaluator = with_gpu(**CNN)
    tasks = tasks_of(evaluator)
    packed = payloads(evaluator, tasks)
    evaluator.device = "cpu"  # the way of a single job: worker.run, on the same fake GPU
    assert payloads(evaluator, tasks) == packed


def test_running_out_of_memory_changes_nothing_but_the_time(with_gpu, fake_gpu):
    roomy = with_gpu(**CNN)
    tasks = tasks_of(roomy)
    low = [t.__class__(**{**t.__dict__, "steps": 10}) for t in tasks]
    want = payloads(roomy, low, keep=True), payloads(roomy, tasks)
    gpu = fake_gpu(total=5 * GIB)
    tight = with_gpu(gpu, folder="others", **CNN)
    first = payloads(tight, low, keep=True)
    assert gpu.most == 4
    gpu.total = 2.5 * GIB  # the promoted children begin at their checkpoints, some of them twice
    assert (first, payloads(tight, tasks)) == want
    assert "release" in gpu.log


def test_a_child_too_large_for_the_gpu_is_an_error_in_one_line(with_gpu, fake_gpu):
    evaluator = with_gpu(fake_gpu(total=0.5 * GIB))
    (result,) = evaluator.evaluate(tasks_of(evaluator)[:1])
    assert result.status is Status.ERROR
    assert "does not fit into the memory of cpu (0.5 of 0.5 GiB" in result.message
    assert "training.batch_size" in result.message
    assert "\n" not in result.message


def test_failures_of_one_child_stay_its_own(with_gpu, monkeypatch):
    evaluator = with_gpu(pack=3)
    tasks = tasks_of(evaluator)
    bad = resolve("GELU").key
    new_child = training.Trainer.new_child

    def fussy(self, function, seed, kernel=""):
        if function.key == bad:
            raise RuntimeError("no\nsuch")
        return new_child(self, function, seed, kernel)

    monkeypatch.setattr(training.Trainer, "new_child", fussy)
    found = {e.task: e for e in evaluator.evaluate(tasks)}
    wrong = [found[t.hash] for t in tasks if t.key == bad]
    assert [(e.status, e.message) for e in wrong] == [(Status.ERROR, "RuntimeError: no")]
    assert [e.status for e in found.values()].count(Status.ERROR) == 1


def test_the_test_split_is_scored_in_packs(with_gpu):
    evaluator = with_gpu(pack=2)
    tasks = tasks_of(evaluator)[:3]
    payloads(evaluator, tasks, keep=True)
    found = payloads(evaluator, [evaluator.test_task(t) for t in tasks])
    assert all(payload["each"] for payload in found.values())


def test_who_is_timed_has_the_gpu_alone(with_gpu, fake_gpu, monkeypatch):
    """Whatever the pack; as a graph, as training steps are; and the test split stays shut."""
    gpu = fake_gpu()
    evaluator = with_gpu(gpu, pack=4)
    monkeypatch.setattr(worker, "load_test_data", lambda data: pytest.fail("the test split"))
    train = tasks_of(evaluator)[:4]
    assert len(payloads(evaluator, train)) == 4
    assert gpu.most == 4  # the pack is known to hold several
    gpu.holders.clear()
    gpu.log.clear()
    gpu.most = 0
    tasks = [evaluator.time_task(f.spec, f.key) for f in map(resolve, FUNCTIONS[:2])]
    found = list(evaluator.evaluate(tasks))
    assert [e.status for e in found] == [Status.OK] * 2
    assert all(e.cost > 0 and e.loss is None for e in found)
    assert gpu.most == 1
    assert gpu.log.count("capture") == 2
    assert gpu.log.count("synchronize") > 2 * timing.LEAST
    train = train[:2]
    both = {e.task: e for e in evaluator.evaluate([*tasks[:1], *train, *tasks[1:]])}
    assert set(both) == {t.hash for t in (*tasks, *train)}
    assert [both[t.hash].cost is None for t in (*tasks, *train)] == [False] * 2 + [True] * 2


def test_a_gpu_that_is_lost_ends_the_process(with_gpu, fake_gpu, monkeypatch):
    gpu = fake_gpu()
    evaluator = with_gpu(gpu)
    task = tasks_of(evaluator)[0]
    evaluator.calibrate()

    def poisoned(self, *_):
        gpu.sick = True
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(training.Trainer, "update", poisoned)
    with pytest.raises(UserError, match="lost"):
        list(evaluator.evaluate([task]))
    ended = []

    class Ended(BaseException):
        pass

    def leave(code):
        ended.append(code)
        raise Ended

    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Ended):
        list(evaluator.evaluate([task]))
    assert ended == [1]


class LossyPool(InlinePool):
    """Loses every group that holds the job of a given function."""

    def __init__(self, key):
        self.key, self.seen = key, []

    def run(self, function, jobs, limit):
        for name, job in jobs.items():
            if function is not group.run_group:
                yield name, function(job)
                continue
            self.seen.append(len(job.jobs))
            lost = any(j.task.key == self.key for j in job.jobs)
            yield name, Failure("killed its worker twice", False) if lost else function(job)


def test_a_lost_group_is_tried_again_job_by_job(with_gpu):
    pool = LossyPool(resolve("GELU").key)
    evaluator = with_gpu(pool=pool, own_devices=("cuda:0", "cuda:1"))
    found = {e.task: e for e in evaluator.evaluate(tasks_of(evaluator))}
    assert [e.status for e in found.values()].count(Status.ERROR) == 1
    assert "killed its worker twice" in {e.message for e in found.values()}
    assert pool.seen == [4, 3, 1, 1, 1, 1]  # one group per GPU, then the lost one in parts


def test_groups_are_of_a_size_that_keeps_the_pack_full():
    seen = []

    class Counting(InlinePool):
        def run(self, function, jobs, limit):
            seen.append(limit)
            for name, job in jobs.items():
                seen.append(len(job.jobs))
                yield name, [j.task for j in job.jobs]

    jobs = {str(k): SimpleNamespace(task=k, children=None) for k in range(40)}
    found = dict(group.run_grouped(Counting(), jobs, ("cuda:0",), 0, 10.0))
    assert found == {str(k): (k,) for k in range(40)}
    assert seen == [16 * 10.0 + group.START_UP, 16, 16, 8]


def test_every_worker_has_a_gpu_of_its_own(tmp_path):
    pool = LokyPool(2)
    names = ("cuda:0", "cuda:1")
    try:
        found = dict(pool.run(slow_claim, {str(k): (names, tmp_path) for k in range(6)}, 60))
    finally:
        pool.close()
    taken = {pid: device for device, pid in found.values()}
    assert set(taken.values()) == set(names)
    assert len(set(found.values())) == 2


def slow_claim(job):
    """Claims a GPU, and holds it until the process ends."""
    time.sleep(0.3)
    return group._CLAIM.device(*job), os.getpid()


def test_a_gpu_is_free_again_when_its_process_is_dead(tmp_path, monkeypatch):
    code = (
        "import sys, pathlib; from hybridsearch.evaluate.devices import Claim; "
        "claim = Claim(); print(claim.device(('cuda:0', 'cuda:1'), pathlib.Path(sys.argv[1])), "
        "flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline().strip() == "cuda:0"
    mine, third = Claim(), Claim()
    both = ("cuda:0", "cuda:1")
    assert mine.device(both, tmp_path) == "cuda:1"
    assert mine.device(both, tmp_path) == "cuda:1"
    assert mine.device(both[:1], tmp_path) == "cuda:0"  # of one there is nothing to choose
    monkeypatch.setattr(devices, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match="taken"):
        third.device(both, tmp_path)
    other.kill()
    other.communicate()
    assert third.device(both, tmp_path) == "cuda:0"
    mine.close()
    third.close()


def test_devices(monkeypatch):
    assert pick_devices("cpu") == ("cpu",)
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(UserError, match="device"):
            pick_devices(name)
    if not torch.cuda.is_available():
        assert pick_devices("auto") == ("cpu",)
        with pytest.raises(UserError, match="0 CUDA devices"):
            pick_devices("cuda")
    models = ["H100", "H100", "A100"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(models))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: models[n])
    for name in ("auto", "cuda"):
        with pytest.warns(UserWarning, match="of 3 GPUs 2 are used, those of the model H100"):
            assert pick_devices(name) == ("cuda:0", "cuda:1")
    assert pick_devices("cuda:2") == ("cuda:2",)
    with pytest.raises(UserError, match="cuda:3"):
        pick_devices("cuda:3")
    models.pop()
    assert pick_devices("auto") == ("cuda:0", "cuda:1")
