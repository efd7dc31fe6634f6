"""The grid of trainings: functions times networks times seeds, each cell kept when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    every function, one of which validation data choose.
    """

    data: str
    network: str
    config: Config
    rates: tuple[float, ...]
    folder: Path

    def at(self, rate: float) -> Config:
        training = self.config.training.model_copy(update={"lr": rate})
        return self.config.model_copy(update={"training": training, "record": RECORD})

    def recordings(self, functions: Sequence[Function] = ()) -> dict[float, Recording]:
        """Learning rate -> what is trained at it, functions among it; read anew."""
        width, steps = self.config.network.width, self.config.training.steps
        name = f"{self.data}-{self.network}-width{width}-{steps}steps"
        return {
            rate: Recording.start(self.folder / f"{name}-lr{rate:g}", self.at(rate), functions)
            for rate in self.rates
        }


@dataclass(frozen=True)
class Result:
    """A function in a column. rate: the learning rate. test, validation: [seeds], accuracy in 0..1;
    a diverged training guesses. seconds: [seeds], of training. diverged: how many of them did.
    """

    function: Function
    rate: float
    test: NDArray[np.float64]
    validation: NDArray[np.float64]
    seconds: NDArray[np.float64]
    diverged: int = 0


def missing(column: Column, functions: Sequence[Function], seeds: int) -> int:
    """How many trainings of a column are still to be made. With several learning rates some of
    those that remain depend on which are chosen, not their number.
    """
    recordings = column.recordings()
    rates = recordings.values() if len(recordings) > 1 else ()  # of a single one nothing is tried
    tries = {f.key: sum((f.key, 0) not in r.cells for r in rates) for f in functions}
    tried = [f for f in functions if not tries[f.key]]
    return sum(n + seeds - 1 for n in tries.values() if n) + sum(
        (f.key, k) not in recordings[rate].cells
        for rate, some in _chosen(recordings, tried).items()
        for f in some
        for k in range(seeds)
    )


def train(
    column: Column, functions: Sequence[Function], seeds: int, observer: Observer
) -> list[Result]:
    """Train what is missing of a column, and return its results in the order of functions.

    With several learning rates every function is trained once at each; the one with the best
    validation accuracy is trained from the other seeds too. The test images take no part in that.
    Raises: UserError when the machine fails a training twice.
    """
    recordings = column.recordings(functions)
    if len(recordings) > 1:
        for rate, recording in recordings.items():
            name = f"{column.network}, rate {rate:g}"
            _train(recording, functions, range(1), name, observer)
    found: dict[str, Result] = {}
    for rate, some in _chosen(recordings, functions).items():
        recording = recordings[rate]
        _train(recording, some, range(seeds), column.network, observer)
        guess = recording.guess
        for function in some:
            cells = [recording.cells[function.key, k] for k in range(seeds)]
            found[function.key] = Result(
                function,
                rate,
                np.array([_score(cell, TEST, guess) for cell in cells]),
                np.array([_score(cell, VALIDATION, guess) for cell in cells]),
                np.array([cell.seconds for cell in cells]),
                sum(cell.status is Status.DIVERGED for cell in cells),
            )
    return [found[f.key] for f in functions]


def _train(
    recording: Recording,
    functions: Sequence[Function],
    replicates: range,
    name: str,
    observer: Observer,
) -> None:
    if any((f.key, k) not in recording.cells for f in functions for k in replicates):
        recording.train([(name, [(f, replicates) for f in functions])], observer)


def _chosen(
    recordings: Mapping[float, Recording], functions: Sequence[Function]
) -> dict[float, list[Function]]:
    """Learning rate -> the functions whose first training was best at it by validation accuracy;
    the lower rate among equals. A single rate is not chosen, so nothing need be trained for it.
    """
    rates = sorted(recordings)
    if len(rates) == 1:
        return {rates[0]: list(functions)}
    chosen: dict[float, list[Function]] = {}
    for f in functions:
        cells = {rate: recordings[rate].cells[f.key, 0] for rate in rates}
        guess = recordings[rates[0]].guess
        scores = {rate: _score(cell, VALIDATION, guess) for rate, cell in cells.items()}
        chosen.setdefault(max(scores, key=scores.__getitem__), []).append(f)
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
