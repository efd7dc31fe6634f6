"""The batches under way, and in which order they come.

Who of them goes on before, and which one is told first, is decided by a clock of training steps, so
that nobody waits for a batch whose functions climb higher, and yet the order is always the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Mapping, Sequence

from hybridsearch.flight import Flight
from hybridsearch.ladder import Ladder
from hybridsearch.records import Records
from hybridsearch.types import Evaluation, Json, Proposal, Scale

CROWD = 8  # functions under way per worker of the clock


class Clock:
    """What the time would be if so many workers took the tasks that they are given one by one, in
    that order, and a training took as long as it has steps.

    Nothing that it says depends on the workers that there are, nor on how fast they are. now: in
    training steps. free: when each of its workers will be free, a heap.
    """

    def __init__(self, workers: int) -> None:
        self.now = 0
        self.free = [0] * workers

    def give(self, tasks: int, steps: int) -> int:
        """Give it tasks now, all of so many steps; returns when the last of them will be done."""
        due = self.now
        for _ in range(tasks):
            due = max(self.free[0], self.now) + steps
            heapq.heapreplace(self.free, due)
        return due


class Fleet:
    """Batches asked for and not told. most: functions that may be under way at a time."""

    def __init__(self, ladder: Ladder, records: Records, most: int) -> None:
        self.ladder, self.records = ladder, records
        self.clock = Clock(max(1, most // CROWD))
        self.trained = 0  # functions that they train or have trained
        self._flights: dict[int, Flight] = {}  # by number
        self._settling: dict[str, Flight] = {}  # by the keys of the functions that they settle
        self._waiting: dict[str, Flight] = {}  # by the tasks that they wait for
        self._due: list[tuple[int, int]] = []  # when, number; a heap
        self._ended: list[Flight] = []

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        """The oldest first."""
        return iter(self._flights.values())

    def start(
        self, number: int, proposals: Sequence[Proposal], known: Container[str], room: int
    ) -> None:
        """A batch more. number: of it, from 1; the others as for `Flight.of`."""
        flight = Flight.of(number, proposals, known, self._settling, self.trained, room)
        self._join(flight)
        self._ask(flight)

    def _join(self, flight: Flight) -> None:
        self._flights[flight.number] = flight
        self._settling |= dict.fromkeys(flight.settles, flight)
        self.trained += len(flight.fresh)
        if flight.ended:
            self._ended.append(flight)

    def _ask(self, flight: Flight) -> None:
        """Ask for the trainings of a batch's rung, if it has any yet."""
        if flight.ended:
            return
        steps = self.ladder.steps_of(flight.ascent.rung)
        flight.due = self.clock.give(len(flight.ascent.alive), steps)
        self._await(flight)

    def _await(self, flight: Flight) -> None:
        flight.ask(self.ladder, self.records)
        self._waiting |= dict.fromkeys(flight.waiting, flight)
        heapq.heappush(self._due, (flight.due, flight.number))

    def head(self) -> Flight:
        """The batch that goes on next, when all of its rung is done."""
        return self._flights[self._due[0][1]]

    def take(self, result: Evaluation) -> None:
        """Hand an evaluation to the batch that waits for it."""
        self._waiting.pop(result.task).take(result)

    def go_on(self) -> None:
        """Let the head, with its rung done, ask for the next one, if any function goes on."""
        self.clock.now, number = heapq.heappop(self._due)
        flight = self._flights[number]
        flight.go_on(self.ladder)
        if flight.ended:
            self._ended.append(flight)
        self._ask(flight)

    def land(self) -> Flight | None:
        """Take out a batch that has ended, with what else it proposed, which others train, known;
        the oldest of several. None where there is none.
        """
        ready = [
            flight for flight in self._ended if self._settling.keys().isdisjoint(flight.shared)
        ]
        if not ready:
            return None
        flight = min(ready, key=lambda one: one.number)
        self._ended.remove(flight)
        del self._flights[flight.number]
        for key in flight.settles:
            del self._settling[key]
        self.trained -= len(flight.fresh)
        return flight

    def to_json(self) -> Json:
        return {
            "now": self.clock.now,
            "free": self.clock.free,
            "flights": [flight.to_json() for flight in self],
        }

    def restore(self, values: Json, known: Mapping[str, Evaluation], scale: Scale) -> None:
        """As it was, and ask again for what it waits for. known: what the log has, by task."""
        self.clock.now, self.clock.free = values["now"], values["free"]
        for row in values["flights"]:
            flight = Flight.from_json(row, known, scale)
            self._join(flight)
            if not flight.ended:
                self._await(flight)
