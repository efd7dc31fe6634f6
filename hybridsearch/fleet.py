"""The batches under way, and in which order they come.

Which of them goes on before, and which is told first, is decided by a clock on which every training
takes as long as it has steps and all train at once. So nobody waits for a batch that takes longer,
as one whose functions climb higher does, and yet the order is always the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Mapping, Sequence

from hybridsearch.flight import Flight
from hybridsearch.ladder import Ladder
from hybridsearch.records import Records
from hybridsearch.types import Evaluation, Json, Proposal, Scale

# Batches in a row without a function to train after which no further ones are worth asking for yet.
# Where half of what is proposed is known or under way, as near the end of a small space, batches of
# one stop too early once in 16 times; where nothing is left, four are asked for in vain each time
# that a training tells the strategy something.
BARREN = 4


class Fleet:
    """Batches asked for and not told."""

    def __init__(self, ladder: Ladder, records: Records) -> None:
        self.ladder, self.records = ladder, records
        self.now = 0  # by the clock, in training steps
        self.trained = 0  # functions that they train or have trained
        self._barren = 0  # the last batches asked for that brought none
        self._flights: dict[int, Flight] = {}  # by number
        self._settling: dict[str, int] = {}  # key of a function -> number of who settles it
        self._waiting: dict[str, Flight] = {}  # by the tasks that they wait for
        self._due: list[tuple[int, int]] = []  # when, number; a heap
        self._ended: list[Flight] = []

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        """The oldest first."""
        return iter(self._flights.values())

    @property
    def fruitful(self) -> bool:
        """Whether a batch more may bring functions to train: one of the last few did, or the
        strategy has heard of a training since.
        """
        return self._barren < BARREN

    def start(
        self, number: int, proposals: Sequence[Proposal], known: Container[str], room: int
    ) -> None:
        """A batch more. number: of it, from 1; the others as for `Flight.of`."""
        flight = Flight.of(number, proposals, known, self._settling, room)
        self._barren = 0 if flight.fresh else self._barren + 1
        self._join(flight)
        self._ask(flight)

    def _join(self, flight: Flight) -> None:
        self._flights[flight.number] = flight
        self._settling |= dict.fromkeys(flight.settles, flight.number)
        self.trained += len(flight.fresh)

    def _ask(self, flight: Flight) -> None:
        """Ask for the trainings of a batch's next rung, if any function goes on to it."""
        if not flight.ended:
            flight.due = self.now + self.ladder.steps_of(flight.ascent.rung)
        self._await(flight)

    def _await(self, flight: Flight) -> None:
        if flight.ended:
            self._ended.append(flight)
            return
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
        self.now, number = heapq.heappop(self._due)
        flight = self._flights[number]
        flight.go_on(self.ladder)
        self._ask(flight)

    def land(self) -> Flight | None:
        """Take out a batch that has ended, with what else it proposed, which others train, known;
        the oldest of several. None where there is none.
        """
        ready = [flight for flight in self._ended if self._is_ready(flight)]
        if not ready:
            return None
        flight = min(ready, key=lambda one: one.number)
        self._ended.remove(flight)
        del self._flights[flight.number]
        for key in flight.settles:
            del self._settling[key]
        self.trained -= len(flight.fresh)
        if flight.fresh:
            self._barren = 0
        return flight

    def _is_ready(self, flight: Flight) -> bool:
        """Whether nothing that it shares is on its way. It waits for older ones only: what the
        machine failed in one of these a younger one may try again, and that may wait for this one.
        """
        settled_by = (self._settling.get(key, flight.number) for key in flight.shared)
        return all(number >= flight.number for number in settled_by)

    def to_json(self) -> Json:
        return {
            "now": self.now,
            "barren": self._barren,
            "flights": [flight.to_json() for flight in self],
        }

    def restore(self, values: Json, known: Mapping[str, Evaluation], scale: Scale) -> None:
        """As it was, and ask again for what it waits for. known: what the log has, by task."""
        self.now, self._barren = values["now"], values.get("barren", 0)
        for row in values["flights"]:
            flight = Flight.from_json(row, known, scale)
            for child in flight.ascent.children:
                self.ladder.recall(child)
            self._join(flight)
            self._await(flight)
