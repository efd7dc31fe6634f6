"""What every pool of workers is, and the one that is this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Failure:
    """A job that its machine did not finish, twice; `timeout` says that it overran its limit."""

    message: str
    timeout: bool


class Pool(Protocol):
    """Runs `function` on every job and yields (name, result) once, as they are done.

    workers: jobs that it runs at a time. jobs: the caller may add some while the run goes on, and
    takes none out; those that are there when a result has been taken are run too, and the run ends
    when all are done. limit: seconds after which a job's process is ended; inf: none. What
    `function` raises is raised by `run`: failures that are to be kept are values.
    """

    workers: int

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]: ...

    def close(self) -> None: ...


def added(jobs: Mapping[str, In], seen: int) -> list[str]:
    """The names of jobs beyond the first `seen`, in their order."""
    return list(islice(jobs, seen, None)) if len(jobs) > seen else []


class InlinePool:
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
