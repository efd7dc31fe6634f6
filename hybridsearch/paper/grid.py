"""The grid of trainings: functions times networks times seeds, each cell kept when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import Config, RecordConfig
from hybridsearch.genome.function import Function
from hybridsearch.observe import Observer
from hybridsearch.tables.recording import Cell, Recording
from hybridsearch.types import Status

# A cell is one training to the end with its scores on both splits, so a column is a recording.
RECORD = RecordConfig(rungs=(1.0,), test="top", replicates=1)
VALIDATION, TEST = 1, 3  # accuracies in a cell's row of scores


@dataclass(frozen=True)
class Column:
    """A network on a data set. config: how it is trained; rates: learning rates that are tried for
    every function, one of which validation data choose; classes: of the data.
    """

    data: str
    network: str
    config: Config
    rates: tuple[float, ...]
    folder: Path

    def at(self, rate: float) -> Config:
        training = self.config.training.model_copy(update={"lr": rate})
        return self.config.model_copy(update={"training": training, "record": RECORD})

    def recording(self, rate: float, functions: Sequence[Function] = ()) -> Recording:
        """What is trained at one learning rate, functions among it."""
        t = self.config.training
        width = self.config.network.width
        name = f"{self.data}-{self.network}-width{width}-{t.steps}steps-lr{rate:g}"
        return Recording.start(self.folder / name, self.at(rate), functions)


@dataclass(frozen=True)
class Result:
    """A function in a column. rate: the learning rate. test, validation: [seeds], accuracy in 0..1;
    a diverged training guesses. seconds: [seeds], of training.
    """

    function: Function
    rate: float
    test: NDArray[np.float64]
    validation: NDArray[np.float64]
    seconds: NDArray[np.float64]


def missing(column: Column, functions: Sequence[Function], seeds: int) -> int:
    """How many trainings of a column are still to be made. With several learning rates some of
    those that remain depend on which are chosen, not their number.
    """
    first = 1 if len(column.rates) > 1 else seeds
    done = 0
    for rate in column.rates:
        cells = column.recording(rate).cells
        done += sum((f.key, k) in cells for f in functions for k in range(first))
    total = len(functions) * len(column.rates) * first
    if len(column.rates) > 1:
        total += len(functions) * (seeds - 1)
        chosen = _chosen(column, functions) if done == total - len(functions) * (seeds - 1) else {}
        for rate, some in chosen.items():
            cells = column.recording(rate).cells
            done += sum((f.key, k) in cells for f in some for k in range(1, seeds))
    return total - done


def train(
    column: Column, functions: Sequence[Function], seeds: int, observer: Observer
) -> list[Result]:
    """Train what is missing of a column, and return its results in the order of functions.

    With several learning rates every function is trained once at each; the one with the best
    validation accuracy is trained from the other seeds too. The test images take no part in that.
    Raises: UserError when the machine fails a training twice.
    """
    if len(column.rates) > 1:
        for rate in column.rates:
            _train(column, rate, functions, range(1), f"{column.network}, rate {rate:g}", observer)
        chosen = _chosen(column, functions)
    else:
        chosen = {column.rates[0]: list(functions)}
    found: dict[str, Result] = {}
    for rate, some in chosen.items():
        _train(column, rate, some, range(seeds), column.network, observer)
        recording = column.recording(rate)
        guess = recording.scale.chance  # of an accuracy, 1 / classes
        for function in some:
            cells = [recording.cells[function.key, k] for k in range(seeds)]
            found[function.key] = Result(
                function,
                rate,
                np.array([_score(cell, TEST, guess) for cell in cells]),
                np.array([_score(cell, VALIDATION, guess) for cell in cells]),
                np.array([cell.seconds for cell in cells]),
            )
    return [replace(found[f.key], function=f) for f in functions]


def _train(
    column: Column,
    rate: float,
    functions: Sequence[Function],
    replicates: range,
    name: str,
    observer: Observer,
) -> None:
    recording = column.recording(rate, functions)
    work = [(f, replicates) for f in functions]
    if all((f.key, k) in recording.cells for f, ks in work for k in ks):
        return
    recording.train(iter([(name, work)]), observer)


def _chosen(column: Column, functions: Sequence[Function]) -> dict[float, list[Function]]:
    """Learning rate -> the functions whose first training was best at it by validation accuracy;
    the lower rate among equals.
    """
    chosen: dict[float, list[Function]] = {}
    scores = {}
    for rate in sorted(column.rates):
        recording = column.recording(rate)
        for f in functions:
            cell = recording.cells[f.key, 0]
            scores[rate, f.key] = _score(cell, VALIDATION, recording.scale.chance)
    for f in functions:
        best = max(sorted(column.rates), key=lambda rate: scores[rate, f.key])
        chosen.setdefault(best, []).append(f)
    return chosen


def _score(cell: Cell, which: int, guess: float) -> float:
    value = cell.scores[-1][which] if cell.status is Status.OK else None
    return guess if value is None else float(value)


def columns(
    configs: Sequence[tuple[str, str, Config]], rates: Sequence[float], folder: Path
) -> Iterator[Column]:
    """The columns of some (data, network, config); without rates each keeps its own."""
    for data, network, config in configs:
        own = tuple(dict.fromkeys(rates)) or (config.training.lr,)
        yield Column(data, network, config, own, folder)
