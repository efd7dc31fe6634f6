"""A batch on its way: asked for, being trained, not yet told. Several may be so at a time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from hybridsearch.genome.genome import Genome
from hybridsearch.genome.index import representative
from hybridsearch.genome.preflight import Inspection, inspect
from hybridsearch.ladder import Ascent, Climb, Ladder
from hybridsearch.records import Page, Records
from hybridsearch.types import Evaluation, Json, Proposal, Scale


class Flight:
    """What a batch was when it was asked for, and how far it is.

    number: of the batch, from 1. inspections: of its proposals, in their order. fresh: key -> what
    is trained. rejected: key -> a genome of the function, and why; both in the order of proposal.
    shared: keys of what it proposed and others under way train. due: when its rung counts as done,
    by the clock of `Fleet`. page: its tasks in the order of the log. waiting: hashes of those that
    are to be done yet.
    """

    def __init__(
        self,
        number: int,
        proposals: Sequence[Proposal],
        inspections: Sequence[Inspection],
        fresh: Mapping[str, str],
        rejected: Mapping[str, tuple[str, str]],
        shared: Iterable[str],
    ) -> None:
        self.number, self.proposals = number, tuple(proposals)
        self.inspections = tuple(inspections)
        self.fresh, self.rejected, self.shared = dict(fresh), dict(rejected), list(shared)
        self.due = 0
        self.ascent = Ascent(Climb(key, spec) for key, spec in fresh.items())
        self.page = Page()
        self.waiting: set[str] = set()
        self.asked = 0

    @classmethod
    def of(
        cls,
        number: int,
        proposals: Sequence[Proposal],
        known: Container[str],
        others: Container[str],
        room: int,
    ) -> Flight:
        """A batch of proposals.

        known: keys of functions that are not to be evaluated again, as are the others, which
        batches under way settle. room: how many may be trained at most; what is beyond it is not
        evaluated.
        """
        shared: list[str] = []
        fresh: dict[str, str] = {}
        rejected: dict[str, tuple[str, str]] = {}
        inspections = _inspect(proposals)
        for found in inspections:
            if found.key in known or found.key in fresh or found.key in rejected:
                continue
            if found.key in others:
                shared.append(found.key)
            elif found.rejected:
                rejected[found.key] = str(Genome(found.form)), found.rejected
            elif len(fresh) < room:
                fresh[found.key] = str(Genome(representative(found.form, found.key)))
        return cls(number, proposals, inspections, fresh, rejected, shared)

    @property
    def settles(self) -> list[str]:
        """The keys of the functions of which it says what they are worth."""
        return [*self.fresh, *self.rejected]

    @property
    def done(self) -> int:
        """Trainings done on its rung."""
        return self.asked - len(self.waiting)

    @property
    def ended(self) -> bool:
        """Whether none of its functions is to be trained further."""
        return not self.ascent.alive

    def ask(self, ladder: Ladder, records: Records) -> None:
        """Ask for the trainings of its rung."""
        tasks = ladder.tasks(self.ascent)
        self.asked = len(tasks)
        self.waiting = self.page.add(tasks, records.want(tasks, ladder.rungs[-1]))

    def take(self, result: Evaluation) -> None:
        """Take in one of the evaluations that it waits for."""
        self.page.done[result.task] = result
        self.waiting.remove(result.task)

    def go_on(self, ladder: Ladder) -> None:
        """With all of a rung done, decide who goes on to the next one."""
        ladder.go_on(self.ascent, self.page.done, self.number)

    def to_json(self) -> Json:
        return {
            "number": self.number,
            "proposals": [p.to_json() for p in self.proposals],
            "fresh": list(self.fresh.items()),
            "rejected": [[key, *about] for key, about in self.rejected.items()],
            "shared": self.shared,
            "due": self.due,
            "rung": self.ascent.rung,
            "alive": [child.key for child in self.ascent.alive],
            "tasks": [child.tasks for child in self.ascent.children],
        }

    @classmethod
    def from_json(
        cls, values: Mapping[str, Json], known: Mapping[str, Evaluation], scale: Scale
    ) -> Flight:
        """As it was; it has to `ask` for its rung again. known: what the log has, by task."""
        proposals = [Proposal.from_json(row) for row in values["proposals"]]
        flight = cls(
            values["number"],
            proposals,
            _inspect(proposals),
            dict(values["fresh"]),
            {key: (spec, reason) for key, spec, reason in values["rejected"]},
            values["shared"],
        )
        flight.due = values["due"]
        ascent = flight.ascent
        for child, tasks in zip(ascent.children, values["tasks"], strict=True):
            for task in tasks:
                child.add(known[task], scale)
        ascent.rung = values["rung"]
        ascent.alive = [child for child in ascent.children if child.key in values["alive"]]
        return flight


def _inspect(proposals: Sequence[Proposal]) -> list[Inspection]:
    return inspect([p.genome.tokens for p in proposals])
