"""Recording: train every function of a space, several times, and note every rung.

A recording is a folder: `config.yaml`, `functions.jsonl` (what is recorded, in order), shards
`cells-NNN.jsonl`, one line per (function, replicate), and of data or a network of the user's
`origin.txt`, by which it is known when they change. A line is written when its training ends and
never changed, so that a recording goes on wherever it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from hybridsearch.config import Config, recorded_config
from hybridsearch.digests import dump
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator, unmanned
from hybridsearch.evaluate.judge import make_objective
from hybridsearch.evaluate.stacks import jobs_of
from hybridsearch.evaluate.trajectory import FollowJob, Scores, Trajectory, follow
from hybridsearch.fidelity import rung_steps
from hybridsearch.genome.function import Function, baselines, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.index import representative
from hybridsearch.genome.preflight import inspect
from hybridsearch.observe import Observer
from hybridsearch.pools.failure import Failure
from hybridsearch.propose.exhaustive import ExhaustiveProposer
from hybridsearch.store.disk import Appender, cut_torn_tail, make_folder, read_lines, write_text
from hybridsearch.types import Json, Scale, Status, Task, accuracy_of, number_for

CONFIG, FUNCTIONS, SHARDS = "config.yaml", "functions.jsonl", "cells-{:03d}.jsonl"
ORIGIN = "origin.txt"  # what stands for data and code of the user's
CELL = ("key", "replicate", "status", "scores", "seconds")
PER_SHARD = 2000  # lines
BLOCK = 64  # functions handed to the pool at a time
INSPECTED_AT_ONCE = 1024


@dataclass(frozen=True)
class Cell:
    """One training of one function. replicate: its number, the same training seed for all."""

    key: str
    replicate: int
    status: Status
    scores: tuple[Scores, ...]
    seconds: float
    message: str = ""

    @classmethod
    def of(cls, task: Task, replicate: int, found: Trajectory) -> Cell:
        """Rounded to what is written, so that it makes no difference which were read back."""
        scores = tuple(
            tuple(None if v is None else float(f"{v:.6g}") for v in row) for row in found.scores
        )
        seconds = round(found.seconds, 4)
        return cls(task.key, replicate, found.status, scores, seconds, found.message)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Json]:
        line = {"key": self.key, "replicate": self.replicate, "status": self.status.value}
        line |= {"scores": self.scores, "seconds": self.seconds}
        return line | ({"message": self.message} if self.message else {})

    @classmethod
    def from_json(cls, line: Mapping[str, Json]) -> Cell:
        scores = tuple(tuple(row) for row in line["scores"])
        return cls(
            line["key"],
            line["replicate"],
            Status(line["status"]),
            scores,
            line["seconds"],
            line.get("message", ""),
        )


class Recording:
    """The folder of a recording, opened to be read or continued.

    Raises: UserError when the folder holds something else.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / CONFIG).is_file():
            raise UserError(f"{self.folder} holds no recording ({CONFIG} is missing)")
        path = self.folder / CONFIG
        self.config = recorded_config(path, str(path))
        # With the keys that they were recorded under: those of a few functions that cancel to
        # rounding noise are others on another processor (docs/decisions/0002-canonical-key.md).
        self.functions = [
            replace(resolve(line["function"]), key=line["key"])
            for line in read_lines(self.folder / FUNCTIONS, ("function", "key"))
        ]
        self.cells: dict[tuple[str, int], Cell] = {}
        for shard in self.shards():
            for line in read_lines(shard, CELL):
                cell = Cell.from_json(line)
                self.cells[cell.key, cell.replicate] = cell

    @classmethod
    def start(
        cls, folder: str | Path, config: Config, functions: Iterable[Function] | None = None
    ) -> Recording:
        """A new recording, or the one that is there with what it lacks of functions; default all of
        the config's space. The baselines are in every one.

        Raises: UserError when the folder holds one of another config, or of other data or another
        network under the same names, or when what the config asks of children is not what a table
        holds.
        """
        folder = Path(folder)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        origin = _origin(config)
        if (folder / CONFIG).exists():
            found = cls(folder)
            if _same(found.config, config):
                found._expect_origin(origin)
                found._add(functions or ())
                return found
            if found.cells:
                raise UserError(
                    f"{folder} holds a recording with other settings; continue it with those that "
                    "it was started with, or choose another folder"
                )
        goal = make_objective(config, load_search_data(config.data))
        if not goal.plain:
            raise UserError(
                "a table holds cross-entropy and accuracy of classes, but this config has the loss "
                f"{goal.loss_name} and the metric {goal.metric_name}"
            )
        make_folder(folder)
        chosen = space_functions(config) if functions is None else list(functions)
        every = {f.key: f for f in [*chosen, *baselines()]}
        write_text(folder / FUNCTIONS, "".join(map(_line, every.values())))
        if origin:
            write_text(folder / ORIGIN, origin + "\n")
        write_text(folder / CONFIG, text)
        return cls(folder)

    def _expect_origin(self, origin: str) -> None:
        """Raises: UserError when the cells are of other data or code than there are now."""
        path = self.folder / ORIGIN
        before = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        if before == origin:
            return
        if before and self.cells:
            names = dict.fromkeys((self.config.data.name, self.config.network.name))
            own = " or ".join(name for name in names if ":" in name)
            raise UserError(
                f"{self.folder} was recorded before {own} was changed; undo that to go on with it, "
                "or choose another folder"
            )
        write_text(path, origin + "\n")

    def _add(self, functions: Iterable[Function]) -> None:
        """List functions that it does not have yet. Raises: UserError when the disk is full."""
        known = {f.key for f in self.functions}
        new = list({f.key: f for f in functions if f.key not in known}.values())
        if new:
            with closing(Appender(self.folder / FUNCTIONS)) as file:
                file.add("".join(map(_line, new)))
            self.functions += new

    def shards(self) -> list[Path]:
        return sorted(self.folder.glob("cells-*.jsonl"))

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which children are scored, rising; the last are all."""
        return rung_steps(self.config.record, self.config.training.steps)

    @property
    def replicates(self) -> int:
        """The most replicates that a function has."""
        record = self.config.record
        return max(record.replicates, record.half, record.best)

    def seed(self, replicate: int) -> int:
        """The training seed of a replicate."""
        return number_for(self.config.seed, "record", replicate)

    def score(self, cell: Cell) -> float:
        """What a cell is ranked by: its validation score at the top."""
        scale = self.scale
        if cell.status is not Status.OK:
            return scale.chance
        loss, accuracy, _, _ = cell.scores[-1]
        return max(scale.chance, accuracy if scale.fitness == "accuracy" else -loss)

    @cached_property
    def scale(self) -> Scale:
        return Scale.of_classes(self.config.fitness, self._classes)

    @property
    def guess(self) -> float:
        """The accuracy of a child that has learned nothing, whatever the fitness is."""
        return accuracy_of(self._classes).chance

    @cached_property
    def _classes(self) -> int:
        return load_search_data(self.config.data).classes

    # Stages ----------------------------------------------------------------------------------

    def stages(self) -> Iterator[tuple[str, list[tuple[Function, range]]]]:
        """What is to be trained, stage by stage: a name, and (function, its replicates).

        All functions first; then the better half and the best few, ranked by the validation score
        of the replicates that all have. A stage is planned when the one before it is done.
        """
        record = self.config.record
        first = range(record.replicates)
        yield "all functions", [(f, first) for f in self.functions]
        if record.half > record.replicates:
            better = self.ranked()[: (len(self.functions) + 1) // 2]
            yield "the better half", [(f, range(record.replicates, record.half)) for f in better]
        done = max(record.replicates, record.half)
        if record.best > done:
            best = self.ranked()[: record.top]
            yield f"the best {len(best)}", [(f, range(done, record.best)) for f in best]

    def ranked(self) -> list[Function]:
        """The functions, best first, by the replicates that all have."""
        first = range(self.config.record.replicates)

        def mean(function: Function) -> float:
            return float(np.mean([self.score(self.cells[function.key, k]) for k in first]))

        return sorted(self.functions, key=mean, reverse=True)

    # Training --------------------------------------------------------------------------------

    def record(self, observer: Observer) -> None:
        """Train whatever is missing. What is stopped goes on from here another time.

        Raises: UserError when the machine fails a training twice.
        """
        self.train(self.stages(), observer)

    def train(
        self, stages: Iterable[tuple[str, list[tuple[Function, range]]]], observer: Observer
    ) -> None:
        """Train what is missing of stages: a name each, and (function, its replicates).

        Raises: UserError when the machine fails a training twice, or the disk is full.
        """
        for shard in self.shards():  # here, and not in a reader beside a recording that goes on
            cut_torn_tail(shard)
        with ExitStack() as stack:
            evaluator = TrainingEvaluator(self.config, self.folder / "children")
            stack.callback(evaluator.close)  # whatever the disk does: workers would train on
            writer = _Writer(self.folder, len(self.cells))
            stack.callback(writer.close)
            observer.note(evaluator.note())
            evaluator.open_test()
            limit = evaluator.calibrate()
            for name, work in stages:
                total = sum(len(replicates) for _, replicates in work)
                observer.stage(name, total)
                missing = [(f, ks) for f, ks in work if not self._has(f, ks)]
                done = total - sum(not self._has(f, [k]) for f, ks in work for k in ks)
                observer.advance(done)
                for start in range(0, len(missing), BLOCK):
                    for cell in self._block(evaluator, limit, missing[start : start + BLOCK]):
                        writer.write(cell)
                        self.cells[cell.key, cell.replicate] = cell
                        done += 1
                        observer.advance(done)

    def _has(self, function: Function, replicates: Iterable[int]) -> bool:
        return all((function.key, k) in self.cells for k in replicates)

    def _block(
        self,
        evaluator: TrainingEvaluator,
        limit: float,
        work: Sequence[tuple[Function, Sequence[int]]],
    ) -> Iterator[Cell]:
        top = self.rungs[-1]
        seeds = {k: self.seed(k) for k in {k for _, ks in work for k in ks}}
        place = {seed: k for k, seed in seeds.items()}
        tasks: list[Task] = []
        for function, ks in work:
            # All of the stage, so that stacks are the same after a stop; then what is missing.
            of_stage = [seeds[k] for k in ks]
            rows = evaluator.replicates(function.spec, function.key, top, of_stage)
            tasks += [t for t, k in zip(rows, ks, strict=True) if (t.key, k) not in self.cells]
        again: list[Task] = []
        for attempt in (tasks, again):
            for task, result in self._run(evaluator, limit, attempt):
                able = result.status in (Status.OK, Status.DIVERGED)
                if able:
                    yield Cell.of(task, place[task.seed], result)
                elif attempt is tasks:
                    again.append(task)
                else:
                    raise UserError(
                        f"training {task.function!r} failed twice by the machine's fault: "
                        f"{result.message}"
                    )

    def _run(
        self, evaluator: TrainingEvaluator, limit: float, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Trajectory]]:
        if not tasks:
            return
        jobs = {
            name: FollowJob(
                evaluator.config,
                group,
                self.rungs,
                self.config.record.test == "every",
                evaluator.device,
                limit * max(1, len(group[0].stack)),
                evaluator.data_digest,
                evaluator.code_digest,
            )
            for name, group in jobs_of(tasks).items()
        }
        longest = max(job.limit for job in jobs.values())
        for name, found in evaluator.pool.run(follow, jobs, longest):
            for number, task in enumerate(jobs[name].tasks):
                if isinstance(found, Failure):
                    yield task, Trajectory(Status.ERROR, message=found.message)
                else:
                    yield task, found[number]


class _Writer:
    """Appends cells to the last shard, a new one every PER_SHARD lines."""

    def __init__(self, folder: Path, written: int) -> None:
        self.folder, self.written = folder, written
        self._file = self._open()

    def _open(self) -> Appender:
        return Appender(self.folder / SHARDS.format(self.written // PER_SHARD))

    def write(self, cell: Cell) -> None:
        """Raises: UserError when the disk does not take it."""
        self._file.add(dump(cell.to_json()) + "\n")
        self.written += 1
        if self.written % PER_SHARD == 0:
            self._file.close()
            self._file = self._open()

    def close(self) -> None:
        """Raises: UserError when what was written may not survive a power loss."""
        self._file.close()


def _origin(config: Config) -> str:
    """What stands for the data and the network where one of them is the user's, else ""."""
    if not any(":" in name for name in (config.data.name, config.network.name)):
        return ""
    return unmanned(config).origin


def space_functions(config: Config) -> list[Function]:
    """The distinct functions of a space that pass preflight, in the space's order.

    Raises: UserError as the strategy `exhaustive` does, when the space is too large.
    """
    proposer = ExhaustiveProposer(config.space.space())
    found: dict[str, Function] = {}
    while proposals := proposer.ask(INSPECTED_AT_ONCE):
        for one in inspect([p.genome.tokens for p in proposals]):
            if one.rejected is None and one.key not in found:
                found[one.key] = resolve(Genome(representative(one.form, one.key)))
    return list(found.values())


def _line(function: Function) -> str:
    return dump({"function": function.spec, "key": function.key}) + "\n"


def _same(a: Config, b: Config) -> bool:
    """Whether two configs record the same."""
    names = ("seed", "fitness", "space", "data", "network", "training", "record")
    return all(getattr(a, name) == getattr(b, name) for name in names)
