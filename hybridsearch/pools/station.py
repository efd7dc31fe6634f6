"""What a worker process of a cluster keeps: the process that trains, and what it needs there.

The worker does not train itself. It hosts a LokyPool of one process per job at a time, so that
limits, crashes, threads and memory are what they are on one machine: a job that kills its process
costs the cluster nothing, and two tries are LokyPool's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

from hybridsearch.errors import told
from hybridsearch.pools.deliveries import wake
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool
from hybridsearch.pools.passport import differs
from hybridsearch.pools.scratch import Scratch
from hybridsearch.pools.store import download, upload
from hybridsearch.pools.wire import Call, Good, Home, Kit, Lacking, Reply, unpack

Fetch = Callable[[Good], bytes]  # the content of a good's file; raises Lacking


def cannot_fetch(good: Good) -> bytes:
    """Raises: Lacking, always."""
    raise Lacking(good)


@dataclass(frozen=True)
class _There:
    """What runs in the process of a station, once it is settled: a job. It gives pickled bytes."""

    trade: bytes
    home: Home

    def __call__(self, work: bytes) -> bytes:
        trade = _opened(self.trade)
        trade.settle(self.home)
        function, job = pickle.loads(work)
        if self.home.children is not None:
            job = trade.placed(job, self.home.children)
        return pickle.dumps(function(job))


@dataclass(frozen=True)
class _Unable:
    """A question about a machine that it could not answer, and why."""

    why: str


_opened = lru_cache(maxsize=4)(unpack)


def _ask(question: tuple[str, bytes, tuple[Any, ...]]) -> Any:
    """In the process of a station: a method of the trade, its errors as values."""
    name, trade, arguments = question
    try:
        return getattr(_opened(trade), name)(*arguments)
    except Exception as error:
        return _Unable(told(error))


class Station:
    """The processes of one run in a worker; its methods may be called by several threads.

    where: the worker's address, for people. base: where scratch folders lie (tests).
    """

    def __init__(self, kit: Kit, where: str, base: Path | None = None) -> None:
        # Dask's workers are daemons of their nannies, which multiprocessing allows no children:
        # ours end by themselves when their parent does (`loky._end_with`).
        multiprocessing.process.current_process()._config.pop("daemon", None)  # type: ignore[attr-defined]
        self.kit, self.where = kit, where
        self.scratch = Scratch(kit.run, base)
        self._lock = threading.Lock()
        self._idle: list[LokyPool] = []
        self._all: list[LokyPool] = []
        self._closed = False
        self._loading = threading.Lock()
        self._goods: dict[Good, str] = {}  # the file of each, "" where the machine's own will do
        self._refusal: str | None = None
        self._folder: str | None = None

    # Admission ---------------------------------------------------------------------------------

    def refusal(self) -> str:
        """Why this worker cannot compute for the driver, in one line; "" if it can. Asked once."""
        with self._loading:
            if self._refusal is None:
                self._refusal = self._admit()
            return self._refusal

    def _admit(self) -> str:
        kit, who = self.kit, f"worker {self.where} on {socket.gethostname()}"
        found = self._answer("look")
        if isinstance(found, _Unable):
            return f"{who} cannot be examined: {found.why}"
        if why := differs(kit.passport, found, self.where):
            return why
        if not kit.source.files and not kit.code:
            return ""
        if not kit.source.lies_in(Path(kit.source.root)):
            name = f"code-{kit.source.digest}"
            self._folder = str(self.scratch.put(name, _unpacked(kit)))
        elif kit.source.files:
            self._folder = kit.source.root
        code = self._answer("code")
        if isinstance(code, _Unable):
            return f"{who} cannot import your code: {code.why}; install there what it needs"
        for setting, digest in kit.code.items():
            if code.get(setting) != digest:
                return f"{who} has other code of {setting} than the driver: install the same there"
        return ""

    def _answer(self, method: str, *arguments: Any) -> Any:
        """What the trade answers in a process of this station; _Unable if it cannot."""
        work = pickle.dumps((_ask, (method, self.kit.trade, arguments)))
        found = self._in_process(work, inf)
        return _Unable(found.message) if isinstance(found, Failure) else pickle.loads(found)

    # Jobs --------------------------------------------------------------------------------------

    def run(self, call: Call, fetch: Fetch = cannot_fetch) -> Reply:
        """Run a job. fetch: called for data that this machine cannot load itself.

        Raises: Lacking where `fetch` does, and what the job's function raises.
        """
        for good in call.goods:
            self._have(good, fetch)
        host, store = socket.gethostname(), self.kit.store
        if not call.children or (self.kit.children / self.kit.token).exists():
            return Reply(self._in_process(call.work, call.limit), False, host)
        paths = [self.scratch.children / name for name in call.children]
        if store:
            for path in paths:
                download(store, path)
        before = [_written(path) for path in paths]
        found = self._in_process(call.work, call.limit, self.scratch.children)
        new = [p for p, b in zip(paths, before, strict=True) if _written(p) not in (b, None)]
        if new:
            self.scratch.trim()
        if store:
            for path in new:
                upload(store, path)
        return Reply(found, not store and any(path.exists() for path in paths), host)

    def _in_process(
        self, work: bytes, limit: float, children: Path | None = None
    ) -> bytes | Failure:
        with self._lock:
            files = {good.name: path for good, path in self._goods.items() if path}
        paths = tuple(str(Path(self._folder, p)) for p in self.kit.source.paths if self._folder)
        there = _There(self.kit.trade, Home(self._folder, paths, files, children))
        with self._pool() as pool:
            ((_, found),) = pool.run(there, {"job": work}, limit)
        return found

    @contextlib.contextmanager
    def _pool(self) -> Iterator[LokyPool]:
        """A pool of one process that nobody else uses meanwhile."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this station is closed")
            pool = self._idle.pop() if self._idle else LokyPool(1)
            if pool not in self._all:
                self._all.append(pool)
        try:
            yield pool
        finally:
            with self._lock:
                self._idle.append(pool)

    # Data --------------------------------------------------------------------------------------

    def _have(self, good: Good, fetch: Fetch) -> None:
        """Make sure that processes here read the driver's data: their own, or what was sent."""
        with self._loading:
            if good in self._goods:
                return
            path = ""
            if self._answer("own", good) != good.digest:
                content = fetch
                path = str(
                    self.scratch.put(
                        f"{good.name}-{good.digest[:32]}",
                        lambda made: _write(made, content(good)),
                    )
                )
            with self._lock:
                self._goods[good] = path

    @property
    def closed(self) -> bool:
        """Whether nothing runs here any more."""
        return self._closed

    def close(self) -> None:
        """End the processes, whatever they are doing, and remove the folder; who waits for data
        (`deliveries`) waits no longer.
        """
        with self._lock:
            self._closed = True
            pools = list(self._all)
        wake()
        for pool in pools:
            pool.retire()
        self.scratch.close()


def _unpacked(kit: Kit) -> Callable[[Path], None]:
    def fill(made: Path) -> None:
        made.mkdir()
        kit.source.unpack(made)

    return fill


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _written(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written anew; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


_STATIONS: dict[str, Station] = {}  # by token; one process of a cluster may serve several drivers
_OPENING = threading.Lock()


def station_for(kit: Kit, where: str) -> Station:
    """The station of a driver in this process, opened once and kept; the one of an earlier driver
    of the same run is closed.
    """
    with _OPENING:
        if kit.token not in _STATIONS:
            for token, other in list(_STATIONS.items()):
                if other.kit.run == kit.run:
                    _STATIONS.pop(token).close()
            _STATIONS[kit.token] = Station(kit, where)
        return _STATIONS[kit.token]


def close_station(token: str) -> None:
    """Close the station of a driver in this process, if there is one."""
    with _OPENING:
        station = _STATIONS.pop(token, None)
    if station is not None:
        station.close()
