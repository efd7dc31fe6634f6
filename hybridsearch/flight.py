"""A batch on its way: asked for, being trained, not yet told. Several may be so at a time."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.index import representative
from hybridsearch.genome.preflight import Inspection, inspect
from hybridsearch.ladder import Climb, Ladder, Way
from hybridsearch.records import Page, Records
from hybridsearch.types import Evaluation, Json, Proposal


class Flight:
    """What a batch was when it was asked for, and how far it is.

    number: of the batch, from 1. inspections: of its proposals, in their order. fresh: key -> what
    is trained. rejected: key -> a genome of the function, and why; both in the order of proposal.
    marks: what had been seen at the rungs. page: its tasks in the order of the log. waiting: hashes
    of those that are to be done next. children: what came of it; None while it is under way.
    """

    def __init__(
        self,
        number: int,
        proposals: Sequence[Proposal],
        inspections: Sequence[Inspection],
        fresh: Mapping[str, str],
        rejected: Mapping[str, tuple[str, str]],
        marks: Sequence[int],
    ) -> None:
        self.number, self.proposals = number, tuple(proposals)
        self.inspections = tuple(inspections)
        self.fresh, self.rejected, self.marks = dict(fresh), dict(rejected), list(marks)
        self.page = Page()
        self.waiting: set[str] = set()
        self.children: list[Climb] | None = None
        self.rung = self.asked = 0
        self._way: Way | None = None
        self._keep_below = 0

    @classmethod
    def of(
        cls,
        number: int,
        proposals: Sequence[Proposal],
        known: Sequence[Container[str]],
        room: int,
        marks: Sequence[int],
    ) -> Flight:
        """A batch of proposals.

        known: collections of keys of functions that are not to be evaluated again. room: how many
        may be trained at most; what is beyond it is not evaluated.
        """
        fresh: dict[str, str] = {}
        rejected: dict[str, tuple[str, str]] = {}
        inspections = _inspect(proposals)
        for found in inspections:
            if any(found.key in keys for keys in (*known, fresh, rejected)):
                continue
            if found.rejected:
                rejected[found.key] = str(Genome(found.form)), found.rejected
            elif len(fresh) < room:
                fresh[found.key] = str(Genome(representative(found.form, found.key)))
        return cls(number, proposals, inspections, fresh, rejected, marks)

    def __contains__(self, key: object) -> bool:
        """Whether it settles a function."""
        return key in self.fresh or key in self.rejected

    @property
    def done(self) -> int:
        """Trainings done on its rung."""
        return self.asked - len(self.waiting)

    def begin(self, ladder: Ladder, records: Records) -> None:
        """Ask for the first trainings."""
        self._way = ladder.climb(self.fresh, self.number, self.marks)
        self._keep_below = ladder.rungs[-1]
        self._go(records)

    def take(self, result: Evaluation, records: Records) -> None:
        """Take in one of the evaluations that it waits for, and go on where it was the last."""
        self.page.done[result.task] = result
        self.waiting.remove(result.task)
        self._go(records)

    def _go(self, records: Records) -> None:
        """Climb on for as long as nothing has to be waited for."""
        assert self._way is not None
        while not self.waiting and self.children is None:
            try:
                # A generator that has not begun takes nothing but None.
                tasks = self._way.send(self.page.done) if self.rung else next(self._way)
            except StopIteration as end:
                self.children = end.value
                return
            self.rung, self.asked = self.rung + 1, len(tasks)
            self.waiting = self.page.add(tasks, records.want(tasks, self._keep_below))

    def to_json(self) -> Json:
        return {
            "number": self.number,
            "proposals": [p.to_json() for p in self.proposals],
            "fresh": list(self.fresh.items()),
            "rejected": [[key, *about] for key, about in self.rejected.items()],
            "marks": self.marks,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> Flight:
        """As it was when it was asked for; it has to `begin`."""
        proposals = [Proposal.from_json(row) for row in values["proposals"]]
        return cls(
            values["number"],
            proposals,
            _inspect(proposals),
            dict(values["fresh"]),
            {key: (spec, reason) for key, spec, reason in values["rejected"]},
            values["marks"],
        )


def _inspect(proposals: Sequence[Proposal]) -> list[Inspection]:
    return inspect([p.genome.tokens for p in proposals])
