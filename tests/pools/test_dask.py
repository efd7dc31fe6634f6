"""The pool on a real Dask cluster, whose processes are killed, frozen and started again."""

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
from pathlib import Path

import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.cli import main
from hybridsearch.pools import dask as dask_module
from hybridsearch.pools.dask import DaskPool
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.wire import TOKEN, Good
from hybridsearch.session import resume, search

from .dask_cluster import ROOT, Client, Cluster, children, environment, free_port
from .deeds import Deed, Deeds, double, fatal_if_negative, grow, place, refuse, surroundings
from .own import hide, make_home

pytestmark = pytest.mark.extras
pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three workers that all tests but the last use, and leave as they are."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(3):
        cluster.worker()
    cluster.await_workers(3)
    yield cluster
    cluster.close()


@pytest.fixture
def equipped(make_kit, monkeypatch):
    """A function that makes a pool ready for deeds."""
    monkeypatch.setattr(dask_module, "LOOK", 0.5)
    pools = []

    def make(cluster, trade=None, run="run", **changes):
        pool = DaskPool(cluster.address)
        pools.append(pool)
        token = f"{TOKEN}{len(pools)}-{os.getpid()}"
        pool.equip(make_kit(trade, run=run, token=token, **changes))
        return pool

    yield make
    for pool in pools:
        pool.close()


def test_jobs_are_done_once_as_in_a_local_pool(cluster, equipped):
    """Those that are added too; who kills its process twice is a failure and costs nobody else."""
    pool = equipped(cluster)
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


def test_data_travel_once_and_only_when_they_are_asked_for(cluster, equipped):
    made = []

    def make():
        made.append(1)
        return b"arrays"

    good = Good("search", "f" * 64)
    has = equipped(cluster, Deeds(own_data=good.digest))
    has.supply(good, make)
    assert {r[2] for _, r in has.run(surroundings, dict.fromkeys("abc", 0), 60.0)} == {"none"}
    has.close()
    lacks = equipped(cluster)
    lacks.supply(good, make)
    for _ in range(2):
        jobs = {str(k): 0 for k in range(9)}
        files = {Path(r[2]) for _, r in lacks.run(surroundings, jobs, 60.0)}
        assert [f.read_bytes() for f in files] == [b"arrays"]
    assert len(made) == 1


def test_a_driver_that_leaves_while_its_data_are_awaited_leaves_no_thread_behind(cluster, equipped):
    """Else the worker's slots were taken for ever."""
    pool = equipped(cluster)

    def interrupted():
        raise KeyboardInterrupt

    pool.supply(Good("search", "e" * 64), interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(pool.run(double, {str(k): k for k in range(9)}, 60.0))
    pool.close()
    with Client(cluster.address, timeout=60, set_as_default=False) as client:
        workers = list(client.nthreads())
        some = [client.submit(os.getpid, workers=[one], pure=False) for one in workers]
        assert len({one.result(timeout=20) for one in some}) == 3


def test_a_child_stays_on_its_node_unless_the_folder_is_shared(cluster, equipped, tmp_path):
    pool = equipped(cluster)
    jobs = {str(k): Deed(f"child{k}", tmp_path / "driver") for k in range(4)}
    for seen in ("", "x", "xx"):
        assert dict(pool.run(grow, jobs, 60.0)) == dict.fromkeys(jobs, seen)
    assert set(pool._homes) == {deed.name for deed in jobs.values()}
    (tmp_path / "driver").mkdir()
    assert dict(pool.run(grow, jobs, 60.0)) == dict.fromkeys(jobs, "")
    assert pool._homes == {}
    pool.close()
    left = {path.name for path in (tmp_path / "driver").iterdir()}
    assert left == {deed.name for deed in jobs.values()}


def test_workers_that_die_or_freeze_or_come_late(tmp_path, equipped):
    """All jobs are done, the late worker has its share, and the frozen one is started again."""
    cluster = Cluster(tmp_path)
    try:
        cluster.worker()
        cluster.worker()
        cluster.await_workers(2)
        pool = equipped(cluster)
        jobs, seen = {str(k): 0.4 for k in range(8)}, {}
        late = None
        for name, where in pool.run(place, jobs, 60.0):
            seen[name] = where
            if late is None and len({*seen.values()}) == 2:  # one dies, the other freezes
                killed, frozen = {*seen.values()}
                os.kill(killed, signal.SIGKILL)
                os.kill(frozen, signal.SIGSTOP)
                late = cluster.worker()
            arrived = late is not None and {*seen.values()} & {*children(late.pid)}
            if not arrived and len(jobs) < 400:
                jobs[str(len(jobs))] = 0.4
        assert arrived
        assert set(seen) == set(jobs)
    finally:
        cluster.close()


def test_a_scheduler_that_is_started_again(tmp_path, equipped):
    """Workers end with their scheduler, so that they are started again too, as services are."""
    cluster = Cluster(tmp_path)
    try:
        cluster.worker()
        pool = equipped(cluster)
        jobs, seen = {str(k): 0.3 for k in range(8)}, []

        def restart():
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            cluster.start_scheduler()
            cluster.worker()

        with pytest.warns(UserWarning, match="is lost; waiting up to 10 min"):
            for name, _ in pool.run(place, jobs, 60.0):
                seen.append(name)
                if len(seen) == 3:
                    threading.Thread(target=restart).start()
        assert sorted(seen) == sorted(jobs)
    finally:
        cluster.close()


def test_workers_that_differ_get_no_task(tmp_path, equipped, capsys):
    """One with an edited package, one that has none, one without the compiler."""
    copy = tmp_path / "edited"
    shutil.copytree(ROOT / "hybridsearch", copy / "hybridsearch")
    shutil.copytree(ROOT / "tests" / "pools", copy / "tests" / "pools")
    with (copy / "hybridsearch" / "errors.py").open("a") as file:
        file.write("# another version\n")
    nothing = tmp_path / "nothing" / "hybridsearch" / "__init__.py"
    nothing.parent.mkdir(parents=True)  # also where it is installed for all
    nothing.write_text("raise ModuleNotFoundError(\"No module named 'hybridsearch'\")\n")
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.worker(path=copy)
        cluster.worker(path=tmp_path / "nothing")
        cluster.worker(CXX="none")
        cluster.await_workers(3)
        out = str(tmp_path / "out")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert main(["--pool", cluster.pool, "--out", out, "--device", "cpu"]) == 2
        lines = "\n".join(str(w.message) for w in told)
        assert "has other source files of hybridsearch" in lines
        assert "the driver on" in lines
        assert "No module named 'hybridsearch'" in lines
        assert "has no compiler" in lines
        assert "--training.kernel tape" in lines
        printed = capsys.readouterr().err.strip().splitlines()
        assert len(printed) == 1
        assert "can be used: worker tcp://" in printed[0]
        assert not Path(out).exists()
    finally:
        cluster.close()


def test_a_gpu_is_a_slot(tmp_path, equipped):
    """A worker has as many slots as it has GPUs to give; one that declares none is not used."""
    cluster = Cluster(tmp_path)
    try:
        cluster.worker("--resources", "GPU=1", "--nthreads", "2")
        cluster.worker()
        cluster.await_workers(2)
        with pytest.warns(UserWarning, match="has no GPU to give"):
            pool = equipped(cluster, gpu=True)
        assert pool.workers == 1
        jobs = {str(k): 0.1 for k in range(6)}
        assert len({where for _, where in pool.run(place, jobs, 60.0)}) == 1
    finally:
        cluster.close()


def test_an_address_where_nobody_answers_is_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hybridsearch.pools.dask_link.CONNECT", 1.0)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", f"tcp://127.0.0.1:{free_port()}")
    assert main(["--pool", "auto", "--out", str(tmp_path / "a")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:" in lines[0]


DRIVER = """
import pickle, sys
import pytest
from hybridsearch.session import search
from tests.pools.own import hide

with pytest.MonkeyPatch.context() as patch:
    hide(patch)
    search(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2])
"""


def test_a_killed_driver_goes_on_and_the_records_are_those_of_this_process(
    cluster, tiny, tmp_path, monkeypatch
):
    """With a network and data that the workers do not have, in a folder that they are not in."""
    home, settings = make_home(tmp_path)
    monkeypatch.chdir(home)
    local = search(tiny(**settings), tmp_path / "local" / "a")
    away = tmp_path / "away" / "a"
    config = tiny(**settings, pool=cluster.pool)
    (home / "config").write_bytes(pickle.dumps(config))
    command = [sys.executable, "-c", DRIVER, str(home / "config"), str(away)]
    log = away / "trials.jsonl"
    with subprocess.Popen(command, cwd=home, env=environment()) as driver:
        while not log.exists() or len(log.read_bytes().splitlines()) < 6:
            assert driver.poll() is None, "the driver ended by itself"
            time.sleep(0.05)
        driver.kill()
    hide(monkeypatch)
    done = load_run(away).trials
    resume(away)
    found = load_run(away).trials
    assert [p for p, _ in found] == [p for p, _ in load_run(local["folder"]).trials]
    assert found[: len(done)] == done
    assert list((away / "children").iterdir()) == []
