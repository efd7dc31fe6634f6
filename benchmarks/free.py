"""A search whose evaluations cost nothing, and the same for Optuna: what is left is the engine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hybridsearch.config import make_config
from hybridsearch.engine import Search
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.observe import Silent, Snapshot
from hybridsearch.recorder import Recorder
from hybridsearch.session import make_proposer
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog
from hybridsearch.types import Evaluation, Status, Task


def value_of(key: str) -> float:
    """A made-up score in 0..1, read off the key."""
    return int(key[:8], 16) / 2**32


class FreeEvaluator:
    """An evaluator that returns at once."""

    classes, test_images = 10, 0

    def calibrate(self) -> float:
        return 1.0

    def task(self, function: str, key: str, steps: int, seed: int) -> Task:
        return Task(function, key, steps, seed, "free")

    def replicates(self, function: str, key: str, steps: int, seeds: Sequence[int]) -> list[Task]:
        return [self.task(function, key, steps, seed) for seed in seeds]

    def test_task(self, trained: Task) -> Task:
        raise NotImplementedError

    def time_task(self, function: str, key: str) -> Task:
        raise NotImplementedError

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        for task in tasks:
            value = value_of(task.key)
            yield Evaluation(task.hash, Status.OK, 2.3 * (1 - value), value, ((10, 1.0),))

    def forget(self, tasks: Iterable[Task] | None = None) -> None: ...

    def note(self) -> str:
        return "a free objective"

    def close(self) -> None: ...


class Clock(Silent):
    """Notes when every batch ended, in processor time, and how many functions there were."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def snapshot(self, now: Snapshot) -> None:
        self.marks.append((time.process_time(), now.distinct))


def search(strategy: str, budget: int, units: int = 1, seed: int = 0) -> tuple[Search, Clock]:
    """A search of `budget` functions with log, cache and checkpoints on disk, every function
    evaluated once.
    """
    config = make_config(
        {
            "strategy": strategy,
            "budget": budget,
            "seed": seed,
            "screen": {"use": "off"},
            "fidelity": {"rungs": [1]},
            "space": {"min_units": units, "max_units": units},
        }
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        log, cache = RunLog(Path(folder, "log")), Cache(Path(folder, "cache"))
        recorder = Recorder(log, cache, FreeEvaluator())
        run = Search(config, make_proposer(config), recorder, clock, Path(folder, "checkpoint"))
        run.run()
        log.close()
        cache.close()
    return run, clock


def own_rate(strategy: str, budget: int, seed: int) -> tuple[float, float]:
    """Distinct functions evaluated per second, and proposals answered per second."""
    begin = time.perf_counter()
    run, _ = search(strategy, budget, seed=seed)
    spent = time.perf_counter() - begin
    return run.distinct / spent, run.proposals / spent


def optuna_rate(trials: int, seed: int, synchronous: str | None) -> float:
    """Trials per second of Optuna's random sampler with its SQLite storage: one core unit as five
    categorical parameters. synchronous: SQLite's PRAGMA of that name; None leaves the default.
    """
    import optuna
    from sqlalchemy import event

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unary, binary = list(UNARY), list(BINARY)

    def objective(trial: optuna.Trial) -> float:
        b = trial.suggest_categorical("binary", binary)
        u1 = trial.suggest_categorical("unary 1", unary)
        trial.suggest_categorical("input 1", ["x"])
        u2 = trial.suggest_categorical("unary 2", unary)
        trial.suggest_categorical("input 2", ["x"])
        return float(len(b) + len(u1) - len(u2))

    with tempfile.TemporaryDirectory() as folder:
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db")
        if synchronous:

            @event.listens_for(storage.engine, "connect")
            def relax(connection, record) -> None:  # type: ignore[no-untyped-def]
                connection.execute(f"PRAGMA synchronous = {synchronous}")

            storage.engine.dispose()  # connections of before do not have it
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed))
        begin = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        spent = time.perf_counter() - begin
        storage.engine.dispose()
    return trials / spent
