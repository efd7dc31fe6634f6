"""Tasks -> evaluations, through log, cache and evaluator, with every result logged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from hybridsearch.errors import UserError
from hybridsearch.store.anchor import START, Mark
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import Record, RunLog
from hybridsearch.types import Evaluation, Json, Outcome, Status, Task

if TYPE_CHECKING:  # it brings torch, for which those who only read a log should not wait
    from hybridsearch.evaluate.evaluator import Evaluator

AT_RISK = 0.1  # seconds of training that a kill may lose: a commit costs a few hundredths of one

POLL = 0.1  # seconds between looks for what somebody else trains
EVALUATION, END = "evaluation", "end"  # kinds of records

_NAMES = frozenset(f.name for f in fields(Evaluation))


def evaluation_of(record: Record) -> Evaluation:
    """The evaluation that a record of the kind "evaluation" holds."""
    payload, volatile = record
    return Evaluation.from_json(
        {name: value for name, value in payload.items() if name in _NAMES}, volatile
    )


def _is_evaluation(record: Record) -> bool:
    return bool(record[0]["kind"] == EVALUATION)


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

    def end(self, why: str) -> None:
        """Take down that the search has ended."""
        ...

    @property
    def following(self) -> dict[str, Json] | None:
        """The payload of the record that a resumed run has to write next; None where it is free."""
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

    def end(self, why: str) -> None:
        """Nothing is taken down."""

    following: dict[str, Json] | None = None

    def settle(self) -> Mark:
        return START

    def go_on(self, mark: Mark) -> str:
        return ""

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

    def restore_cache(self) -> int:
        """Give the cache what it lacks of a stopped run, after a kill before a commit, or when it
        is not the cache that it was; how many evaluations that was.
        """
        records = ((entry.payload, entry.volatile) for entry in self.log.ahead)
        return self.cache.put_back(evaluation_of(r) for r in records if _is_evaluation(r))

    def go_on(self, mark: Mark) -> str:
        """Go on from where a checkpoint was made; in words why that cannot be, or ""."""
        return "" if self.log.skip(mark) else "the log has not the records that it counts"

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
        done = self._replay(tasks)
        hits, misses = self.cache.split(t for t in tasks if t.hash not in done)
        done |= hits
        written = self._write(tasks, done, 0)
        progress(len(done))
        place = {task.hash: number for number, task in enumerate(tasks)}
        at_risk = 0.0
        while misses:
            for result in self.evaluator.evaluate(self._claimed(misses, done), keep):
                if strict and result.status is Status.ERROR:
                    message = f"a training failed twice by the machine's fault: {result.message}"
                    raise UserError(message)
                self.cache.add(result)
                done[result.task] = result
                written = self._write(tasks, done, written)
                if place[result.task] >= written:
                    at_risk += result.seconds
                    if at_risk > AT_RISK:
                        self.cache.commit()
                        at_risk = 0.0
                progress(len(done))
            misses = [task for task in misses if task.hash not in done]
            written = self._write(tasks, done, written)
            if self.cache.claims.others():
                self.cache.commit()  # somebody may wait for it
        return done

    def _replay(self, tasks: Sequence[Task]) -> dict[str, Evaluation]:
        """Those of the tasks that come next in the log of a resumed run, by hash."""
        found = {}
        for task, entry in zip(tasks, self.log.ahead, strict=False):
            record = entry.payload, entry.volatile
            if not _is_evaluation(record) or record[0]["task"] != task.hash:
                break
            found[task.hash] = evaluation_of(record)
        return found

    def _claimed(self, tasks: Sequence[Task], done: dict[str, Evaluation]) -> list[Task]:
        """Those of the tasks that nobody else trains; what others have trained meanwhile is put
        into `done`. Waits when there is nothing of either.
        """
        claims = self.cache.claims
        while True:
            mine = claims.take(task.hash for task in tasks)
            # Looked up once more: it may have been finished between the last look and the claim.
            hits, misses = self.cache.split(tasks)
            claims.release(mine & hits.keys())
            done |= hits
            able = [task for task in misses if task.hash in mine]
            if able or hits:
                return able
            self.cache.commit()
            time.sleep(POLL)

    def _write(self, tasks: Sequence[Task], done: Mapping[str, Evaluation], start: int) -> int:
        """Log results from task number `start` up to the first that is missing; returns that."""
        while start < len(tasks) and tasks[start].hash in done:
            task, result = tasks[start], done[tasks[start].hash]
            about = {"function": task.function, "key": task.key, "steps": task.steps}
            about |= {"seed": task.seed, "split": task.split, "context": task.context}
            about |= {"kernel": task.kernel}
            about |= {"stack": list(task.stack)} if task.stack else {}
            payload = {"kind": EVALUATION, **about, **result.payload()}
            self.log.append(payload, result.volatile())
            start += 1
        return start

    def note(self, outcome: Outcome, function: str, batch: int, order: int) -> None:
        """Log what became of a proposal."""
        about = {"kind": "outcome", "batch": batch, "order": order, "function": function}
        self.log.append({**about, **outcome.payload()})

    def end(self, why: str) -> None:
        """Log that the search has ended: time may have decided it, which decides otherwise when it
        is asked again.
        """
        self.log.append({"kind": END, "why": why})
        self.log.sync()

    @property
    def following(self) -> dict[str, Json] | None:
        """The payload of the record that a resumed run has to write next; None where it is free."""
        return self.log.ahead[0].payload if self.log.ahead else None

    def settle(self) -> Mark:
        """Sync the log: a checkpoint must never count a record that a power loss takes."""
        self.log.sync()
        return self.log.mark

    def past(self) -> list[Record]:
        """The log's records before the checkpoint, given away once."""
        return self.log.take_past()
