"""What travels between a driver and the workers of a cluster. All of it is small but arrays, which
travel once to a machine and only if it cannot load them itself.

Jobs, their results and what they are about stay pickled in a worker: only the process that trains
opens them, so that the worker does without all that they import.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hybridsearch.pools.failure import Failure
from hybridsearch.pools.parcel import Code
from hybridsearch.pools.passport import Passport

TOKEN = ".seen-"  # how tokens begin


@dataclass(frozen=True)
class Home:
    """Where jobs run on a machine. folder: their working directory, None: as it is; paths: put
    first on the module search path; goods: files of arrays that were sent, by name. children: where
    checkpoints lie; None: where the job says.
    """

    folder: str | None
    paths: tuple[str, ...]
    goods: Mapping[str, str]
    children: Path | None = None


@dataclass(frozen=True)
class Good:
    """Data that jobs read. digest: of the driver's. name: "search" or "test"."""

    name: str
    digest: str


class Trade(Protocol):
    """What jobs are about, of which pools know nothing. It pickles small; all methods but
    `children` run in the process in which jobs run.
    """

    def look(self) -> Passport:
        """Who computes here."""
        ...

    def code(self) -> dict[str, str]:
        """Digests of the user's code as it is here, by setting."""
        ...

    def own(self, good: Good) -> str:
        """The digest of the data that this machine has itself; raises where it has none."""
        ...

    def settle(self, home: Home) -> None:
        """Make a process ready for jobs; called before every one."""
        ...

    def children(self, job: Any) -> tuple[str, ...]:
        """The names of the checkpoints that a job goes on from and may leave."""
        ...

    def placed(self, job: Any, folder: Path) -> Any:
        """The job with its checkpoints in another folder."""
        ...


def pack(trade: Trade) -> bytes:
    """As it travels."""
    return pickle.dumps(trade)


def unpack(trade: bytes) -> Trade:
    """What `pack` made, in a process that can import what it needs."""
    found: Trade = pickle.loads(trade)
    return found


@dataclass(frozen=True)
class Kit:
    """What a worker must be, and gets, before its first job.

    run: names the run's folder on the driver, so that a resumed driver takes the place of the one
    before. token: of this driver alone, also a file's name in `children`, by which a worker sees
    whether it shares that folder. trade: pickled. passport, code: what must agree. store: URL
    (fsspec) through which checkpoints go where the folder is not shared; "": none. gpu: whether
    jobs want one.
    """

    run: str
    token: str
    trade: bytes
    passport: Passport
    code: Mapping[str, str]
    source: Code
    children: Path
    store: str = ""
    gpu: bool = False

    def mark(self) -> None:
        """On the driver: put the token into the folder of children, if that is there."""
        if self.children.is_dir():
            self.unmark()
            (self.children / self.token).touch()

    def unmark(self) -> None:
        """Take tokens away, this driver's and those of killed ones."""
        for path in self.children.glob(f"{TOKEN}*"):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Call:
    """One job as it travels. work: the function and the job, pickled. children: the names of its
    checkpoints; goods: what it may read.
    """

    work: bytes
    limit: float
    children: tuple[str, ...] = ()
    goods: tuple[Good, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A job's result, pickled, or Failure. home: whether its checkpoints lie where it ran, and only
    there, so that what goes on from them had better run there too. host: where it ran. seconds:
    that it took there.
    """

    result: bytes | Failure
    home: bool
    host: str
    seconds: float = 0.0

    def open(self) -> Any:
        """The result."""
        return self.result if isinstance(self.result, Failure) else pickle.loads(self.result)


@dataclass(frozen=True)
class Refusal:
    """Why this worker runs no jobs of a driver, in one line."""

    why: str


class Lacking(Exception):
    """A worker cannot load a good itself and has not got it; the driver is to send it."""

    def __init__(self, good: Good) -> None:
        super().__init__(good)
        self.good = good
