"""Tasks -> evaluations, through log, cache and evaluator, with every result logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import Evaluator
from hybridsearch.store import Cache, Record, RunLog
from hybridsearch.types import Evaluation, Outcome, Status, Task

AT_RISK = 0.1  # seconds of training that a kill may lose: a commit costs a few hundredths of one

_NAMES = frozenset(f.name for f in fields(Evaluation))


def evaluation_of(record: Record) -> Evaluation:
    """The evaluation that a record of the kind "evaluation" holds."""
    payload, volatile = record
    return Evaluation.from_json(
        {name: value for name, value in payload.items() if name in _NAMES}, volatile
    )


class Records(Protocol):
    """What a search needs of a recorder."""

    evaluator: Evaluator

    def evaluate(
        self,
        tasks: Sequence[Task],
        keep: bool = False,
        progress: Callable[[int], None] = ...,
    ) -> dict[str, Evaluation]:
        """The evaluation of every task, by its hash."""
        ...

    def note(self, outcome: Outcome, function: str, batch: int, order: int) -> None:
        """Take down what became of a proposal.

        function: what stands for it, in token text. order: its place among the distinct functions
        of the run, from 1; 0 for rejected ones and repeats.
        """
        ...

    def settle(self) -> int:
        """Make everything taken down so far survive a power loss; how many records there are."""
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

    def evaluate(
        self,
        tasks: Sequence[Task],
        keep: bool = False,
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, Evaluation]:
        """The evaluation of every task, by its hash."""
        done = {result.task: result for result in self.evaluator.evaluate(tasks, keep)}
        progress(len(done))
        return done

    def note(self, outcome: Outcome, function: str, batch: int, order: int) -> None:
        """Nothing is taken down."""

    def settle(self) -> int:
        return 0

    def past(self) -> list[Record]:
        return []


class Recorder:
    """Evaluates tasks and logs every result, in the order of the tasks.

    The order does not depend on which worker was faster. Results that wait for their turn in the
    log are committed to the cache as soon as they are worth more than AT_RISK; those that the log
    has reach the cache when it next commits, or after a resume.
    """

    def __init__(self, log: RunLog, cache: Cache, evaluator: Evaluator) -> None:
        self.log, self.cache, self.evaluator = log, cache, evaluator
        # What the log has beyond the checkpoint was computed before a stop: not again.
        found = (evaluation_of(r) for r in log.ahead if r[0]["kind"] == "evaluation")
        self.replayed = {result.task: result for result in found}
        for result in self.replayed.values():
            cache.add(result)  # the kill may have come before the commit

    def evaluate(
        self,
        tasks: Sequence[Task],
        keep: bool = False,
        progress: Callable[[int], None] = lambda done: None,
        strict: bool = False,
    ) -> dict[str, Evaluation]:
        """The evaluation of every task, by its hash.

        keep: leave checkpoints behind, so that the children can go on. progress: told the number
        done. strict: raise UserError on an ERROR instead of logging it, since nobody could go on.
        """
        done = {t.hash: self.replayed[t.hash] for t in tasks if t.hash in self.replayed}
        hits, misses = self.cache.split(t for t in tasks if t.hash not in done)
        done |= hits
        written = self._write(tasks, done, 0)
        progress(len(done))
        place = {task.hash: number for number, task in enumerate(tasks)}
        at_risk = 0.0
        for result in self.evaluator.evaluate(misses, keep):
            if strict and result.status is Status.ERROR:
                raise UserError(f"a training failed twice by the machine's fault: {result.message}")
            self.cache.add(result)
            done[result.task] = result
            written = self._write(tasks, done, written)
            if place[result.task] >= written:
                at_risk += result.seconds
                if at_risk > AT_RISK:
                    self.cache.commit()
                    at_risk = 0.0
            progress(len(done))
        return done

    def _write(self, tasks: Sequence[Task], done: Mapping[str, Evaluation], start: int) -> int:
        """Log results from task number `start` up to the first that is missing; returns that."""
        while start < len(tasks) and tasks[start].hash in done:
            task, result = tasks[start], done[tasks[start].hash]
            about = {"function": task.function, "key": task.key, "steps": task.steps}
            about |= {"seed": task.seed, "split": task.split, "context": task.context}
            about |= {"kernel": task.kernel}
            about |= {"stack": list(task.stack)} if task.stack else {}
            payload = {"kind": "evaluation", **about, **result.payload()}
            self.log.append(payload, result.volatile())
            start += 1
        return start

    def note(self, outcome: Outcome, function: str, batch: int, order: int) -> None:
        """Log what became of a proposal."""
        about = {"kind": "outcome", "batch": batch, "order": order, "function": function}
        self.log.append({**about, **outcome.payload()})

    def settle(self) -> int:
        """Sync the log: a checkpoint must never count a record that a power loss takes."""
        self.log.sync()
        return self.log.position

    def past(self) -> list[Record]:
        """The log's records before the checkpoint, given away once."""
        return self.log.take_past()
