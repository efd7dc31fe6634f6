"""What a comparison keeps of a run, one line of JSONL each, and which runs are there already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from hybridsearch.config import Config
from hybridsearch.digests import dump
from hybridsearch.store.disk import Appender, read_lines
from hybridsearch.types import Json

VERSION = 1  # raised by every change after which the same run gives another trace
FIELDS = ("run", "strategy", "seed", "functions", "fitness", "rungs", "ended")
# The sections that only these strategies read; a strategy not named here is thought to read all.
OWN: dict[str, tuple[str, ...]] = {
    "rl": ("controller",),
    "random": (),
    "evolution": ("evolution",),
    "regularized": ("regularized",),
    "local": ("local",),
    "exhaustive": (),
    "hybrid": ("hybrid", "controller", "evolution"),
}
# What changes no number of a search.
IDLE = ("workers", "pool", "cluster", "pack", "cache", "time_limit", "table", "record")


@dataclass(frozen=True)
class Trace:
    """A run, function by function in the order of evaluation; D of them.

    run: digest of all that it depends on. functions: [D] rows of the table, or keys where children
    were trained. fitness: [D] as the search saw it. rungs: [D] the last rung reached, -1 none.
    ended: why, in a few words. retested: key -> mean validation score on fresh seeds. specs: key ->
    genome, where functions are keys.
    """

    run: str
    strategy: str
    seed: int
    functions: tuple[int | str, ...]
    fitness: tuple[float, ...]
    rungs: tuple[int, ...]
    ended: str
    retested: Mapping[str, float] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return {**vars(self), "retested": dict(self.retested), "specs": dict(self.specs)}

    @classmethod
    def from_json(cls, line: Mapping[str, Json]) -> Trace:
        lists = {name: tuple(line[name]) for name in ("functions", "fitness", "rungs")}
        return cls(
            run=line["run"],
            strategy=line["strategy"],
            seed=line["seed"],
            ended=line["ended"],
            retested=line.get("retested", {}),
            specs=line.get("specs", {}),
            **lists,
        )


def run_digest(config: Config, judge: str, context: str = "") -> str:
    """Identifies a run, 32 hex digits: strategy, seed, and the settings that can change it.

    judge: what evaluates, a table's digest or "" for training. context: of training what the
    settings do not say (`TrainingEvaluator.context`): data, code of the user's, device. Sections
    that only other strategies read are left out, so that tuning one of them does not run all again.
    """
    unread: set[str] = set()
    if config.strategy in OWN:
        unread = {name for names in OWN.values() for name in names} - {*OWN[config.strategy]}
    if not config.screened:
        unread.add("screen")
    on_table = {"race", "retest", "device"} if judge else set()
    settings = config.model_dump(mode="json", exclude={*IDLE, *unread, *on_table})
    parts = {"version": VERSION, "judge": judge, "config": settings}
    parts |= {"context": context} if context else {}
    parts |= {"torch": torch.__version__, "numpy": np.__version__}
    return hashlib.blake2b(dump(parts).encode(), digest_size=16).hexdigest()


class Ledger:
    """The file of a comparison's traces: append-only, a line when a run ends.

    Lines of other settings may stand in it; they are kept and not mixed in.
    Raises: UserError naming the first line that is damaged, or when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        lines = read_lines(path, FIELDS) if path.exists() else iter(())
        self._traces = {line["run"]: Trace.from_json(line) for line in lines}
        self._file = Appender(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, run: str) -> bool:
        return run in self._traces

    def __getitem__(self, run: str) -> Trace:
        return self._traces[run]

    def __iter__(self) -> Iterator[str]:
        return iter(self._traces)

    def add(self, trace: Trace) -> None:
        """Keep a trace; it survives a power loss when this returns.

        Raises: UserError when the disk does not take it.
        """
        self._file.add(dump(trace.to_json()) + "\n")
        self._file.sync()
        self._traces[trace.run] = trace
