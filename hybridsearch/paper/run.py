"""`benchmark`: from what is asked for to tables in a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import Config
from hybridsearch.environment import environment
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.data import VALIDATION
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.networks import check_network
from hybridsearch.genome.function import Function, resolve
from hybridsearch.observe import Observer, Silent
from hybridsearch.paper.cost import Cost, cost
from hybridsearch.paper.grid import Column, Result, columns, missing, train
from hybridsearch.paper.layout import PaperTable, markdown, table_of, tidy, to_json
from hybridsearch.paper.published import (
    FULL_WIDTH,
    NETWORKS,
    NUMBERS,
    SCALES,
    SETS,
    Scale,
    config_of,
    expect_published,
    settings,
)
from hybridsearch.paths import is_folder
from hybridsearch.store.disk import hold, make_folder, write_json, write_text
from hybridsearch.store.folders import expect_nothing_lost, expect_own
from hybridsearch.types import Json

RESULT, TEXT, CELLS, ENVIRONMENT = "benchmark.json", "README.md", "cells.csv", "environment.json"
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Asked:
    """What a benchmark is asked for. functions: beside the baselines, names, formulas, sets or
    folders of runs; only: these instead. rates: learning rates tried for every function; empty: the
    published one. networks, seeds, steps, width: instead of the scale's where given.
    """

    data: tuple[str, ...] = ("cifar10",)
    scale: str = "full"
    networks: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seeds: int | None = None
    steps: int | None = None
    width: int | None = None
    rates: tuple[float, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """What a column still takes. trainings, steps: each. hours: of all on `workers` of the device,
    if nothing else runs there.
    """

    column: Column
    cost: Cost
    trainings: int
    steps: int
    workers: int

    @property
    def hours(self) -> float:
        data = self.column.config.data
        images = TEST_IMAGES + (data.validation or VALIDATION[data.name])
        rounds = math.ceil(self.trainings / self.workers)
        return rounds * self.cost.training(self.steps, images) / 3600


def functions_of(texts: Sequence[str]) -> list[Function]:
    """Functions by name, formula or genome, sets of them, and the finalists of runs; each once.

    Raises: UserError in one line for what is none of them.
    """
    found: list[Function] = []
    for text in texts:
        if text in SETS:
            found += map(resolve, SETS[text])
        elif is_folder(text):  # False, too, for what is too long to be a name
            finalists = (load_run(text).summary or {}).get("finalists")
            if not finalists:
                raise UserError(f"{text}: the run has no finalists, it may not be finished")
            found += [resolve(row["expression"]) for row in finalists]
        else:
            found.append(resolve(text))
    first: dict[str, Function] = {}
    for function in found:
        first.setdefault(function.key, function)
    return list(first.values())


def plan(asked: Asked, base: Config, folder: Path) -> tuple[list[Column], list[Function], Scale]:
    """The columns, the functions and the scale, checked before anything is trained.

    Raises: UserError for what cannot be done.
    """
    expect_own(folder, "benchmark")
    expect_nothing_lost(folder, "benchmark")
    if asked.scale not in SCALES:
        raise UserError(f"--scale: unknown scale {asked.scale!r}{nearest(asked.scale, SCALES)}")
    for data in asked.data:
        if data not in NUMBERS:
            raise UserError(f"--table: unknown table {data!r}{nearest(data, NUMBERS)}")
    if not all(0 < rate < math.inf for rate in asked.rates):
        raise UserError(f"--lr-grid: expected finite rates above 0, got {list(asked.rates)}")
    for name in ("seeds", "steps", "width"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: expected 1 or more, got {value}")
    scale = _scaled(asked)
    chosen = functions_of(asked.only or ("baselines", *asked.functions))
    for network in scale.networks:
        check_network(base.network.model_copy(update={"name": network}))
    configs = [(d, n, config_of(base, d, n, scale)) for d in asked.data for n in scale.networks]
    expect_published(base, [(network, config) for _, network, config in configs])
    return list(columns(configs, asked.rates, folder)), chosen, scale


def _scaled(asked: Asked) -> Scale:
    """The scale with what was asked to be different."""
    scale = SCALES[asked.scale]
    changed: dict[str, Json] = {}
    if asked.networks:
        changed["networks"] = asked.networks
    if asked.width is not None:
        changed["width"] = asked.width
    if asked.seeds is not None:
        changed["seeds"] = asked.seeds
    if asked.steps is not None:
        changed["training"] = {**scale.training, "steps": asked.steps, "warmup": asked.steps // 20}
    return replace(scale, **changed)


def smaller(columns_: Sequence[Column]) -> str:
    """In words what is not as in the paper; "" where all is."""
    found = []
    for column in columns_:
        width, steps = column.config.network.width, column.config.training.steps
        known = settings(column.network)
        what = [] if width == FULL_WIDTH else [f"width {width}"]
        what += [] if known and steps == known.steps else [f"{steps:,} steps"]
        if what or column.network not in NETWORKS:
            found.append(" ".join([column.network, *([f"({', '.join(what)})"] if what else [])]))
    return "; ".join(dict.fromkeys(found))


def estimate(asked: Asked, base: Config, folder: Path, whole: bool = False) -> list[Estimate]:
    """What is still to be trained and what that takes, from a short measurement on this device.

    whole: measure a whole step of every network, however long it takes.
    """
    columns_, functions, scale = plan(asked, base, folder)
    found = []
    for column in columns_:
        trainings = missing(column, functions, scale.seeds)
        if not trainings and not whole:
            continue
        evaluator = TrainingEvaluator(column.at(column.rates[0]), folder / "children")
        try:
            config, device, workers = evaluator.config, evaluator.devices[0], evaluator.workers
        finally:
            evaluator.close()
        measured = cost(config, device, whole)
        steps = column.config.training.steps
        found.append(Estimate(column, measured, trainings, steps, workers))
    return found


def benchmark(
    asked: Asked, base: Config, folder: Path, observer: Observer | None = None
) -> list[PaperTable]:
    """Train what is missing, and write tables, cells and environment into the folder.

    The same again goes on where it stopped, and adds what is new. Raises: UserError with one line
    for anything the user can mend.
    """
    observer = observer or Silent()
    columns_, functions, scale = plan(asked, base, folder)
    make_folder(folder)
    with hold(folder):
        write_json(folder / ENVIRONMENT, environment())
        results: dict[str, dict[str, list[Result]]] = {}
        for column in columns_:
            results.setdefault(column.data, {})[column.network] = train(
                column, functions, scale.seeds, observer
            )
        tables = [
            table_of(data, by_network, scale.seeds, smaller(columns_), base.seed)
            for data, by_network in results.items()
        ]
        write_text(folder / CELLS, tidy(tables))
        text = [_how(columns_), *map(markdown, tables)]
        write_text(folder / TEXT, "\n".join(text))
        write_json(folder / RESULT, {table.data: to_json(table) for table in tables})
    return tables


def _how(columns_: Sequence[Column]) -> str:
    """How the networks were trained, a line each."""
    lines = ["# Functions retrained on the paper's networks", ""]
    for column in columns_:
        t = column.config.training
        known = settings(column.network)
        drops = ", ".join(f"{at:g}" for at in t.drops)
        lines.append(
            f"- {column.network} (width {column.config.network.width}) on {column.data}: "
            f"{t.steps:,} steps of {t.batch_size} images, SGD with Nesterov momentum "
            f"{t.momentum:g}, learning rate {', '.join(f'{r:g}' for r in column.rates)}, times "
            f"{t.drop:g} at {drops or 'no'} of the steps, linear warm-up of {t.warmup} steps, "
            f"weight decay {t.weight_decay:g} (weights only)"
            + (f"; after {known.source}" if known else "")
        )
    return "\n".join([*lines, ""])
