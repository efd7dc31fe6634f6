"""Several children on one device at a time: as many as its memory holds, taking turns.

A child is a generator that queues one training step per turn, each on a stream of its own; what
it computes does not depend on who else is there. When memory runs out the pack is halved and the
children that have to leave start again later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Generic, TypeVar

from hybridsearch.evaluate.accelerator import Accelerator, Stream

T = TypeVar("T")
Course = Generator[None, None, T]

PROBE = 6  # turns of the first child before its memory is looked at: warm-up, capture, replays
FILL = 0.85  # share of the free memory that is planned with; scoring needs a little more
MOST = 8  # children; as many as a process has hardware queues (CUDA_DEVICE_MAX_CONNECTIONS)


@dataclass(eq=False)
class _Slot(Generic[T]):
    """A child in training."""

    name: str
    start: Callable[[], Course[T]]
    stream: Stream
    course: Course[T]
    turns: int = 0
    result: T | None = None


@dataclass
class Packer:
    """Runs children on one device; remembers for the process how many fit.

    most: 0: automatic. limit: children that fit; None until the first was measured.
    """

    accelerator: Accelerator
    most: int = 0
    limit: int | None = None
    _streams: list[Stream] = field(default_factory=list)
    _before: float = 0.0  # bytes held before the first child

    def run(self, starts: Mapping[str, Callable[[], Course[T]]]) -> Iterator[tuple[str, T | None]]:
        """Yield (name, what the child returns) as they end; None: it does not fit even alone.

        starts: makes the generator of each child; called again when a child must start again.
        Raises: what a child raises, unless it says that the memory is used up.
        """
        waiting = deque(starts.items())
        active: list[_Slot[T]] = []
        try:
            while waiting or active:
                while waiting and len(active) < (self.limit or 1):
                    active.append(self._begin(*waiting.popleft()))
                for slot in list(active):
                    ended = self._turn(slot)
                    if ended is None:  # no memory
                        alone = len(active) == 1
                        gone = self._leave(active, slot)
                        if alone:
                            yield slot.name, None
                        else:
                            waiting.extendleft((s.name, s.start) for s in reversed(gone))
                        break
                    if ended or slot.turns == PROBE:
                        self._measure()
                    if ended:
                        active.remove(slot)
                        self._streams.append(slot.stream)
                        yield slot.name, slot.result
        finally:
            for slot in active:
                slot.course.close()

    def _begin(self, name: str, start: Callable[[], Course[T]]) -> _Slot[T]:
        if self.limit is None:
            self.accelerator.reset_peak()
            self._before = self.accelerator.memory().held
        stream = self._streams.pop() if self._streams else self.accelerator.stream()
        return _Slot(name, start, stream, start())

    def _turn(self, slot: _Slot[T]) -> bool | None:
        """False: it goes on; True: it ended, with a result; None: no memory."""
        try:
            with self.accelerator.on(slot.stream):
                next(slot.course)
        except StopIteration as end:
            slot.result = end.value
            return True
        except Exception as error:
            if self.accelerator.exhausted(error):
                return None
            raise
        slot.turns += 1
        return False

    def _measure(self) -> None:
        """How many fit, from what the first child needed at most and what is free beside it."""
        if self.limit is None:
            memory = self.accelerator.memory()
            peak = memory.peak - self._before
            room = memory.free + memory.held - self._before
            fit = floor(FILL * room / peak) if peak > 0 else MOST
            self.limit = max(1, min(fit, self.most or MOST))

    def _leave(self, active: list[_Slot[T]], slot: _Slot[T]) -> list[_Slot[T]]:
        """Halve the pack; take out this child and then the latest, and free what they held.

        Returns those that left, in the order in which they had begun.
        """
        kept = [other for other in active if other is not slot][: len(active) // 2]
        if len(active) > 1:
            self.limit = len(active) // 2
        gone = [other for other in active if other not in kept]
        active[:] = kept
        self.accelerator.synchronize()
        for other in gone:
            other.course.close()
            self._streams.append(other.stream)
        self.accelerator.release()
        return gone
