"""A driver's connection to a Dask scheduler: all that is asked of it is asked on the client's own
thread, and answers come into one inbox, so that a scheduler that hangs never makes a run hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from hybridsearch.errors import UserError, first_line
from hybridsearch.extras import need
from hybridsearch.pools.wire import Good, Kit, Reply

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT = 10.0  # seconds in which a scheduler must answer
PARTING = 10.0  # seconds that leaving may take: a frozen worker answers nobody


@dataclass(frozen=True)
class Done:
    """A task's replies, one for each of its jobs."""

    number: int
    replies: list[Reply]


@dataclass(frozen=True)
class Failed:
    """A task that raised. killed: Dask gave it up, because workers died that had it."""

    number: int
    error: BaseException
    killed: bool


@dataclass(frozen=True)
class Told:
    """What a worker says of itself. kind: ready, refused or lacks; text: why, or what it lacks."""

    kind: str
    worker: str
    text: str = ""
    host: str = ""
    slots: int = 0


News = Done | Failed | Told


def drain(inbox: SimpleQueue[News]) -> list[News]:
    """What is in an inbox, taken out."""
    found = []
    with contextlib.suppress(Empty):
        while True:
            found.append(inbox.get_nowait())
    return found


def connect(address: str) -> Link:
    """A connection to the scheduler at an address.

    Raises: UserError where none answers there, or Dask is not installed.
    """
    distributed = need("distributed", "dask", "a Dask cluster (pool)")
    need("hybridsearch.pools.dask_worker", "dask", "a Dask cluster (pool)")
    # Its users are told of a lost scheduler by the pool, in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(
            address, timeout=CONNECT, set_as_default=False, name="hybridsearch"
        )
    except (OSError, TimeoutError, ValueError) as error:
        why = first_line(error, type(error).__name__)
        raise UserError(
            f"pool: no Dask scheduler answers at {address} ({why}); start one with `dask "
            "scheduler`, or see that host and port are right and not behind a firewall"
        ) from error
    return Link(client)


class Link:
    """One client and its tasks, by number.

    workers: addresses of those that are there, as of the last look; None before the first. lost:
    whether scheduler or connection went away; nothing more is done then but to close.
    """

    def __init__(self, client: Client) -> None:
        self.inbox: SimpleQueue[News] = SimpleQueue()
        self.workers: set[str] | None = None
        self._client = client
        self._futures: dict[int, Future] = {}
        self._held: set[str] = set()  # keys that some worker had at the last look
        self._cancelled = self._looking = False
        self.looks = 0
        self._plugins: list[str] = []
        self._kit: Kit | None = None

    @property
    def lost(self) -> bool:
        return self._cancelled or self._client.status != "running"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run on the client's thread; what fails there shows as a lost connection."""

        async def run() -> None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await work

        self._client.loop.add_callback(run)

    # Plugins -----------------------------------------------------------------------------------

    def invite(self, kit: Kit) -> None:
        """Ask all workers, those to come too, to get ready; each tells how that went."""
        from hybridsearch.pools.dask_worker import Guest

        self._kit = kit
        self._client.subscribe_topic(kit.token, self._event)
        self._register(Guest(pickle.dumps(kit), kit.run, kit.token, kit.gpu))

    def deliver(self, good: Good, content: bytes) -> None:
        """Send a good to all workers, those to come too."""
        from hybridsearch.pools.dask_worker import Delivery

        assert self._kit is not None
        self._register(Delivery(self._kit.token, good.name, good.digest, content))

    def _register(self, plugin: Any) -> None:
        """On a thread of its own: it takes until the slowest worker has answered."""
        self._plugins.append(plugin.name)
        threading.Thread(target=self._registering, args=(plugin,), daemon=True).start()

    def _registering(self, plugin: Any) -> None:
        with contextlib.suppress(Exception):  # a worker that left meanwhile, or a lost scheduler
            self._client.register_plugin(plugin)

    def _event(self, event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        text = told.get("why") or told.get("name") or ""
        host, slots = told.get("host", ""), told.get("slots", 0)
        self.inbox.put(Told(told["kind"], told["worker"], text, host, slots))

    # Tasks -------------------------------------------------------------------------------------

    def submit(self, number: int, payloads: list[bytes], workers: Sequence[str] = ()) -> None:
        """Send jobs out as one task; its end comes into the inbox. workers: who may have it; ():
        any.
        """
        assert self._kit is not None
        from hybridsearch.pools.dask_worker import work

        resources = {self._kit.token: 1} | ({"GPU": 1} if self._kit.gpu else {})
        future = self._client.submit(
            work,
            f"hybridsearch-{self._kit.run}",
            payloads,
            key=f"hybridsearch-{self._kit.token}-{number}",
            workers=list(workers) or None,
            resources=resources,
            pure=False,
        )
        self._futures[number] = future
        self._client.loop.add_callback(self._watch, number, future)

    async def _watch(self, number: int, future: Future) -> None:
        from distributed import KilledWorker

        try:
            replies = await future.result()
        except (asyncio.CancelledError, OSError) as error:
            if number in self._futures:  # not by us
                self._cancelled = True
                self.inbox.put(Failed(number, error, False))
        except Exception as error:
            self.inbox.put(Failed(number, error, isinstance(error, KilledWorker)))
        else:
            self.inbox.put(Done(number, replies))
        finally:
            self.release([number])

    def release(self, numbers: Iterable[int]) -> None:
        """Take tasks back, or forget those that are done."""
        for number in numbers:
            future = self._futures.pop(number, None)
            if future is not None:
                future.release()

    def waits(self, number: int) -> bool:
        """Whether a task had not been given to any worker at the last look."""
        future = self._futures.get(number)
        return future is not None and future.status == "pending" and future.key not in self._held

    def note(self, worker: str) -> None:
        """That a worker is there, before the next look says so."""
        self.workers = (self.workers or set()) | {worker}

    def look(self) -> None:
        """Ask who is there and who has what; `looks` counts the answers."""
        if not self._looking:
            self._looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        try:
            threads = await self._client.nthreads()
            tasks = await self._client.processing()
            self.workers = set(threads)
            self._held = {key for keys in tasks.values() for key in keys}
            self.looks += 1
        finally:
            self._looking = False

    # The end -----------------------------------------------------------------------------------

    def leave(self) -> None:
        """Take back what was registered, and close."""
        if not self.lost:
            leaving = threading.Thread(target=self._unregister, daemon=True)
            leaving.start()
            leaving.join(PARTING)
        self.close()

    def _unregister(self) -> None:
        for name in self._plugins:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(name)

    def close(self) -> None:
        """Close the client, whatever it is doing."""
        self._futures.clear()
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(PARTING)

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close()
