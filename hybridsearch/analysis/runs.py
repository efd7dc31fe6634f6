"""A run's folder, read back: what a notebook, a report or a plot starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hybridsearch.config import Config, saved_config
from hybridsearch.errors import UserError
from hybridsearch.store.disk import read_json
from hybridsearch.store.log import Record, read_log
from hybridsearch.types import Json, Measure, accuracy_of


@dataclass(frozen=True)
class Run:
    """One run. `trials` are its log's records; `evaluations` and `outcomes` their payloads."""

    folder: Path
    config: Config
    environment: dict[str, Json]
    trials: list[Record]

    @cached_property
    def summary(self) -> dict[str, Json] | None:
        """The summary; None while the run is not finished. Raises: UserError when it is damaged."""
        path = self.folder / "summary.json"
        return read_json(path) if path.is_file() else None

    @property
    def measure(self) -> Measure:
        """What the run measures on test data; accuracy while it is not finished.

        Raises: UserError when the summary does not say so.
        """
        if not self.summary:
            return accuracy_of(2)
        try:
            return Measure(**self.summary["metric"])
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.folder}/summary.json is damaged: it has no metric") from error

    def payloads(self, kind: str) -> Iterator[dict[str, Json]]:
        """The payloads of one kind of record: "evaluation", "outcome" or "winner"."""
        return (payload for payload, _ in self.trials if payload["kind"] == kind)

    @property
    def evaluations(self) -> list[dict[str, Json]]:
        """Every training or cached result, in the order of the run."""
        return list(self.payloads("evaluation"))

    @property
    def outcomes(self) -> list[dict[str, Json]]:
        """Every proposal and what became of it, in the order of the run."""
        return list(self.payloads("outcome"))

    @property
    def distinct(self) -> list[dict[str, Json]]:
        """The outcomes of the functions evaluated, each once, in the order of evaluation."""
        return [o for o in self.outcomes if o["order"] > 0]

    @property
    def top(self) -> int:
        """The number of the top rung."""
        return len(self.config.fidelity.rungs) - 1

    @property
    def fully_trained(self) -> list[dict[str, Json]]:
        """Outcomes of the functions that were trained to the end, in the order of evaluation."""
        return [o for o in self.distinct if o["rung"] == self.top and o["status"] == "ok"]


def load_run(folder: str | Path) -> Run:
    """Read a run's folder, finished or not.

    Raises: UserError when it holds no run or a record of its log is damaged.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds no run (config.yaml is missing)")
    log = folder / "trials.jsonl"
    return Run(
        folder,
        saved_config(folder / "config.yaml"),
        read_json(folder / "environment.json"),
        list(read_log(log)) if log.exists() else [],
    )
