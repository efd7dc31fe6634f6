"""A connection to Ray that is lost at any moment costs no job; the cluster here is a stand-in."""

from __future__ import annotations

import pickle

import pytest

from hybridsearch.pools import ray as module
from hybridsearch.pools.ray import RayPool
from hybridsearch.pools.ray_link import LostConnection, Node
from hybridsearch.pools.wire import Good, Reply

from .deeds import double

GOOD = Good("search", "f" * 64)


class Cluster:
    """A cluster of one slot, reached by one link after the other; `lost`: (what, how often): the
    question, and at which of its kind the connection goes. Its worker lacks a good first.
    """

    def __init__(self, lost):
        self.lost, self.asked = lost, {}

    def connect(self, address):
        return Link(self)

    def ask(self, what):
        self.asked[what] = self.asked.get(what, 0) + 1
        if (what, self.asked[what]) == self.lost:
            raise LostConnection(what)


class Link:
    def __init__(self, cluster):
        self.cluster, self.tasks = cluster, {}

    def nodes(self, gpu):
        self.cluster.ask("nodes")
        return [Node("one", 1)]

    def put(self, content):
        self.cluster.ask("put")
        return content

    def submit(self, arguments, gpu, on, only, shun):
        self.cluster.ask("submit")
        number = len(self.tasks)
        self.tasks[number] = arguments
        return number

    def next(self, tasks, seconds):
        self.cluster.ask("next")
        return min(tasks, default=None)

    def result(self, task):
        self.cluster.ask("result")
        _, _, call, references = self.tasks[task]
        if not call:
            return "one", "ready", ""
        call = pickle.loads(call)
        if call.goods and (GOOD.name, GOOD.digest) not in references:
            return "one", "lacks", GOOD.name
        function, job = pickle.loads(call.work)
        return "one", "done", pickle.dumps(Reply(pickle.dumps(function(job)), False, "one"))

    def cancel(self, tasks): ...

    def leave(self, token, slots): ...

    def abandon(self): ...


@pytest.mark.parametrize(
    "lost",
    [
        *[("submit", number) for number in range(2, 9)],  # the first asks whether it can be used
        ("put", 2),  # the good
        *[(what, number) for what in ("next", "result") for number in range(2, 9)],
    ],
    ids=lambda lost: f"{lost[0]}-{lost[1]}",
)
def test_no_job_is_lost_with_the_connection(make_kit, monkeypatch, lost):
    cluster = Cluster(lost)
    monkeypatch.setattr(module, "connect", cluster.connect)
    pool = RayPool("ray://nowhere:1")
    pool.equip(make_kit())
    pool.supply(GOOD, lambda: b"arrays")
    jobs = {str(k): k for k in range(6)}
    with pytest.warns(UserWarning, match="is lost; waiting up to 10 min"):
        found = list(pool.run(double, jobs, 60.0))
    assert sorted(found) == [(str(k), 2 * k) for k in range(6)]
