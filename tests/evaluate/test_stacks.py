from __future__ import annotations

import pytest

from hybridsearch.config import Config
from hybridsearch.evaluate.networks import NETWORKS
from hybridsearch.evaluate.stacks import STACKED, jobs_of, stacks
from hybridsearch.types import Task


def task(seed, stack=(), **changes):
    about = {"function": "f", "key": "k", "steps": 5, "context": "c", **changes}
    return Task(seed=seed, stack=stack, **about)


def test_stacks_are_consecutive_seeds():
    assert stacks("digits_mlp", [7, 8, 9, 1, 2], 2) == [(7, 8), (7, 8), (9, 1), (9, 1), ()]
    assert stacks("digits_cnn", [7, 8, 9], 5) == [(7, 8, 9)] * 3
    assert stacks("digits_cnn", [7, 8], 1) == [(), ()]
    for alone in ("cnn28", "resnet20", "my.module:build"):
        assert stacks(alone, [7, 8], 2) == [(), ()]
    assert set(NETWORKS) > STACKED


def test_the_default_stack_divides_the_default_retest():
    config = Config()
    assert config.retest.seeds % config.training.stack == 0


def test_a_stack_is_part_of_the_task_and_old_hashes_stay():
    alone, stacked, other = task(1), task(1, (1, 2)), task(1, (1, 2, 3))
    assert len({alone.hash, stacked.hash, other.hash, task(2, (1, 2)).hash}) == 4
    assert Task("f", "k", 5, 1, "c").hash == "805b878d61406acad604d093aefbcf2e"
    with pytest.raises(ValueError, match="not in its stack"):
        task(3, (1, 2))


def test_jobs_hold_what_is_asked_of_one_stack():
    s = (1, 2, 3)
    tasks = [task(4), task(2, s), task(5), task(1, s), task(2, s), task(1, (1, 2))]
    jobs = jobs_of(tasks)
    assert list(jobs.values()) == [
        (tasks[0],),
        (tasks[1], tasks[3]),
        (tasks[2],),
        (tasks[5],),
    ]
    assert all(name == group[0].hash for name, group in jobs.items())
    for change in ({"key": "l"}, {"steps": 6}, {"context": "d"}, {"split": "test-1"}):
        assert len(jobs_of([task(1, s), task(2, s, **change)])) == 2
    assert jobs_of([]) == {}
