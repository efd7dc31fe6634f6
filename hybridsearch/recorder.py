"""Tasks -> evaluations, through log, cache and evaluator, with every result logged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING

from hybridsearch.errors import UserError
from hybridsearch.genome.function import resolve
from hybridsearch.records import CLOSE, END, EVALUATION, Page, evaluation_of, fault
from hybridsearch.store.anchor import Mark
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import Record, RunLog
from hybridsearch.types import TIME, Evaluation, Json, Outcome, Status, Task

if TYPE_CHECKING:  # it brings torch, for which those who only look should not wait
    from hybridsearch.evaluate.evaluator import Evaluator

SPENT = "spent"  # seconds of search, in the volatile part of an outcome

AT_RISK = 0.1  # seconds of training that a kill may lose: a commit costs a few hundredths of one

POLL = 0.1  # seconds between looks for what somebody else trains


def _lost(task: Task, result: Evaluation) -> str:
    """What to say where the machine failed a training without which nobody can go on."""
    return (
        f"{resolve(task.function).label}: {fault(result.message)}; all else is kept: see to what "
        "it lacked (time: time_limit in the run's config.yaml), and `resume` tries it again"
    )


def _is_evaluation(record: Record) -> bool:
    return bool(record[0]["kind"] == EVALUATION)


class Recorder:
    """Evaluates tasks and logs every result, in the order of the tasks.

    The order does not depend on which worker was faster. Results that wait for their turn in the
    log are committed to the cache as soon as they are worth more than AT_RISK; those that the log
    has reach the cache when it next commits, or after a resume.
    """

    def __init__(self, log: RunLog, cache: Cache, evaluator: Evaluator) -> None:
        self.log, self.cache, self.evaluator = log, cache, evaluator
        self._open: dict[str, Task] = {}  # wanted, not done; by hash
        self._keep_below = 0
        self._handed: list[Task] = []  # what the evaluator was given, which sees what is added
        self._running: Iterator[Evaluation] | None = None
        self._theirs: dict[str, Task] = {}  # of the open ones, those that are not handed out
        self._looked = 0.0  # when it was last looked for what others have done
        self._ready: deque[Evaluation] = deque()
        self._ahead: dict[str, deque[Evaluation]] | None = None
        self._at_risk: dict[str, float] = {}  # seconds of results that neither log nor cache has
        self.faults: dict[str, str] = {}  # key -> what the machine said of a function in `evaluate`

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
        keep_below: int = 0,
        progress: Callable[[int], None] = lambda done: None,
        needed: Container[str] | None = None,
    ) -> dict[str, Evaluation]:
        """As `Records.evaluate`."""
        page, asked = Page(), {task.hash: task for task in tasks}
        waiting = page.add(tasks, self.want(tasks, keep_below))
        failed: dict[str, Evaluation] = {}  # taken down last: until then it may be tried again
        self.write(page)
        progress(len(page.done))
        while waiting:
            result = self.result()
            waiting.discard(result.task)
            if needed is None or result.status is not Status.ERROR:
                page.done[result.task] = result
                self.write(page)
            else:
                failed[result.task] = result
                task = asked[result.task]
                if task.key in needed or len(failed) == len(asked):
                    raise UserError(_lost(task, result))
            progress(len(page.done) + len(failed))
        page.done |= failed
        self.write(page)
        self.faults |= {
            asked[name].key: result.message
            for name, result in page.done.items()
            if result.status is Status.ERROR and asked[name].split != TIME
        }
        return page.done

    def want(self, tasks: Sequence[Task], keep_below: int) -> dict[str, Evaluation]:
        """Ask for tasks; returns what log and cache know of them, by hash."""
        known = self._replay(tasks)
        hits, misses = self.cache.split(t for t in tasks if t.hash not in known)
        assert not self._open or keep_below == self._keep_below
        self._keep_below = keep_below
        fresh = {task.hash: task for task in misses}
        self._open |= fresh
        self._theirs |= fresh
        if fresh:
            self._hand_out()
        return known | hits

    def result(self) -> Evaluation:
        """The next evaluation of a task that was wanted; what others train is waited for.

        Raises: UserError where the evaluator ends without having answered all that it was given.
        """
        while not self._ready:
            if self._theirs and time.monotonic() - self._looked > POLL:
                self._hand_out()
            if self._running is None:
                self._start()
            elif (found := next(self._running, None)) is None:
                self._check_answered()
                self._running, self._handed = None, []
            else:
                self.cache.add(found)
                self._at_risk[found.task] = found.seconds
                self._ready.append(found)
        result = self._ready.popleft()
        del self._open[result.task]
        if not self._open:
            self._rest()
        return result

    def _start(self) -> None:
        """Have the evaluator begin, or wait where all that is open is with others."""
        if self._handed:
            self._running = self.evaluator.evaluate(self._handed, self._keep_below)
        elif not self._ready:
            self.cache.commit()
            self.cache.claims.wait()
            time.sleep(POLL)

    def _check_answered(self) -> None:
        """The evaluator has ended: what is open yet must be with others, or it never comes."""
        if lost := [task for task in self._handed if task.hash in self._open]:
            raise UserError(
                f"expected a result of every training that was given out, got none of {len(lost)} "
                f"(the first is of {lost[0].function}); what is done is kept, and `resume` goes on "
                "from here"
            )

    def _rest(self) -> None:
        """Nothing is open."""
        if self._running is not None:
            assert next(self._running, None) is None  # so that it can clear up
        self._running, self._handed = None, []
        self.cache.claims.wait(False)
        if self.cache.claims.others():
            self._commit()  # somebody may wait for it

    def _hand_out(self) -> None:
        """Give the evaluator what nobody else trains; what others have trained is ready."""
        claims, tasks = self.cache.claims, list(self._theirs.values())
        mine = claims.take(self._theirs)
        # Looked up once more: it may have been finished between the last look and the claim.
        hits, misses = self.cache.split(tasks)
        claims.release(mine & hits.keys())
        self._ready.extend(hits.values())
        self._handed += [task for task in misses if task.hash in mine]
        self._theirs = {task.hash: task for task in misses if task.hash not in mine}
        self._looked = time.monotonic()

    def _replay(self, tasks: Sequence[Task]) -> dict[str, Evaluation]:
        """Those of the tasks that the log of a stopped run has, by hash; a record serves once."""
        if self._ahead is None:
            self._ahead = {}
            for entry in self.log.ahead:
                record = entry.payload, entry.volatile
                if _is_evaluation(record):
                    self._ahead.setdefault(entry.payload["task"], deque()).append(
                        evaluation_of(record)
                    )
        found = {}
        for name in dict.fromkeys(task.hash for task in tasks):
            if name in self._ahead:
                found[name] = self._ahead[name].popleft()
                if not self._ahead[name]:
                    del self._ahead[name]
        return found

    def write(self, page: Page) -> None:
        """Log the results of a page, up to the first task that is not done; what is done and must
        wait for its turn is safe from a kill.
        """
        tasks, done = page.tasks, page.done
        while page.written < len(tasks) and tasks[page.written].hash in done:
            task, result = tasks[page.written], done[tasks[page.written].hash]
            about = {"function": task.function, "key": task.key, "steps": task.steps}
            about |= {"seed": task.seed, "split": task.split, "context": task.context}
            about |= {"kernel": task.kernel}
            about |= {"stack": list(task.stack)} if task.stack else {}
            payload = {"kind": EVALUATION, **about, **result.payload()}
            self.log.append(payload, result.volatile())
            self._at_risk.pop(result.task, None)
            page.written += 1
        if sum(self._at_risk.values()) > AT_RISK:
            self._commit()

    def _commit(self) -> None:
        self.cache.commit()
        self._at_risk.clear()

    def note(self, outcome: Outcome, function: str, batch: int, order: int, spent: float) -> None:
        """Log what became of a proposal. spent: seconds of search so far, which are no part of
        what a resumed run has to give again.
        """
        about = {"kind": "outcome", "batch": batch, "order": order, "function": function}
        self.log.append({**about, **outcome.payload()}, {SPENT: round(spent, 1)})

    @property
    def spent(self) -> float:
        """As `Records.spent`: a log of an older version tells of none."""
        told = (entry.volatile[SPENT] for entry in self.log.ahead if SPENT in entry.volatile)
        return max(told, default=0.0)

    def close(self, why: str, asked: int) -> None:
        """Log that no more is asked for after so many batches: time may have decided it, as in
        `end`.
        """
        about: dict[str, Json] = {"kind": CLOSE, "why": why}
        if self.following != about:  # as an older version has it
            about["asked"] = asked
        self.log.append(about)

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
