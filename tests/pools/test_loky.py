"""The pool keeps what is done when a worker dies, is killed, or hangs."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool


def double(x):
    return 2 * x


def fatal(job):
    """Kills its own process where the job says so; "once:PATH" only the first time."""
    if job == "die" or (job.startswith("once:") and not Path(job[5:]).exists()):
        if job.startswith("once:"):
            Path(job[5:]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "hang":
        time.sleep(120)
    time.sleep(0.05)
    return job.upper()


def nap(seconds):
    time.sleep(seconds)
    return seconds


def refuse(x):
    raise ValueError(f"no {x}")


@pytest.fixture
def pool():
    pool = LokyPool(2)
    yield pool
    pool.close()


@pytest.mark.parametrize("make", [InlinePool, lambda: LokyPool(1), lambda: LokyPool(2)])
def test_all_results_come_once(make):
    pool = make()
    jobs = {f"job {k}": k for k in range(20)}
    found = list(pool.run(double, jobs, 60))
    assert dict(found) == {name: 2 * k for name, k in jobs.items()}
    assert len(found) == 20
    assert list(pool.run(double, {}, 60)) == []
    pool.close()


@pytest.mark.parametrize("make", [InlinePool, lambda: LokyPool(2)])
def test_jobs_may_be_added_while_a_run_goes_on(make):
    """A job adds the next until there are ten, from the run's only one."""
    pool, jobs, found = make(), {"0": 0}, {}
    for name, result in pool.run(double, jobs, 60):
        assert name not in found
        found[name] = result
        if len(jobs) < 10:
            jobs[str(len(jobs))] = len(jobs)
    pool.close()
    assert found == {str(k): 2 * k for k in range(10)}


def test_jobs_added_after_a_worker_was_killed_are_done(pool, tmp_path):
    jobs, found = {"a": "die", "b": f"once:{tmp_path / 'mark'}", "c": "x"}, {}
    for name, result in pool.run(fatal, jobs, 60):
        found[name] = result
        if name in "abc":
            jobs[f"after {name}"] = name + "!"
    assert isinstance(found.pop("a"), Failure)
    assert found == {
        "b": jobs["b"].upper(),
        "c": "X",
        **{f"after {name}": name.upper() + "!" for name in "abc"},
    }


def test_a_killed_worker_costs_only_its_own_job(pool, tmp_path):
    jobs = {f"good {k}": f"g{k}" for k in range(8)}
    jobs = {"a": "die", **jobs, "b": f"once:{tmp_path / 'mark'}"}
    found = dict(pool.run(fatal, jobs, 60))
    assert found.pop("a") == Failure("killed its worker twice", timeout=False)
    assert found == {name: job.upper() for name, job in jobs.items() if name != "a"}


def test_a_hanging_job_is_ended_and_the_others_are_kept(pool, monkeypatch):
    monkeypatch.setattr("hybridsearch.pools.loky.GRACE", 0.2)
    jobs = {"a": "x", "b": "hang", "c": "y", "d": "z"}
    found = dict(pool.run(fatal, jobs, 0.5))
    failure = found.pop("b")
    assert isinstance(failure, Failure)
    assert failure.timeout
    assert "limit" in failure.message
    assert found == {"a": "X", "c": "Y", "d": "Z"}


def test_an_exception_is_raised_to_the_caller(pool):
    with pytest.raises(ValueError, match="no 1"):
        list(pool.run(refuse, {"a": 1}, 60))
    assert dict(pool.run(double, {"a": 1}, 60)) == {"a": 2}


def test_a_worker_is_reused(pool):
    first = dict(pool.run(process, {str(k): k for k in range(4)}, 60))
    second = dict(pool.run(process, {str(k): k for k in range(4)}, 60))
    assert set(second.values()) <= set(first.values())
    assert os.getpid() not in first.values()


def process(_):
    time.sleep(0.1)
    return os.getpid()


def threads(_):
    import torch

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()


def test_workers_have_one_thread(pool):
    assert dict(pool.run(threads, {"a": 0}, 60)) == {"a": ("1", 1)}


PSUTIL = """
import types
class Process:
    looks = 0
    def __init__(self, pid): pass
    def memory_info(self):
        Process.looks += 1
        return types.SimpleNamespace(rss=Process.looks * 2**30)
"""


def test_a_worker_that_grows_is_kept(tmp_path, monkeypatch):
    """Where psutil is installed, loky would start another one."""
    (tmp_path / "psutil.py").write_text(PSUTIL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    pool = LokyPool(1)
    try:
        # loky looks at most once a second
        pids = {dict(pool.run(own_process, {"a": 1.1}, 60))["a"] for _ in range(4)}
    finally:
        pool.close()
    assert len(pids) == 1


def frozen(_):
    import gc

    return gc.get_freeze_count()


def test_what_a_worker_holds_after_its_first_job_is_left_out_of_garbage_collection():
    pool = LokyPool(1)
    counts = [dict(pool.run(frozen, {"a": 0}, 60))["a"] for _ in range(2)]
    pool.close()
    assert counts[0] == 0
    assert counts[1] > 10_000


def test_closing_with_jobs_left_is_silent():
    """As after a Ctrl-C: what waits is cancelled, and loky's thread must not stumble over it."""
    pool = LokyPool(1)
    run = pool.run(nap, {str(k): 0.2 for k in range(30)}, 60.0)
    next(run)
    manager = pool._executor._executor_manager_thread
    run.close()
    pool.close()
    manager.join(30)
    assert not manager.is_alive()
    gc.collect()  # pytest reports what a thread raised


DRIVER = """
import sys, time
from hybridsearch.pools.loky import LokyPool
sys.path.insert(0, sys.argv[1])
import test_loky
pool = LokyPool(2)
for name, pid in pool.run(test_loky.own_process, {"a": 0.5, "b": 0.5}, 60):
    print(pid, flush=True)
list(pool.run(test_loky.nap, {"a": 60, "b": 60} if sys.argv[2] == "busy" else {}, 600))
time.sleep(60)
"""


def own_process(seconds):
    time.sleep(seconds)  # so that each worker gets one
    return os.getpid()


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_no_worker_outlives_its_driver(state):
    command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), state]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        workers = {int(driver.stdout.readline()) for _ in range(2)}
        time.sleep(0.5)
        driver.kill()
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_start_of_a_worker_is_not_the_time_of_its_job(pool, monkeypatch):
    """It takes longer than this limit, and the culprit is not told to have overrun that."""
    found = dict(pool.run(fatal, {"bad": "die"}, 0.2))
    assert found["bad"] == Failure("killed its worker twice", False)
