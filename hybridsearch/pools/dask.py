"""Jobs on the workers of a Dask cluster that is there.

Dask knows who its workers are, gives them tasks, and gives those of a lost worker to others. Here
is what it cannot know: which workers compute the driver's numbers (they declare a resource that
tasks ask for), that few tasks be out at a time, and what to do when the scheduler itself is lost.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from queue import Empty

from hybridsearch.errors import UserError
from hybridsearch.pools.base import In, Out, added
from hybridsearch.pools.dask_link import Done, Failed, Told, connect, drain
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.line import Line, rank_of
from hybridsearch.pools.store import check_store, remove
from hybridsearch.pools.wire import Call, Good, Kit, unpack

LOOK = 2.0  # seconds without news after which the cluster is looked at
PATIENCE = 120.0  # seconds that workers may take to say whether they can be used
GATHER = 10.0  # seconds after the first that can, for the others to say it too
AWAY = 600.0  # seconds that a scheduler may be away before the run is given up
DEPTH = 2  # tasks out per slot: one runs and one waits
SHORT, MANY = 0.1, 16  # seconds of a task below which it takes more jobs, up to so many
ROUNDS = 3  # times that Dask may give a task up because its workers were lost


@dataclass(frozen=True)
class _Parcel:
    """A job as it travels. children: the names of its checkpoints. lost: times that Dask gave it
    up.
    """

    name: str
    payload: bytes
    children: tuple[str, ...]
    lost: int = 0


@dataclass
class _Flight:
    """Jobs that are out as one task. number: of it, the last of several. missed: the look since
    which no worker has had it. host: where it is to run, "": anywhere.
    """

    parcels: list[_Parcel]
    number: int = 0
    missed: int | None = None
    host: str = ""


class DaskPool:
    """Workers of a Dask cluster. address: "tcp://HOST:PORT" of its scheduler.

    Raises: UserError where no scheduler answers there within seconds, or Dask is not installed.
    """

    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address
        self._link = connect(address)
        self._kit: Kit | None = None
        self._goods: dict[Good, Callable[[], bytes]] = {}
        self._sent: dict[Good, bytes] = {}
        self._slots: dict[str, int] = {}  # by the worker's address
        self._hosts: dict[str, str] = {}  # the host of each
        self._refused: dict[str, str] = {}  # why, by address
        self._homes: dict[str, str] = {}  # the host that has a child's checkpoint, by its name
        self._said: set[str] = set()
        self._numbers = count(1)
        self._mean = 1.0  # seconds of a job, of late
        self._looked = 0.0  # when
        self._stored: set[str] = set()  # checkpoints that a store may hold

    @property
    def workers(self) -> int:
        """Slots of the workers that can be used now; at least 1."""
        return max(1, sum(self._usable().values()))

    def _usable(self) -> dict[str, int]:
        """Slots of the workers that were admitted and are there, by address."""
        alive = self._link.workers or set()
        return {address: n for address, n in self._slots.items() if address in alive}

    # Workers -----------------------------------------------------------------------------------

    def equip(self, kit: Kit) -> None:
        """Ask every worker whether it can compute for this driver, now and when one joins, and wait
        for the first that can. Raises: UserError where none of those that are there can.
        """
        try:
            check_store(kit.store, kit.token)
            self._kit = kit
            self._link.invite(kit)
            self._await_first()
        except UserError:
            self.close()
            raise

    def _await_first(self) -> None:
        started, first = time.monotonic(), None
        while time.monotonic() < started + PATIENCE:
            self._hear()
            alive = self._link.workers
            if alive is not None and not alive and time.monotonic() > started + GATHER:
                return self._say(f"{self.address} has no workers yet; waiting for some")
            self._check_refused()
            first = first or (time.monotonic() if self._usable() else None)
            answered = self._link.looks and (alive or set()) <= {*self._slots, *self._refused}
            if first and (answered or time.monotonic() > first + GATHER):
                return None
        return self._say(f"no worker of {self.address} has answered yet; waiting for them")

    def supply(self, good: Good, make: Callable[[], bytes]) -> None:
        self._goods[good] = make

    def _hear(self) -> Done | Failed | None:
        """The next news of a job, or None after LOOK at most; what else is told is dealt with."""
        if time.monotonic() > self._looked + LOOK:
            self._looked = time.monotonic()
            self._link.look()
        with contextlib.suppress(Empty):
            news = self._link.inbox.get(timeout=LOOK)
            if isinstance(news, Done | Failed):
                return news
            if isinstance(news, Told):
                self._told(news)
        return None

    def _told(self, news: Told) -> None:
        if news.kind in ("ready", "refused"):
            self._link.note(news.worker)
        if news.kind == "ready":
            self._slots[news.worker], self._hosts[news.worker] = news.slots, news.host
            self._refused.pop(news.worker, None)
        elif news.kind == "refused":
            self._refused[news.worker] = news.text
            self._say(news.text)
        elif news.kind == "lacks":
            self._deliver(news.text)

    def _deliver(self, name: str) -> None:
        """Send a good to the workers, once: those that join later get it when they do."""
        for good, make in self._goods.items():
            if good.name == name and good not in self._sent:
                self._sent[good] = make()
                self._link.deliver(good, self._sent[good])

    def _check_refused(self) -> None:
        alive = self._link.workers
        if self._link.looks and alive and alive <= set(self._refused):
            raise UserError(f"no worker of {self.address} can be used: {self._refused[min(alive)]}")

    def _say(self, line: str) -> None:
        """A warning, once."""
        if line not in self._said:
            self._said.add(line)
            warnings.warn(line, stacklevel=2)

    # Jobs --------------------------------------------------------------------------------------

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """Yield every job's result once, in the order in which they are done.

        A job that kills its process twice is a Failure, as in a local pool; one whose worker is
        lost is done by another, and is a Failure only when that happened ROUNDS times over.
        """
        assert self._kit is not None, "equip comes first"
        self._kit.mark()
        trade = unpack(self._kit.trade)
        waiting: Line[str] = Line()
        flights: dict[int, _Flight] = {}
        seen = 0

        def parcel(name: str) -> _Parcel:
            children = trade.children(jobs[name])
            call = Call(pickle.dumps((function, jobs[name])), limit, children, tuple(self._goods))
            return _Parcel(name, pickle.dumps(call), children)

        try:
            while True:
                fresh = added(jobs, seen)
                seen += len(fresh)
                for name in fresh:
                    waiting.add(name, rank_of(jobs, name))
                while waiting and len(flights) < DEPTH * self.workers:
                    self._submit(_Flight(self._some(waiting, parcel)), flights)
                if not flights:
                    return
                news = self._hear()
                if isinstance(news, Done) and (flight := flights.pop(news.number, None)):
                    for one, reply in zip(flight.parcels, news.replies, strict=True):
                        self._mean += 0.2 * (reply.seconds - self._mean)
                        self._remember(one, reply.home, reply.host)
                        yield one.name, reply.open()
                elif self._link.lost:
                    self._reopen(flights)
                elif isinstance(news, Failed) and (flight := flights.pop(news.number, None)):
                    if not news.killed:
                        raise news.error
                    for one in flight.parcels:  # from here on each by itself
                        again = replace(one, lost=one.lost + 1)
                        if again.lost == ROUNDS:
                            yield one.name, Failure("lost its worker again and again", False)
                        else:
                            self._submit(_Flight([again]), flights)
                elif news is None:
                    self._check_refused()
                    self._rescue(flights)
        finally:
            self._link.release(list(flights))

    def _some(self, waiting: Line[str], parcel: Callable[[str], _Parcel]) -> list[_Parcel]:
        """The jobs of the next task: one, or as many short ones as leave some for every slot, if
        what they go on from lies on one host.
        """
        fair = math.ceil(len(waiting) / (DEPTH * self.workers))
        most = max(1, min(MANY, fair, int(SHORT / max(self._mean, SHORT / MANY))))
        found = [parcel(waiting.take())]
        while waiting and len(found) < most:
            found.append(parcel(waiting.take()))
            if self._host(found[-1]) != self._host(found[0]):
                waiting.put_back(found.pop().name)
                break
        return found

    def _submit(self, flight: _Flight, flights: dict[int, _Flight]) -> None:
        flight.number, flight.missed = next(self._numbers), None
        flight.host, where = self._home(flight, flights)
        flights[flight.number] = flight
        self._link.submit(flight.number, [one.payload for one in flight.parcels], where)

    def _home(self, flight: _Flight, flights: dict[int, _Flight]) -> tuple[str, list[str]]:
        """The host that has a child's checkpoint, and its workers, unless it is busy enough."""
        host = self._host(flight.parcels[0])
        where = [a for a in self._usable() if host and self._hosts[a] == host]
        room = DEPTH * sum(self._slots[a] for a in where)
        if sum(f.host == host for f in flights.values()) >= room:
            return "", []
        return host, where

    def _host(self, one: _Parcel) -> str:
        """Of the first checkpoint of which that is known; "" where there is none."""
        return next((self._homes[n] for n in one.children if n in self._homes), "")

    def _remember(self, one: _Parcel, home: bool, host: str) -> None:
        if self._kit is not None and self._kit.store:
            self._stored.update(one.children)
        for name in one.children:
            if home:
                self._homes[name] = host
            else:
                self._homes.pop(name, None)

    def _rescue(self, flights: dict[int, _Flight]) -> None:
        """Submit again what no worker has, look after look: a scheduler does not think again of
        tasks that nobody could take when a worker declares what they ask for.
        """
        for flight in list(flights.values()):
            if not self._link.waits(flight.number):
                flight.missed = None
            elif flight.missed is None:
                flight.missed = self._link.looks
            elif self._link.looks > flight.missed + 1 and self._usable():
                self._link.release([flight.number])
                del flights[flight.number]
                self._submit(flight, flights)

    def _reopen(self, flights: dict[int, _Flight]) -> None:
        """Wait for the scheduler, and submit again what was out. Raises: UserError after AWAY."""
        assert self._kit is not None
        self._say(
            f"the connection to {self.address} is lost; waiting up to {AWAY / 60:.0f} min for the "
            "scheduler (what is done is kept)"
        )
        self._link.close()
        done = [n for n in drain(self._link.inbox) if isinstance(n, Done) and n.number in flights]
        end = time.monotonic() + AWAY
        while True:
            try:
                self._link = connect(self.address)
                break
            except UserError as error:
                if time.monotonic() > end:
                    raise UserError(f"{error}; `resume` goes on from here") from error
                time.sleep(1.0)
        self._slots.clear()
        self._refused.clear()
        self._link.invite(self._kit)
        for good, content in self._sent.items():
            self._link.deliver(good, content)
        for news in done:
            self._link.inbox.put(news)
        for number in flights.keys() - {news.number for news in done}:
            self._submit(flights.pop(number), flights)

    def close(self) -> None:
        """Leave the cluster as it was."""
        if self._kit is not None:
            with contextlib.suppress(OSError):
                self._kit.unmark()
            remove(self._kit.store, self._stored)
        self._link.leave()
