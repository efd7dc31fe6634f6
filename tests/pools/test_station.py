"""A station runs jobs as a local pool does, with the driver's data, code and children."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hybridsearch.pools.deliveries import await_delivery
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import ENVIRONMENT
from hybridsearch.pools.parcel import Code
from hybridsearch.pools.station import Station, close_station, station_for
from hybridsearch.pools.wire import Call, Good, Lacking

from .deeds import HERE, Deed, Deeds, die, double, grow, surroundings

DATA = Good("search", "f" * 64)


@pytest.fixture
def open_station(make_kit, tmp_path):
    opened = []

    def station(trade=None, **changes):
        opened.append(Station(make_kit(trade, **changes), "tcp://here:1", tmp_path / "scratch"))
        return opened[-1]

    yield station
    for one in opened:
        one.close()
    assert not any((tmp_path / "scratch").iterdir())


def call(function, job, goods=()):
    names = (job.name,) if isinstance(job, Deed) else ()
    return Call(pickle.dumps((function, job)), 60.0, names, goods)


def test_a_job_runs_in_a_process_of_its_own_which_is_kept(open_station):
    station = open_station()
    assert station.refusal() == ""
    replies = [station.run(call(surroundings, 0)) for _ in range(2)]
    assert replies[0] == replies[1]
    pid, threads, goods = replies[0].open()
    assert pid != os.getpid()
    assert (threads, goods) == (ENVIRONMENT["OMP_NUM_THREADS"], "none")


def test_a_job_that_kills_its_process_twice_is_a_failure_and_the_station_goes_on(open_station):
    station = open_station()
    failure = station.run(call(die, 0)).open()
    assert failure == Failure("killed its worker twice", timeout=False)
    assert station.run(call(double, 4)).open() == 8


def test_a_worker_that_differs_is_refused_with_both_named(open_station):
    station = open_station(Deeds(replace(HERE, host="node7", torch="2.12.0")))
    assert station.refusal() == (
        "worker tcp://here:1 on node7 has torch 2.12.0, the driver on driver torch 2.13.0: "
        "install the driver's version there"
    )


def test_data_are_sent_only_to_who_has_other_ones_and_once(open_station):
    sent = []

    def fetch(good):
        sent.append(good)
        return b"arrays"

    has = open_station(Deeds(own_data=DATA.digest), run="has")
    assert has.run(call(surroundings, 0, (DATA,)), fetch).open()[2] == "none"
    assert sent == []
    for number, trade in enumerate((Deeds(own_data="other"), Deeds())):
        station = open_station(trade, run=f"lacks{number}")
        with pytest.raises(Lacking):
            station.run(call(double, 0, (DATA,)))
        for _ in range(3):
            path = station.run(call(surroundings, 0, (DATA,)), fetch).open()[2]
        assert Path(path).read_bytes() == b"arrays"
        assert len(sent) == number + 1


def test_who_waits_for_data_when_the_station_closes_waits_no_longer(make_kit, tmp_path):
    """Its thread is one of the worker's, which Dask cannot stop."""
    station = Station(make_kit(), "tcp://here:1", tmp_path / "scratch")
    asked = threading.Event()

    def fetch(good):
        return await_delivery(("a", "b", "c"), asked.set, lambda: station.closed)

    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(station.run, call(double, 0, (DATA,)), fetch) for _ in range(2)]
        assert asked.wait(60.0)
        station.close()
        for job in jobs:
            with pytest.raises(RuntimeError, match=r"nobody waits for the data|station is closed"):
                job.result(10.0)


def test_code_that_the_machine_does_not_have_is_unpacked_once_for_its_workers(open_station):
    code = Code("/not/here", (".",), {"mine_too.py": b"NAME = 'of the driver'\n"})
    changes = {"source": code, "code": {"module": "of the driver"}}
    stations = [open_station(Deeds(module="mine_too"), **changes) for _ in range(2)]
    assert [s.refusal() for s in stations] == ["", ""]
    other = open_station(Deeds(module="mine_too"), **changes | {"code": {"module": "another"}})
    assert "other code of module" in other.refusal()
    folder = stations[0].scratch.folder
    assert [p.name for p in folder.glob("code-*")] == [f"code-{code.digest}"]


@pytest.mark.parametrize("way", ["shared", "store", "node"])
def test_a_checkpoint_goes_on(open_station, tmp_path, way):
    """By the driver's folder where it is shared, by the store, or on the node that has it."""
    store = (tmp_path / "store").as_uri() if way == "store" else ""
    first = open_station(store=store)
    folder = first.kit.children
    if way == "shared":
        folder.mkdir()
        (folder / first.kit.token).touch()
    job = Deed("child", folder)
    reply = first.run(call(grow, job))
    assert (reply.open(), reply.home) == ("", way == "node")
    # Another node is one with another scratch folder; the same node for what stays there.
    second = first if way == "node" else open_station(store=store, run="other")
    assert second.run(call(grow, job)).open() == "x"
    assert second.run(call(grow, job)).open() == "xx"
    assert (folder / "child").exists() == (way == "shared")


def test_a_node_without_the_checkpoint_starts_again(open_station):
    job = Deed("child", Path("/not/here"))
    assert open_station().run(call(grow, job)).open() == ""
    assert open_station(run="other").run(call(grow, job)).open() == ""


def test_a_new_driver_of_a_run_takes_the_place_of_the_old(make_kit, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    old = station_for(make_kit(token="a"), "x")
    assert station_for(make_kit(token="a"), "x") is old
    new = station_for(make_kit(token="b"), "x")
    with pytest.raises(RuntimeError, match="closed"):
        old.run(call(double, 1))
    assert new.run(call(double, 1)).open() == 2
    close_station("b")
    close_station("b")
