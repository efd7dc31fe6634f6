"""A run's folder, read back: what a notebook, a report or a plot starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hybridsearch.config import Config, saved_config
from hybridsearch.digests import dump
from hybridsearch.errors import UserError
from hybridsearch.fidelity import rung_steps
from hybridsearch.genome.function import Function, resolve
from hybridsearch.store.disk import read_json
from hybridsearch.store.log import Record, read_log
from hybridsearch.types import Json, Measure, accuracy_of

# The files of a run's folder (runs/README.md) that are read by others than its driver.
CONFIG, ENVIRONMENT = "config.yaml", "environment.json"
LOG, SUMMARY, RATES = "trials.jsonl", "summary.json", "rates.json"
# The settings that say what a search was asked; strategy and seed say who was asked.
QUESTION = (
    *("data", "network", "training", "metric", "fitness", "fidelity", "space", "table", "race"),
    *("retest", "budget", "seconds"),
)
# As `evaluate.losses` has it, which brings torch: the metric that `auto` means beside a loss (else
# it is the loss itself), and the metrics of which less is better.
USUAL = {"cross_entropy": "accuracy", "bce": "accuracy", "mse": "r2", "l1": "r2", "huber": "r2"}
LOWER = ("mse", "mae", "loss")


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
        finished = (self.folder / SUMMARY).is_file()
        return read_summary(self.folder, self.config) if finished else None

    @property
    def measure(self) -> Measure:
        """What the run measures on test data; while it is not finished what the config says of
        it, which is a metric without a name where only data or code of the user's know.

        Raises: UserError when the summary does not say so.
        """
        if not self.summary:
            return planned(self.config)
        try:
            return Measure(**self.summary["metric"])
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.folder / SUMMARY} is damaged: it has no metric") from error

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
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.summary is not None

    def tested(self, record: dict[str, Json]) -> Function:
        """The function of a record of the summary, such as its winner: as the log has it, where it
        was named there, else read from the formula.

        Raises: UserError when the text is no function; ValueError when it is another one than the
        record's key says; KeyError, TypeError for what is no such record.
        """
        key = record["key"]
        specs = [str(p["function"]) for p in self.payloads("winner") if p.get("winner") == key]
        function = resolve(specs[-1] if specs else str(record["expression"]))
        if function.key != key:
            raise ValueError(function.key)
        return function

    @property
    def top(self) -> int:
        """The number of the top rung."""
        return len(rung_steps(self.config.fidelity, self.config.training.steps)) - 1

    @property
    def fully_trained(self) -> list[dict[str, Json]]:
        """Outcomes of the functions that were trained to the end, in the order of evaluation."""
        return [o for o in self.distinct if o["rung"] == self.top and o["status"] == "ok"]


def planned(config: Config) -> Measure:
    """What a config is going to measure; neither data nor code of the user's are opened for it.

    Chance is told of accuracy alone, and then that of two classes.
    """
    name, loss = config.metric.name, config.training.loss
    if ":" in name:
        short = name.partition(":")[2].rpartition(".")[2]
        return Measure(short, config.metric.goal == "max", -math.inf, math.inf)
    if name == "auto":
        known = ":" not in config.data.name  # those that ship have classes
        name = {"auto": "accuracy" if known else "metric", **USUAL}.get(loss, "loss")
    if name == "accuracy":
        return accuracy_of(2)
    return Measure(name, name not in LOWER, -math.inf, math.inf)


def run_config(folder: Path) -> Config:
    """The config of a run's folder. Raises: UserError when it holds no run."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} holds no run ({CONFIG} is missing)")
    return saved_config(folder / CONFIG)


def read_summary(folder: Path, config: Config) -> dict[str, Json]:
    """The summary of a finished run; where another version has not written the level of its
    intervals, it is that of the config. Raises: UserError when it is damaged.
    """
    return {"confidence": config.retest.confidence, **read_json(folder / SUMMARY)}


def on_fresh_seeds(summary: dict[str, Json]) -> dict[str, Json]:
    """Where a finished run has what its winner scores on test data from seeds that did not name it;
    the summary itself where there are none such.
    """
    found: dict[str, Json] = summary.get("duel") or summary
    return found


def load_run(folder: str | Path) -> Run:
    """Read a run's folder, finished or not.

    Raises: UserError when it holds no run or a record of its log is damaged.
    """
    folder = Path(folder)
    config, log = run_config(folder), folder / LOG
    return Run(
        folder,
        config,
        read_json(folder / ENVIRONMENT),
        list(read_log(log)) if log.exists() else [],
    )


def load_runs(where: str | Path | Iterable[str | Path]) -> list[Run]:
    """Read several runs, finished or not; each once, in the order of their folders' names.

    where: the folder of a run, a folder that holds runs, a pattern such as "runs/rl-*", or several
    of these. What a pattern or a folder holds beside runs is passed over.
    Raises: UserError when one of them leads to no run, or a run is damaged.
    """
    places = [where] if isinstance(where, str | Path) else list(where)
    folders = dict.fromkeys(folder.resolve() for place in places for folder in _found(Path(place)))
    return [load_run(_shown(folder)) for folder in sorted(folders)]


def _found(place: Path) -> list[Path]:
    """The runs' folders that a folder or a pattern leads to. Raises: UserError when none."""
    root = Path(place.anchor)
    looked = [place] if place.is_dir() else root.glob(str(place.relative_to(root)))
    held = [one for folder in looked for one in (folder, *_inside(folder)) if _is_run(one)]
    if not held:
        raise UserError(
            f"no run in {str(place)!r}: expected the folder of a run, a folder of runs, or a "
            "pattern such as runs/rl-*"
        )
    return held


def _inside(folder: Path) -> list[Path]:
    """What is in a folder that is no run itself."""
    return [] if _is_run(folder) or not folder.is_dir() else list(folder.iterdir())


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / LOG).is_file()


def _shown(folder: Path) -> Path:
    """A path as a user would write it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def alike(runs: Sequence[Run]) -> list[Run]:
    """Those that may be compared: the most numerous finished ones that were asked the same (data,
    network, training, space, budget and retest), whatever their strategy and seed; the first such
    group among equals.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.finished:
            asked = run.config.model_dump(mode="json", include=set(QUESTION))
            groups.setdefault(dump(asked), []).append(run)
    return max(groups.values(), key=len, default=[])
