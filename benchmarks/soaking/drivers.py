"""Drivers of small runs in processes of their own, forked from one that has torch loaded, so that a
thousand of them take minutes.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridsearch import engine, session
from hybridsearch.analysis.runs import CONFIG, LOG, SUMMARY
from hybridsearch.comparison import run as comparing
from hybridsearch.config import Config, make_config
from hybridsearch.digests import checksum_of_arrays, dump
from hybridsearch.errors import UserError
from hybridsearch.evaluate import training
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.session import CHECKPOINT
from hybridsearch.store import disk
from hybridsearch.store.checkpoint import load_checkpoint
from hybridsearch.store.log import read_log
from hybridsearch.types import Evaluation, Task

TINY: dict[str, Any] = {
    "budget": 16,
    "batch": 4,
    "pool": "inline",
    "data": {"train": 200, "validation": 100},
    "network": {"name": "digits_mlp", "width": 4},
    "training": {"steps": 20, "batch_size": 32, "warmup": 3},
    "fidelity": {"rungs": [0.2, 0.5, 1.0], "keep": 0.5, "first": 3},
    "screen": {"experience": "none"},
    "controller": {"hidden": 8, "embedding": 4},
    "race": {"candidates": 4},
    "retest": {"seeds": 2, "finalists": 2, "resamples": 100},
}
SMALL_SPACE = {"unary": ["id", "tanh", "sigmoid"], "binary": ["gate", "mul"]}
# Strategy -> what its campaign sets beside TINY.
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "rl": {"strategy": "rl"},
    "evolution": {"strategy": "evolution", "evolution": {"population": 6}},
    "hybrid": {"strategy": "hybrid", "evolution": {"population": 6}},
    "exhaustive": {"strategy": "exhaustive", "space": SMALL_SPACE},
    "compare": {"budget": 6, "retest": {"seeds": 2, "finalists": 1, "resamples": 100}},
}
COMPARED = ("random", "evolution")
ERROR = "error.txt"
WRITE = "write"  # the touch of the disk that can be half done
# What a summary says of time and of the cache, which a stop may change.
VOLATILE = ("seconds", "retest_seconds", "trained", "cache_hits")


@dataclass(frozen=True)
class Scene:
    """A campaign in a folder of its own, with a cache of its own.

    checkpoints: seconds between them.
    """

    campaign: str
    folder: Path
    checkpoints: float = 0.0
    seed: int = 0
    cache: Path | None = None

    @property
    def config(self) -> Config:
        settings = {**TINY, **CAMPAIGNS[self.campaign], "seed": self.seed}
        settings["cache"] = str(self.cache or self.folder / "cache.sqlite")
        return make_config(settings)

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def trained(self) -> Path:
        """Where the hashes of all trainings that were finished are noted, by every driver."""
        return self.folder / "trained.txt"

    @property
    def claims(self) -> Path:
        """Where every driver notes how many claims of others it has taken over."""
        return self.folder / "claims.txt"

    @property
    def touches(self) -> Path:
        """Where a driver that is left alone notes how it touches the disk, a line each time."""
        return self.folder / "touches.txt"

    @property
    def error(self) -> str:
        """What a driver that ended badly has said; "" where it has not."""
        path = self.folder / ERROR
        return path.read_text() if path.exists() else ""

    def logs(self) -> list[Path]:
        return sorted(self.run.rglob(LOG))


@dataclass(frozen=True)
class Killer:
    """The end of a driver at the number-th time that it touches the disk: before, after, or, where
    it writes, in the midst of it.
    """

    number: int
    moment: str  # "before", "half", "after"


def warm(folder: Path) -> None:
    """Make two runs here: what every driver would have to load and compute, its forks then have."""
    for campaign in ("rl", "exhaustive"):
        scene = Scene(campaign, folder / campaign)
        session.search(scene.config, scene.run)


def start(scene: Scene, killer: Killer | None = None) -> int:
    """Fork a driver that begins or resumes a scene; returns its process."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        _watch(scene, killer)
        _drive(scene)
        status = 0
    except UserError as error:
        status = 2
        (scene.folder / ERROR).write_text(str(error))
    except BaseException:
        (scene.folder / ERROR).write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _drive(scene: Scene) -> None:
    """What the command line does, without pictures."""
    session.draw_run = lambda folder: []
    engine.CHECKPOINT_EVERY = scene.checkpoints
    if scene.campaign == "compare":
        comparing.compare(scene.config, COMPARED, 1, scene.run)
    elif (scene.run / CONFIG).exists():
        session.resume(scene.run)
    else:
        session.search(scene.config, scene.run)


def _watch(scene: Scene, killer: Killer | None) -> None:
    """In a driver: note finished trainings and claims, and count what touches the disk."""
    plain, close = TrainingEvaluator.evaluate, session.Cache.close

    def evaluate(
        self: TrainingEvaluator, tasks: Sequence[Task], keep_below: int = 0
    ) -> Iterator[Evaluation]:
        for result in plain(self, tasks, keep_below):
            with scene.trained.open("a", encoding="ascii") as file:
                file.write(result.task + "\n")
            yield result

    def closing(self: session.Cache) -> None:
        with scene.claims.open("a", encoding="ascii") as file:
            file.write(f"{self.claims.expired}\n")
        close(self)

    TrainingEvaluator.evaluate = evaluate  # type: ignore[method-assign]
    session.Cache.close = closing  # type: ignore[method-assign]
    count = [0]
    for name in (WRITE, "sync", "replace", "commit"):
        setattr(disk, name, _counted(getattr(disk, name), scene, killer, count, name))
    saved = _counted(training.write_checkpoint, scene, killer, count, "checkpoint")
    training.write_checkpoint = saved


def _counted(
    do: Callable[..., None], scene: Scene, killer: Killer | None, count: list[int], what: str
) -> Callable[..., None]:
    """`do`, which dies where the killer wants it to; without one it notes what it is."""

    def counted(*args: Any) -> None:
        count[0] += 1
        here = killer is not None and killer.number == count[0]
        if here and killer.moment == "before":  # type: ignore[union-attr]
            os.kill(os.getpid(), signal.SIGKILL)
        if here and what == WRITE and killer.moment == "half":  # type: ignore[union-attr]
            do(args[0], args[1][: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        do(*args)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        if killer is None:
            with scene.touches.open("a", encoding="ascii") as file:
                file.write(f"{what}\n")

    return counted


def end(process: int) -> int:
    """Wait for a driver; its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_after(process: int, seconds: float) -> int:
    """Kill a driver after so long, unless it ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
    os.kill(process, signal.SIGKILL)
    return end(process)


def logged(scene: Scene) -> dict[str, list[str]]:
    """The payloads of all whole records so far, in order, by log."""
    return {
        str(path.relative_to(scene.run)): [dump(payload) for payload, _ in read_log(path)]
        for path in scene.logs()
    }


def trained(scene: Scene) -> list[str]:
    """The hashes of all finished trainings so far."""
    return scene.trained.read_text().split() if scene.trained.exists() else []


def fingerprint(scene: Scene) -> dict[str, Any]:
    """All of a finished run that must not depend on how often it was stopped."""
    found: dict[str, Any] = {"records": logged(scene)}
    for path in sorted(scene.run.rglob(CHECKPOINT)):
        loaded = load_checkpoint(path)
        assert loaded is not None and not isinstance(loaded, str), loaded
        values, state = loaded
        name = str(path.relative_to(scene.run))
        found[name] = {k: v for k, v in values.items() if k != "spent"}
        found[name + " proposer"] = checksum_of_arrays(state.arrays, dump(state.values))
    for path in [*sorted(scene.run.rglob(SUMMARY)), *sorted(scene.run.glob("comparison.json"))]:
        summary = json.loads(path.read_text())
        found[str(path.relative_to(scene.run))] = _steady(summary)
    return found


def _steady(value: Any) -> Any:
    """JSON values without what a stop may change."""
    if isinstance(value, dict):
        return {k: _steady(v) for k, v in value.items() if k not in VOLATILE}
    return [_steady(v) for v in value] if isinstance(value, list) else value
