"""Stacked tasks through the evaluator: jobs, retries, limits, partial hits, workers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridsearch.evaluate import worker
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import resolve
from hybridsearch.packed import unpack
from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.failure import Failure
from hybridsearch.recorder import Recorder
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog
from hybridsearch.types import Status

SEEDS = [11, 12, 13, 14]


class CountingPool(InlinePool):
    """Notes the jobs that it runs, and the hard limit."""

    def __init__(self):
        self.jobs, self.limits = [], []

    def run(self, function, jobs, limit):
        if function is worker.run:
            self.jobs += [tuple(t.seed for t in job.tasks) for job in jobs.values()]
            self.limits += [(limit, *(job.limit for job in jobs.values()))]
        yield from super().run(function, jobs, limit)


@pytest.fixture
def make(tiny, tmp_path):
    def build(own_pool=None, stack=4, **changes):
        changes["training"] = {"stack": stack, **changes.get("training", {})}
        return TrainingEvaluator(tiny(**changes), tmp_path / "children", own_pool)

    return build


def tasks_of(evaluator, expression="x*sigmoid(beta*x)", steps=12, seeds=SEEDS):
    function = resolve(expression)
    return evaluator.replicates(function.spec, function.key, steps, seeds)


def payloads(results):
    return {e.task: e.payload() for e in results}


def test_a_stack_is_one_job_and_several_evaluations(make):
    pool = CountingPool()
    evaluator = make(pool)
    tasks = tasks_of(evaluator)
    found = list(evaluator.evaluate(tasks))
    assert [e.task for e in found] == [t.hash for t in tasks]
    assert {e.status for e in found} == {Status.OK}
    assert len({e.loss for e in found}) == 4
    assert [e.curve[0][0] for e in found] == [10] * 4
    assert pool.jobs == [(11, 12, 13, 14)]
    assert len({e.seconds for e in found}) == 1


def test_the_stack_is_close_to_children_alone_and_no_part_of_the_context(make):
    stacked, alone = make(), make(stack=1)
    assert stacked.context == alone.context
    together = [e.loss for e in stacked.evaluate(tasks_of(stacked))]
    separate = [e.loss for e in alone.evaluate(tasks_of(alone))]
    assert together == pytest.approx(separate, rel=1e-3)
    assert all(t.stack == () for t in tasks_of(alone))
    assert {t.hash for t in tasks_of(alone)}.isdisjoint(t.hash for t in tasks_of(stacked))
    assert tasks_of(alone) == [alone.task(t.function, t.key, 12, t.seed) for t in tasks_of(alone)]


@pytest.mark.parametrize("network", ["cnn28", "resnet8"])
def test_other_networks_are_never_stacked(make, network):
    evaluator = make(network={"name": network})
    assert all(t.stack == () for t in tasks_of(evaluator))


@pytest.mark.parametrize("asked", [[0], [2], [3, 1]])
def test_a_part_of_a_stack_has_the_numbers_of_the_whole(make, asked):
    pool = CountingPool()
    evaluator = make(pool)
    tasks = tasks_of(evaluator)
    whole = payloads(evaluator.evaluate(tasks))
    part = payloads(evaluator.evaluate([tasks[k] for k in asked]))
    assert part == {tasks[k].hash: whole[tasks[k].hash] for k in asked}
    assert pool.jobs[1] == tuple(SEEDS[k] for k in asked)


def test_what_is_cached_changes_no_number(make, tmp_path):
    evaluator = make()
    tasks = tasks_of(evaluator)
    whole = list(evaluator.evaluate(tasks))
    cache = Cache(tmp_path / "cache.sqlite")
    for known in (whole[1], whole[2]):
        cache.add(known)
    log = RunLog(tmp_path / "log.jsonl")
    done = Recorder(log, cache, evaluator).evaluate(tasks)
    assert payloads(done.values()) == payloads(whole)
    assert [done[t.hash].cached for t in tasks] == [False, True, True, False]
    log.close()
    assert '"stack":[11,12,13,14]' in (tmp_path / "log.jsonl").read_text()


@pytest.mark.slow  # test_session has such a run with stacks, of processes and of this one
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_what_this_process_gives(make, workers):
    inline, loky = make(stack=2), make(stack=2, pool="loky", workers=workers)
    tasks = [*tasks_of(inline), *tasks_of(inline, "GELU"), inline.task("ReLU", "k", 12, 1)]
    assert payloads(loky.evaluate(tasks)) == payloads(inline.evaluate(tasks))
    loky.close()


def test_a_kept_stack_goes_on_and_is_scored_on_the_test_split(make):
    evaluator = make()
    low, top = tasks_of(evaluator, steps=5), tasks_of(evaluator)
    straight = payloads(evaluator.evaluate(top))
    list(evaluator.evaluate(low, keep_below=10**9))
    path = worker.child_path(evaluator.children, low[0])
    assert path.exists()
    assert {worker.child_path(evaluator.children, t) for t in [*low, *top]} == {path}
    assert path != worker.child_path(evaluator.children, dataclasses.replace(low[0], stack=()))
    kept = list(evaluator.evaluate(top, keep_below=10**9))
    assert payloads(kept) == straight
    tests = [evaluator.test_task(t) for t in top]
    for known, test in zip(kept, evaluator.evaluate(tests), strict=True):
        assert test.curve == known.curve
        assert test.metric == pytest.approx(np.mean(unpack(test.each, 713)))
        assert known.each is None
    evaluator.forget()
    assert not path.exists()


def test_divergence_is_the_replicates_own(make):
    evaluator = make(training={"lr": 0.05, "diverged_above": 1.5}, own_pool=CountingPool(), stack=8)
    found = list(evaluator.evaluate(tasks_of(evaluator, "x^3", seeds=list(range(8)))))
    assert {e.status for e in found} == {Status.OK, Status.DIVERGED}
    for e in found:
        assert (e.loss is None) == (e.status is Status.DIVERGED) == (e.curve == ())
        assert ("step" in e.message) == (e.status is Status.DIVERGED)


def test_an_error_or_timeout_is_that_of_the_whole_job(make, monkeypatch):
    evaluator = make(time_limit=1e-9)
    found = list(evaluator.evaluate(tasks_of(evaluator)))
    assert {e.status for e in found} == {Status.ERROR}
    assert all("stopped at step 0" in e.message for e in found)

    calls = []
    real = worker._train_stack

    def flaky(job, started):
        calls.append([t.seed for t in job.tasks])
        if len(calls) == 1:
            raise RuntimeError("no memory\nmore")
        return real(job, started)

    monkeypatch.setattr(worker, "_train_stack", flaky)
    evaluator = make()
    found = list(evaluator.evaluate(tasks_of(evaluator)[1:]))
    assert {e.status for e in found} == {Status.OK}
    assert calls == [SEEDS[1:]] * 2


def test_a_job_that_the_pool_lost_is_an_error_of_all_its_tasks(make):
    class Losing(InlinePool):
        def run(self, function, jobs, limit):
            for name, job in jobs.items():
                lost = function is worker.run and len(job.tasks) > 1
                yield name, Failure("killed its worker twice", False) if lost else function(job)

    evaluator = make(Losing())
    tasks = [*tasks_of(evaluator), evaluator.task("ReLU", "k", 5, 1)]
    found = [e.status for e in evaluator.evaluate(tasks)]
    assert found == [Status.ERROR] * 4 + [Status.OK]


def test_the_limit_grows_with_the_stack(make):
    pool = CountingPool()
    evaluator = make(pool, time_limit=50.0)
    list(evaluator.evaluate([*tasks_of(evaluator), evaluator.task("ReLU", "k", 5, 1)]))
    assert pool.limits == [(200.0, 200.0, 50.0)]
