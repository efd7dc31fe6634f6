"""What a search knows of the functions that it has met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hybridsearch.ladder import Climb, Ladder
from hybridsearch.records import evaluation_of
from hybridsearch.store.log import Record
from hybridsearch.types import Evaluation, Json, Status


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a function. order: its place among the distinct functions evaluated, from 1;
    0 for rejected ones. cost: seconds per element, where it was measured.
    """

    spec: str
    status: Status
    fitness: float | None
    rung: int
    message: str = ""
    evaluations: tuple[str, ...] = ()
    order: int = 0
    cost: float | None = None

    @property
    def score(self) -> float:
        return self.fitness or 0.0


class Knowledge(Mapping[str, Known]):
    """Functions by key, as they came to be known."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.best: Known | None = None  # of the fully trained ones; the earliest among equals
        self.distinct = 0  # functions evaluated
        self.trained: set[str] = set()  # keys of those that were not in the cache
        self.faults = 0  # trainings of functions that the machine failed twice
        self.fault = ""  # what the last of these said
        self._functions: dict[str, Known] = {}

    def __getitem__(self, key: str) -> Known:
        return self._functions[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def keep(self, key: str, entry: Known) -> None:
        """Know a function from now on."""
        self._functions[key] = entry
        if self._full(entry) and (not self.best or entry.score > self.best.score):
            self.best = entry

    def evaluated(self, child: Climb, fitness: float | None, cost: float | None) -> Known:
        """Count a function that was evaluated, unless the machine was at fault, and say what is to
        be known of it.
        """
        message = child.failure.message if child.failure else ""
        failed = child.status is Status.ERROR
        order = 0 if failed else self._count(child)
        if failed:
            self._fail(message)
        return Known(
            child.spec,
            child.status,
            fitness,
            child.rung,
            message,
            tuple(child.tasks),
            order,
            cost,
        )

    def _count(self, child: Climb) -> int:
        """Its place among the functions evaluated."""
        self.distinct += 1
        if child.trained:
            self.trained.add(child.key)
        return self.distinct

    def _fail(self, message: str) -> None:
        """Count a function that the machine failed."""
        self.faults, self.fault = self.faults + 1, message

    def _full(self, entry: Known) -> bool:
        """Whether a function was trained up to the top, and learned something."""
        whole = entry.rung == self.ladder.top and entry.status is Status.OK
        return whole and entry.score > self.ladder.scale.chance

    def finalists(self, count: int) -> list[tuple[str, Known]]:
        """(key, what is known) of the best fully trained functions, best first, earlier ones
        first among equals.
        """
        full = [(key, entry) for key, entry in self.items() if self._full(entry)]
        return sorted(full, key=lambda item: -item[1].score)[:count]

    def candidates(self, count: int) -> list[str]:
        """Up to `count` functions, as they are trained, that may be the best: half of them the best
        by their measured score, the others stopped ones of whom most is expected, as long as there
        are enough of either.
        """
        return self._chosen(count, count - count // 2)

    def entrants(self, candidates: int, finalists: int) -> list[str]:
        """Those that the race begins with; where it has not more candidates than finalists, and so
        decides nothing, the finalists: the best by their measured score, and stopped ones only
        where these are too few.
        """
        if candidates > finalists:
            return self.candidates(candidates)
        return self._chosen(finalists, finalists)

    def _chosen(self, count: int, measured: int) -> list[str]:
        """Up to `count` functions: so many by their measured score, more where stopped ones are too
        few for the rest, and stopped ones.
        """
        expected = [child.spec for child in self.ladder.prospects(count)]
        best = self.finalists(max(measured, count - len(expected)))
        return [*(entry.spec for _, entry in best), *expected][:count]

    def recall(self, records: Iterable[Record]) -> dict[str, Evaluation]:
        """Know again what a log tells; returns the last evaluation of every task."""
        latest: dict[str, Evaluation] = {}
        for record in records:
            payload = record[0]
            if payload["kind"] == "evaluation":
                latest[payload["task"]] = evaluation_of(record)
            elif payload["kind"] == "outcome" and not payload["known"]:
                self._recall(payload, latest)
        return latest

    def _recall(self, payload: dict[str, Json], latest: Mapping[str, Evaluation]) -> None:
        """payload: of the outcome with which a function came to be known."""
        entry = Known(
            payload["function"],
            Status(payload["status"]),
            payload["fitness"],
            payload["rung"],
            payload["message"],
            tuple(payload["evaluations"]),
            payload["order"],
            payload["cost"],
        )
        if entry.status is Status.ERROR:
            self._fail(entry.message)
            return
        self.keep(payload["key"], entry)
        if entry.order:
            child = Climb(payload["key"], entry.spec)
            for task in entry.evaluations:
                child.add(latest[task], self.ladder.scale)
            self.ladder.recall(child)
            self.ladder.learn([child])
            self._count(child)
