"""The evaluator that answers from a recorded table, in microseconds and without training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.fidelity import rung_steps
from hybridsearch.tables.table import DIVERGED, MISSING, NOISE, Table, name_of
from hybridsearch.types import Evaluation, Status, Task, accuracy_of

NO_TIMES = (
    "evolution.objectives: expected score on a recorded table, got score_time; a table has no "
    "times of functions, leave out --table to measure them"
)


class TableEvaluator:
    """Answers tasks from a table.

    Which of the first two replicates a search sees of a function is drawn from the training seed
    and the function, so that searches of other seeds see other noise.
    Raises: UserError when the config compares children at steps that were not recorded, or wants
    times, which no table has.
    """

    def __init__(self, table: Table, config: Config) -> None:
        if config.measures_times:
            raise UserError(NO_TIMES)
        self.table, self.scale, self.test_images = table, table.scale, 0
        self.measure = accuracy_of(int(table.about["classes"]))
        self.context = f"table-{table.digest}"
        wanted = rung_steps(config.fidelity, config.training.steps)
        self._rung = {steps: rung for rung, steps in enumerate(table.steps)}
        if missing := [steps for steps in wanted if steps not in self._rung]:
            raise UserError(
                f"fidelity.rungs: children are compared at {missing[0]} steps, but the table was "
                f"recorded at {', '.join(map(str, table.steps))}"
            )
        loss = np.asarray(table.validation_loss, np.float64)
        self._loss, self._accuracy = loss, np.asarray(table.validation_accuracy, np.float64)

    def calibrate(self) -> float:
        return float("inf")

    def note(self) -> str:
        """In one line what answers, for the display."""
        return f"a recorded table of {len(self.table.keys):,} functions answers; nothing is trained"

    def task(self, function: str, key: str, steps: int, seed: int) -> Task:
        return Task(function, key, steps, seed, self.context)

    def replicates(self, function: str, key: str, steps: int, seeds: Sequence[int]) -> list[Task]:
        return [self.task(function, key, steps, seed) for seed in seeds]

    def test_task(self, trained: Task) -> Task:
        return replace(trained, split="test")

    def time_task(self, function: str, key: str) -> Task:
        """Raises: UserError."""
        raise UserError(NO_TIMES)

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        """Raises: UserError for a function that was not recorded."""
        for task in tasks:
            row = self.table.index.get(task.key)
            if row is None:
                raise UserError(
                    f"{name_of(task.function)} is not in the table; the space of a search on a "
                    "table must be the recorded one"
                )
            yield self._answer(task, row)

    def _answer(self, task: Task, row: int) -> Evaluation:
        name = f"{task.seed} {self.table.keys[row]}"  # the recording's key, on any processor
        drawn = blake2b(name.encode(), digest_size=1).digest()[0]
        replicate, rung = drawn % NOISE, self._rung[task.steps]
        status = self.table.status[row, replicate]
        assert status != MISSING
        loss = float(self._loss[row, replicate, rung])
        if status == DIVERGED and np.isnan(loss):
            return Evaluation(task.hash, Status.DIVERGED, message="diverged when it was recorded")
        return Evaluation(task.hash, Status.OK, loss, float(self._accuracy[row, replicate, rung]))

    def forget(self, tasks: Iterable[Task] | None = None) -> None: ...

    def close(self) -> None: ...


def table_config(table: Table, config: Config) -> Config:
    """A config with the sections that the table was recorded with."""
    names = ("fitness", "space", "data", "network", "training")
    return config.model_copy(update={name: getattr(table.config, name) for name in names})
