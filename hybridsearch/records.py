"""What a search needs of who evaluates its tasks and takes down what became of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from hybridsearch.genome.function import Function
from hybridsearch.observe import Observer
from hybridsearch.store.anchor import START, Mark
from hybridsearch.store.log import Record
from hybridsearch.types import Evaluation, Json, Outcome, Status, Task

if TYPE_CHECKING:  # it brings torch, for which those who only read a log should not wait
    from hybridsearch.evaluate.evaluator import Evaluator

EVALUATION, CLOSE, END = "evaluation", "close", "end"  # kinds of records

_NAMES = frozenset(f.name for f in fields(Evaluation))


def evaluation_of(record: Record) -> Evaluation:
    """The evaluation that a record of the kind "evaluation" holds."""
    payload, volatile = record
    return Evaluation.from_json(
        {name: value for name, value in payload.items() if name in _NAMES}, volatile
    )


def able(
    functions: Iterable[Function],
    tasks: Mapping[str, Sequence[Task]],
    done: Mapping[str, Evaluation],
    observer: Observer,
) -> list[Function]:
    """The functions of which the machine failed no training; of the others the observer is told.

    tasks: of every function, by its key. done: by the hash of a task.
    """
    left = []
    for function in functions:
        results = [done[task.hash] for task in tasks[function.key]]
        if failed := next((r for r in results if r.status is Status.ERROR), None):
            observer.note(f"{function.label} is left out: {fault(failed.message)}")
        else:
            left.append(function)
    return left


def fault(message: str) -> str:
    """What to say of a training that the machine failed, which said this."""
    return f"a training failed twice by the machine's fault: {message}"


class Page:
    """Tasks in the order of the log, and what is done of them, by hash.

    written: how many of them stand in the log.
    """

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.done: dict[str, Evaluation] = {}
        self.written = 0

    def add(self, tasks: Sequence[Task], known: Mapping[str, Evaluation]) -> set[str]:
        """Put tasks at its end; returns the hashes of those that are not among the known ones."""
        self.tasks += tasks
        self.done |= known
        return {task.hash for task in tasks if task.hash not in known}


class Records(Protocol):
    """What a search needs of a recorder."""

    evaluator: Evaluator

    def want(self, tasks: Sequence[Task], keep_below: int) -> dict[str, Evaluation]:
        """Ask for tasks; returns what is known of them at once, by hash, the rest comes as
        `result`. keep_below: as in `Evaluator.evaluate`, the same as long as any are to come.
        """
        ...

    def result(self) -> Evaluation:
        """The next evaluation of a task that was wanted."""
        ...

    def write(self, page: Page) -> None:
        """Take down the results of a page, up to the first task that is not done."""
        ...

    def evaluate(
        self,
        tasks: Sequence[Task],
        keep_below: int = 0,
        progress: Callable[[int], None] = lambda done: None,
        needed: Container[str] | None = None,
    ) -> dict[str, Evaluation]:
        """The evaluation of every task, by its hash, taken down in the order of the tasks.

        keep_below: as in `Evaluator.evaluate`. progress: told the number done. needed: keys of the
        functions without which nobody could go on; None: an ERROR is a result like others.
        Raises: UserError on an ERROR of a needed one, and where, with any needed or none, all are
        ERRORs. Until that is excluded no ERROR is taken down, so that a resumed run tries again.
        """
        ...

    def note(self, outcome: Outcome, function: str, batch: int, order: int, spent: float) -> None:
        """Take down what became of a proposal.

        function: what stands for it, in token text. order: its place among the distinct functions
        of the run, from 1; 0 for rejected ones and repeats. spent: seconds of search so far.
        """
        ...

    def close(self, why: str, asked: int) -> None:
        """Take down that no more is asked for after so many batches, some of them under way."""
        ...

    def end(self, why: str) -> None:
        """Take down that the search has ended."""
        ...

    @property
    def following(self) -> dict[str, Json] | None:
        """The payload of the record that a resumed run has to write next; None where it is free."""
        ...

    @property
    def spent(self) -> float:
        """Seconds of search that a stopped run has told of before it is gone on with, or 0."""
        ...

    def settle(self) -> Mark:
        """Make everything taken down so far survive a power loss; returns where that is."""
        ...

    def go_on(self, mark: Mark) -> str:
        """Go on from where a checkpoint was made; in words why that cannot be, or ""."""
        ...

    def past(self) -> list[Record]:
        """The records before the checkpoint, given away once."""
        ...


class MemoryRecorder:
    """Evaluates tasks and keeps nothing: for searches on a table, which is its own record.

    What such a search did is read off the search itself. A machine's fault is not told apart from
    other results, since an evaluator that only answers has none.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self._handed: list[Task] = []  # what the evaluator was given, which sees what is added
        self._running: Iterator[Evaluation] | None = None

    def want(self, tasks: Sequence[Task], keep_below: int) -> dict[str, Evaluation]:
        """Nothing is known at once."""
        self._handed += tasks
        return {}

    def result(self) -> Evaluation:
        """The next evaluation of a task that was wanted."""
        if self._running is None:
            self._running = self.evaluator.evaluate(self._handed)
        return next(self._running)

    def write(self, page: Page) -> None:
        """Nothing is taken down."""

    def evaluate(
        self,
        tasks: Sequence[Task],
        keep_below: int = 0,
        progress: Callable[[int], None] = lambda done: None,
        needed: Container[str] | None = None,
    ) -> dict[str, Evaluation]:
        """The evaluation of every task, by its hash. None is an ERROR, so `needed` is idle."""
        results = {}
        for result in self.evaluator.evaluate(tasks, keep_below):
            results[result.task] = result
            progress(len(results))
        return results

    def note(self, outcome: Outcome, function: str, batch: int, order: int, spent: float) -> None:
        """Nothing is taken down."""

    def close(self, why: str, asked: int) -> None:
        """Nothing is taken down."""

    def end(self, why: str) -> None:
        """Nothing is taken down."""

    following: dict[str, Json] | None = None
    spent = 0.0

    def settle(self) -> Mark:
        return START

    def go_on(self, mark: Mark) -> str:
        return ""

    def past(self) -> list[Record]:
        return []
