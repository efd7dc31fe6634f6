"""Jobs on the nodes of a Ray cluster that is there.

Ray knows its nodes, gives them tasks, and starts those of a lost worker or node again. Here is what
it cannot know: which nodes compute the driver's numbers, that few tasks be out at a time, and what
to do when the cluster itself is lost.
"""

from __future__ import annotations

import contextlib
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hybridsearch.errors import UserError
from hybridsearch.pools.base import In, Out, added
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.line import Line, rank_of
from hybridsearch.pools.ray_link import LostConnection, connect
from hybridsearch.pools.store import check_store, remove
from hybridsearch.pools.wire import Call, Good, Kit, Reply, unpack

LOOK = 2.0  # seconds without news after which the cluster is looked at
PATIENCE = 120.0  # seconds that nodes may take to say whether they can be used
GATHER = 10.0  # seconds after the first that can, for the others to say it too
AWAY = 600.0  # seconds that a cluster may be away before the run is given up
DEPTH, MANY, SHORT = 2, 6, 0.1  # tasks out per slot; and of those that take so few seconds
ROUNDS = 3  # times that Ray may give a task up because its workers were lost


@dataclass
class _Flight:
    """A job that is out. lost: times that Ray gave it up. node: where it is to run, "": anywhere.
    since: when it was sent.
    """

    name: str
    call: bytes
    names: tuple[str, ...]
    lost: int = 0
    node: str = ""
    since: float = 0.0


class RayPool:
    """Workers of a Ray cluster. address: see `ray_link.connect`.

    Raises: UserError where none answers there within seconds, or Ray is not installed.
    """

    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address
        self._link = connect(address)
        self._kit: Kit | None = None
        self._carried: Any = None  # the reference to the kit
        self._goods: dict[Good, Callable[[], bytes]] = {}
        self._sent: dict[Good, bytes] = {}
        self._references: dict[tuple[str, str], Any] = {}  # to what was sent
        self._slots: dict[str, int] = {}  # of the nodes that are there, by their id
        self._refused: dict[str, str] = {}  # why, by node
        self._homes: dict[str, str] = {}  # the node that has a child's checkpoint, by its name
        self._said: set[str] = set()
        self._mean = 1.0  # seconds of a job, of late
        self._looked = 0.0  # when
        self._stored: set[str] = set()  # checkpoints that a store may hold

    @property
    def workers(self) -> int:
        """Slots of the nodes that can be used now; at least 1."""
        return max(1, sum(n for node, n in self._slots.items() if node not in self._refused))

    # Nodes -------------------------------------------------------------------------------------

    def equip(self, kit: Kit) -> None:
        """Ask every node whether it can compute for this driver, and wait for the first that can.

        Raises: UserError where none of those that are there can.
        """
        try:
            check_store(kit.store, kit.token)
            self._kit = kit
            self._pack()
            self._await_first()
        except LostConnection as error:
            self.close()
            raise UserError(f"pool: the connection to {self.address} is lost ({error})") from error
        except UserError:
            self.close()
            raise

    def _pack(self) -> None:
        """Put what workers need into the cluster."""
        self._carried = self._link.put(pickle.dumps(self._kit))
        self._references = {
            (good.name, good.digest): self._link.put(content)
            for good, content in self._sent.items()
        }

    def _await_first(self) -> None:
        started, first = time.monotonic(), None
        asked: dict[Any, str] = {}
        answered: set[str] = set()
        while time.monotonic() < started + PATIENCE:
            self._look()
            for node in self._slots.keys() - {*asked.values()} - answered:
                asked[self._send(b"", node, only=True)] = node
            if not self._slots and time.monotonic() > started + GATHER:
                return self._say(f"{self.address} has no workers yet; waiting for some")
            task = self._link.next(asked, LOOK)
            if task is not None:
                found = self._link.result(task)
                answered.add(asked.pop(task))
                if found is not None and found[1] == "refused":
                    self._refuse(found[0], str(found[2]))
                elif found is not None:
                    first = first or time.monotonic()
            self._check_refused()
            if first and (not asked or time.monotonic() > first + GATHER):
                return None
        return self._say(f"no worker of {self.address} has answered yet; waiting for them")

    def supply(self, good: Good, make: Callable[[], bytes]) -> None:
        self._goods[good] = make

    def _look(self) -> None:
        """See who is there, if it is time to."""
        assert self._kit is not None
        if time.monotonic() > self._looked + LOOK:
            nodes = self._link.nodes(self._kit.gpu)
            self._looked = time.monotonic()
            self._slots = {node.name: node.slots for node in nodes if node.slots}

    def _refuse(self, node: str, why: str) -> None:
        self._refused[node] = why
        self._say(why)

    def _check_refused(self) -> None:
        if self._slots and self._slots.keys() <= self._refused.keys():
            why = self._refused[min(self._slots)]
            raise UserError(f"no worker of {self.address} can be used: {why}")

    def _say(self, line: str) -> None:
        """A warning, once."""
        if line not in self._said:
            self._said.add(line)
            warnings.warn(line, stacklevel=2)

    def _deliver(self, name: str) -> None:
        """Put a good into the cluster, once."""
        for good, make in self._goods.items():
            if good.name == name and good not in self._sent:
                self._sent[good] = make()
                reference = self._link.put(self._sent[good])
                self._references[good.name, good.digest] = reference

    # Jobs --------------------------------------------------------------------------------------

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """Yield every job's result once, in the order in which they are done.

        A job that kills its process twice is a Failure, as in a local pool; one whose worker is
        lost is done by another, and is a Failure only when that happened again and again.
        """
        assert self._kit is not None, "equip comes first"
        self._kit.mark()
        trade = unpack(self._kit.trade)
        waiting: Line[_Flight] = Line()
        flights: dict[Any, _Flight] = {}
        seen = 0
        try:
            while True:
                fresh = added(jobs, seen)
                seen += len(fresh)
                for name in fresh:
                    names = trade.children(jobs[name])
                    work = pickle.dumps((function, jobs[name]))
                    call = Call(work, limit, names, tuple(self._goods))
                    waiting.add(_Flight(name, pickle.dumps(call), names), rank_of(jobs, name))
                if not waiting and not flights:
                    return
                try:
                    found = self._turn(waiting, flights)
                except LostConnection:
                    for flight in flights.values():
                        waiting.put_back(flight)
                    flights.clear()
                    self._reopen()
                    continue
                if found is not None:
                    yield found
        finally:
            self._link.cancel(flights)

    def _turn(
        self, waiting: Line[_Flight], flights: dict[Any, _Flight]
    ) -> tuple[str, Any | Failure] | None:
        """Send out what there is room for, and hear of one that is done; its result, if any.

        Raises: LostConnection; every job that is not done waits or is among the flights then.
        """
        self._look()
        self._check_refused()
        while waiting and len(flights) < self._most():
            flight = waiting.take()
            flight.node, flight.since = self._home(flight, flights), time.monotonic()
            try:
                task = self._send(flight.call, flight.node)
            except LostConnection:
                waiting.put_back(flight)
                raise
            flights[task] = flight
        task = self._link.next(flights, LOOK)
        if task is None:
            return None
        outcome = self._link.result(task)
        flight = flights.pop(task)
        if outcome is None:
            flight.lost += 1
            if flight.lost == ROUNDS:
                return flight.name, Failure("lost its worker again and again", False)
            waiting.put_back(flight)
            return None
        node, kind, content = outcome
        if kind in ("refused", "lacks"):
            waiting.put_back(flight)  # first: what follows may find the connection lost
            self._refuse(node, str(content)) if kind == "refused" else self._deliver(str(content))
            return None
        assert isinstance(content, bytes)
        if kind == "raised":
            raise pickle.loads(content)
        reply: Reply = pickle.loads(content)
        self._mean += 0.2 * (time.monotonic() - flight.since - self._mean)
        self._remember(flight, reply.home, reply.host)
        return flight.name, reply.open()

    def _most(self) -> int:
        """Tasks that may be out: one runs and one waits per slot, more where they are short."""
        return (MANY if self._mean < SHORT else DEPTH) * self.workers

    def _send(self, call: bytes, node: str = "", only: bool = False) -> Any:
        assert self._kit is not None
        arguments = (self._kit.token, [self._carried], call, self._references)
        return self._link.submit(arguments, self._kit.gpu, node, only, self._refused)

    def _home(self, flight: _Flight, flights: dict[Any, _Flight]) -> str:
        """The node that has a child's checkpoint, unless it is gone or busy enough."""
        node = next((self._homes[n] for n in flight.names if n in self._homes), "")
        room = 0 if node in self._refused else DEPTH * self._slots.get(node, 0)
        return node if sum(f.node == node for f in flights.values()) < room else ""

    def _remember(self, flight: _Flight, home: bool, node: str) -> None:
        if self._kit is not None and self._kit.store:
            self._stored.update(flight.names)
        for name in flight.names:
            if home:
                self._homes[name] = node
            else:
                self._homes.pop(name, None)

    def _reopen(self) -> None:
        """Wait for the cluster, and bring there what it must have. Raises: UserError after AWAY."""
        self._say(
            f"the connection to {self.address} is lost; waiting up to {AWAY / 60:.0f} min for the "
            "cluster (what is done is kept)"
        )
        end = time.monotonic() + AWAY
        while True:
            self._link.abandon()
            try:
                self._link = connect(self.address)
                self._slots.clear()
                self._refused.clear()
                self._looked = 0.0
                return self._pack()
            except (UserError, LostConnection) as error:
                if time.monotonic() > end:
                    raise UserError(f"{error}; `resume` goes on from here") from error
                time.sleep(1.0)

    def close(self) -> None:
        """Leave the cluster as it was."""
        nodes = {node: n for node, n in self._slots.items() if node not in self._refused}
        if self._kit is None:
            return self._link.close()
        with contextlib.suppress(OSError):
            self._kit.unmark()
        remove(self._kit.store, self._stored)
        return self._link.leave(self._kit.token, nodes)
