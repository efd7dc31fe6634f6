"""What every pool of workers is, and the one that is this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Protocol, TypeVar

from hybridsearch.pools.failure import Failure
from hybridsearch.pools.wire import Good, Kit

In = TypeVar("In")
Out = TypeVar("Out")


class Pool(Protocol):
    """Runs `function` on every job and yields (name, result) once, as they are done.

    workers: jobs that it runs at a time. elsewhere: whether on other machines, which need what
    `equip` and `supply` bring; local pools take no notice of them.
    """

    @property
    def workers(self) -> int: ...

    @property
    def elsewhere(self) -> bool: ...

    def equip(self, kit: Kit) -> None:
        """What workers must be and get before their first job.

        Raises: UserError where none of those that are there can be used.
        """
        ...

    def supply(self, good: Good, make: Callable[[], bytes]) -> None:
        """Data that jobs read from now on; `make`: what is sent to workers that have not got it."""
        ...

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """jobs: the caller may add some while the run goes on, and takes none out; those that are
        there when a result has been taken are run too, and the run ends when all are done. limit:
        seconds after which a job's process is ended; inf: none. What `function` raises is raised
        here: failures that are to be kept are values.
        """
        ...

    def close(self) -> None: ...


def added(jobs: Mapping[str, In], seen: int) -> list[str]:
    """The names of jobs beyond the first `seen`, in their order."""
    return list(islice(jobs, seen, None)) if len(jobs) > seen else []


class LocalPool:
    """What pools of this machine have in common: their workers share its files."""

    elsewhere = False

    def equip(self, kit: Kit) -> None:
        """Nothing is needed."""

    def supply(self, good: Good, make: Callable[[], bytes]) -> None:
        """Nothing is sent."""


class InlinePool(LocalPool):
    """Runs jobs one after the other in this process: for tests and debuggers, no hard limit."""

    workers = 1

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        seen = 0
        while names := added(jobs, seen):
            seen += len(names)
            for name in names:
                yield name, function(jobs[name])

    def close(self) -> None:
        """Nothing is held."""
