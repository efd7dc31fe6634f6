"""The pool on a real Ray cluster, whose workers and nodes are killed."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.cli import main
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.pools import ray as ray_module
from hybridsearch.pools import ray_link
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.ray import RayPool
from hybridsearch.pools.wire import TOKEN, Good
from hybridsearch.session import resume, search

from .deeds import (
    HERE,
    Deed,
    Deeds,
    double,
    fatal_if_negative,
    gpu_of,
    grow,
    place,
    refuse,
    surroundings,
)
from .own import hide, make_home
from .ray_cluster import ROOT, Cluster, environment, free_port, marked

pytestmark = pytest.mark.extras
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ray = pytest.importorskip("ray")
ray_version = ray.__version__


@pytest.fixture(scope="module")
def cluster():
    """A head and one node of three workers; tests that add nodes kill them."""
    cluster = Cluster()
    cluster.node("--num-gpus", "2")
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def link(cluster):
    """The connection of this process, which takes Ray some seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "3")
        link = ray_link.connect(cluster.pool)
        yield link
    link.close()
    assert not ray.is_initialized()


@pytest.fixture
def equipped(make_kit, monkeypatch, link, capfd):
    """A function that makes a pool ready for deeds; Ray says nothing meanwhile."""
    monkeypatch.setattr(ray_module, "LOOK", 0.5)
    pools = []

    def make(trade=None, run="run", **changes):
        pool = RayPool(link.address)
        pools.append(pool)
        token = f"{TOKEN}{time.time_ns()}"
        pool.equip(make_kit(trade, run=run, token=token, **changes))
        return pool

    yield make
    for pool in pools:
        pool.close()
    assert capfd.readouterr() == ("", "")


def line_of(words, tmp_path, capfd):
    """The one line that a command ends with, and nothing else."""
    assert main([*words, "--out", str(tmp_path / "a")]) == 2
    err = capfd.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()
    return err


def test_an_address_where_nobody_answers_is_a_line(tmp_path, capfd, monkeypatch):
    """These come first: Ray knows one connection per process."""
    words = ["--pool", f"ray://127.0.0.1:{free_port()}"]
    assert "no Ray cluster answers at ray://127.0.0.1:" in line_of(words, tmp_path, capfd)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    assert "no Ray cluster answers at 127.0.0.1:" in line_of(["--pool", "auto"], tmp_path, capfd)


def test_another_version_of_ray_is_a_line(cluster, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    line = line_of(["--pool", cluster.pool], tmp_path, capfd)
    assert f"Ray: {ray_version}" in line
    assert "Ray: 2.0.0" in line
    assert not ray.is_initialized()


def test_jobs_are_done_once_as_in_a_local_pool(equipped):
    """Those that are added too; who kills its process twice is a failure and costs nobody else."""
    pool = equipped()
    jobs, found = {str(k): k for k in range(-1, 9)}, []
    for name, result in pool.run(fatal_if_negative, jobs, 60.0):
        found.append((name, result))
        if len(jobs) < 15:
            jobs[str(len(jobs))] = len(jobs)
    assert len(found) == 15
    assert dict(found) == {
        **{str(k): k for k in range(9)},
        **{str(k): k for k in range(10, 15)},
        "-1": Failure("killed its worker twice", timeout=False),
    }
    assert pool.workers == 3
    with pytest.raises(ValueError, match="no 1"):
        list(pool.run(refuse, {"a": 1}, 60.0))
    assert dict(pool.run(double, {"a": 1}, 60.0)) == {"a": 2}


def test_data_travel_once_and_only_when_they_are_asked_for(equipped):
    made = []

    def make():
        made.append(1)
        return b"arrays"

    good = Good("search", "f" * 64)
    has = equipped(Deeds(own_data=good.digest), run="has")
    has.supply(good, make)
    assert {r[2] for _, r in has.run(surroundings, dict.fromkeys("abc", 0), 60.0)} == {"none"}
    lacks = equipped()
    lacks.supply(good, make)
    for _ in range(2):
        jobs = {str(k): 0 for k in range(9)}
        files = {Path(r[2]) for _, r in lacks.run(surroundings, jobs, 60.0)}
        assert [f.read_bytes() for f in files] == [b"arrays"]
    assert len(made) == 1


def test_a_child_stays_on_its_node_unless_the_folder_is_shared(equipped, tmp_path):
    pool = equipped(run=f"children-{os.getpid()}")
    jobs = {str(k): Deed(f"child{k}", tmp_path / "driver") for k in range(4)}
    for seen in ("", "x"):
        assert dict(pool.run(grow, jobs, 60.0)) == dict.fromkeys(jobs, seen)
    assert set(pool._homes) == {deed.name for deed in jobs.values()}
    (tmp_path / "driver").mkdir()
    assert dict(pool.run(grow, jobs, 60.0)) == dict.fromkeys(jobs, "")
    assert pool._homes == {}
    pool.close()
    left = {path.name for path in (tmp_path / "driver").iterdir()}
    assert left == {deed.name for deed in jobs.values()}


def test_workers_and_nodes_that_die_or_come_late(cluster, equipped):
    """All jobs are done, and a late node has its share before it dies."""
    pool = equipped()
    jobs, seen = {str(k): 0.4 for k in range(8)}, {}
    late, first = None, set()
    for name, where in pool.run(place, jobs, 60.0):
        seen[name] = where
        if len(seen) == 2:
            os.kill(where, signal.SIGKILL)
            late = cluster.node(cpus=2)
            first = set(seen.values()) | set(workers(cluster, late, others=True))
        arrived = late is not None and where in workers(cluster, late)
        if arrived:
            cluster.kill(late)
            late = None
            break_after = len(jobs)
        elif late is not None and len(jobs) < 400:
            jobs[str(len(jobs))] = 0.4
    assert late is None
    assert first
    assert len(seen) == len(jobs) == break_after


def workers(cluster, mark, others=False):
    """Processes of a node, or of all others."""
    marks = [m for m in cluster.started if (m != mark) == others]
    return [pid for m in marks for pid in marked(m)]


def test_a_gpu_is_a_slot(equipped):
    """Jobs run on the one that Ray gave to them, and on as many as the node declares."""
    pool = equipped(gpu=True)
    assert pool.workers == 2
    jobs = {str(k): 0.3 for k in range(6)}
    found = dict(pool.run(gpu_of, jobs, 60.0)).values()
    assert {gpu for gpu, _ in found} == {"0", "1"}


def test_nodes_that_differ_get_no_task(cluster, link, tiny, tmp_path, monkeypatch):
    """One with an edited package, one that has none, one without the compiler."""
    copy = tmp_path / "edited"
    shutil.copytree(ROOT / "hybridsearch", copy / "hybridsearch")
    with (copy / "hybridsearch" / "errors.py").open("a") as file:
        file.write("# another version\n")
    nothing = tmp_path / "nothing" / "hybridsearch" / "__init__.py"
    nothing.parent.mkdir(parents=True)  # also where it is installed for all
    nothing.write_text("raise ModuleNotFoundError(\"No module named 'hybridsearch'\")\n")
    marks = [cluster.node(cpus=1, path=path) for path in (copy, tmp_path / "nothing")]
    marks.append(cluster.node(cpus=1, CXX="none"))
    sizes, pool = [], RayPool(link.address)
    send = pool._send
    monkeypatch.setattr(pool, "_send", lambda c, *w, **k: sizes.append(len(c)) or send(c, *w, **k))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        evaluator = TrainingEvaluator(tiny(device="cpu"), tmp_path / "children", pool)
        tasks = [evaluator.task(name, name, 2, 0) for name in ("ReLU", "tanh(x)", "x*sigmoid(x)")]
        found = list(evaluator.evaluate(tasks))
        assert evaluator.workers == 3
        evaluator.close()
    assert [e.status.value for e in found] == ["ok"] * 3
    lines = [str(w.message) for w in told]
    assert len(lines) == len(set(lines)) == 3
    assert any("has other source files of hybridsearch" in s for s in lines)
    assert any("No module named 'hybridsearch'" in s for s in lines)
    assert any("has no compiler" in s and "--training.kernel tape" in s for s in lines)
    assert 0 < max(sizes) < 10_000
    for mark in marks:
        cluster.kill(mark)


def test_where_no_node_can_be_used_the_run_ends_in_a_line(equipped):
    other = Deeds(replace(HERE, host="node7", torch="2.12.0"))
    with (
        pytest.warns(UserWarning, match="on node7 has torch"),
        pytest.raises(UserError, match=r"used: .* on node7 has torch 2\.12\.0, the driver on "),
    ):
        equipped(other)


DRIVER = """
import pickle, sys
from hybridsearch.session import search

search(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2])
"""


def test_a_killed_driver_goes_on_and_the_records_are_those_of_this_process(
    cluster, link, tiny, tmp_path, monkeypatch
):
    """First on a node of the cluster, then from elsewhere, with a network and data that workers
    do not have, in a folder that they are not in.
    """
    home, settings = make_home(tmp_path)
    monkeypatch.chdir(home)
    local = search(tiny(**settings), tmp_path / "local" / "a")
    away = tmp_path / "away" / "a"
    (home / "config").write_bytes(pickle.dumps(tiny(**settings, pool="auto")))
    command = [sys.executable, "-c", DRIVER, str(home / "config"), str(away)]
    log = away / "trials.jsonl"
    given = environment(RAY_ADDRESS=f"127.0.0.1:{cluster.port}")
    with subprocess.Popen(
        command, cwd=home, env=given, stderr=subprocess.PIPE, start_new_session=True
    ) as driver:
        while not log.exists() or len(log.read_bytes().splitlines()) < 6:
            assert driver.poll() is None, "the driver ended by itself"
            time.sleep(0.05)
        driver.kill()
        assert driver.stderr.read() == b""
    hide(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", link.address)
    done = load_run(away).trials
    resume(away)
    found = load_run(away).trials
    assert [p for p, _ in found] == [p for p, _ in load_run(local["folder"]).trials]
    assert found[: len(done)] == done
    assert list((away / "children").iterdir()) == []


# Threads of gRPC may stumble over the connection that is closed under them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_cluster_that_is_started_again(cluster, equipped):
    """The last test: what it leaves is another cluster."""
    pool = equipped()
    jobs, seen = {str(k): 0.3 for k in range(8)}, []

    def restart():
        cluster.stop()
        cluster.start_head()
        cluster.node()

    with pytest.warns(UserWarning, match="is lost; waiting up to 10 min"):
        for name, _ in pool.run(place, jobs, 60.0):
            seen.append(name)
            if len(seen) == 3:
                restarting = threading.Thread(target=restart)
                restarting.start()
    restarting.join()
    assert sorted(seen) == sorted(jobs)
