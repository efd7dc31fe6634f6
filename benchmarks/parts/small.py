"""Small networks: whole trainings, as a search makes them, against the plain loop.

The evaluator trains tasks (one replicate each, several replicates of a function) in its pool of
workers, scoring included; where `training.stack` says so, replicates are trained side by side.
The plain loop trains the same number one after the other in one process with PyTorch's default
threads, and scores each once. No cache takes part, and no training is done twice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from children import data_for
from contest import Machine
from figures import Options, Report, Steps
from plain_loop import SWISH, PlainTraining, normalised
from ratios import Estimate, median_interval, paired_ratio, rounds
from synthetic import data_config

from hybridsearch.config import Config, load_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import resolve
from hybridsearch.types import Evaluation, Status

ROUNDS = 8


@dataclass(frozen=True)
class Plan:
    """One network: trainings per round of the evaluator (per worker) and of the plain loop."""

    key: str
    config: Config
    per_worker: int
    plain: int


@dataclass(frozen=True)
class Turn:
    """trainings in seconds; accuracy: their mean, 0..1; trained: how many did not diverge."""

    trainings: int
    seconds: float
    accuracy: float
    trained: int
    threads: int = 1

    @property
    def rate(self) -> float:
        return self.trainings / self.seconds


def plans(quick: bool) -> list[Plan]:
    mlp, cnn = load_config("digits_mlp"), load_config("digits")
    fashion = load_config("fashion_mnist")
    data = data_config("fashion_mnist", 6000, 1000, fashion.data.augment)
    cnn28 = fashion.model_copy(update={"data": data})
    if quick:
        short = cnn.training.model_copy(update={"steps": 20})
        cnn = cnn.model_copy(update={"training": short})
        short = fashion.training.model_copy(update={"steps": 5})
        cnn28 = cnn28.model_copy(update={"training": short})
    stack = mlp.training.stack
    return [
        Plan(
            "digits_mlp", automatic(mlp), max(4, stack) if quick else 8 * stack, 4 if quick else 8
        ),
        Plan("digits_cnn", automatic(cnn), 2 * cnn.training.stack, 2),
        Plan("cnn28", automatic(cnn28), 1, 1),
    ]


def automatic(config: Config) -> Config:
    """With the fastest format and kernel that the machine has."""
    update = {"precision": "auto", "kernel": "auto"}
    return config.model_copy(update={"training": config.training.model_copy(update=update)})


def plain_turn(job: tuple[Config, Sequence[int], str]) -> Turn:
    """Train the network from each of the seeds and score it, in the plain loop's process."""
    config, seeds, device = job
    data = data_for(config.data)
    images = normalised(data, data.validation)
    labels = torch.from_numpy(data.validation.labels)
    begin, accuracy = time.perf_counter(), []
    for seed in seeds:
        torch.manual_seed(seed)
        training = PlainTraining(config, data, SWISH, seed, device)
        training.train(config.training.steps)
        accuracy.append(training.score(images, labels))
    seconds = time.perf_counter() - begin
    return Turn(len(seeds), seconds, float(np.mean(accuracy)), len(seeds), torch.get_num_threads())


class Evaluations:
    """The evaluator on a pool, asked for ever new replicates of one function."""

    def __init__(self, config: Config, folder: Path, machine: Machine, device: str) -> None:
        config = config.model_copy(update={"device": device, "workers": machine.workers})
        self.evaluator = TrainingEvaluator(config, folder, machine.pool)
        self.steps, self.function, self.seed = config.training.steps, resolve(SWISH), 0

    def turn(self, trainings: int) -> Turn:
        """Train that many new replicates and score them."""
        f = self.function
        seeds = range(self.seed, self.seed + trainings)
        tasks = self.evaluator.replicates(f.spec, f.key, self.steps, seeds)
        self.seed += trainings
        begin = time.perf_counter()
        done = list(self.evaluator.evaluate(tasks))
        return turn(done, time.perf_counter() - begin)


def turn(done: Sequence[Evaluation], seconds: float) -> Turn:
    """Raises: UserError when a training failed by the machine's fault."""
    for result in done:
        if result.status is Status.ERROR:
            raise UserError(f"a training failed: {result.message}")
    able = [e.metric for e in done if e.status is Status.OK and e.metric is not None]
    return Turn(len(done), seconds, float(np.mean(able)) if able else 0.0, len(able))


def run(machine: Machine, options: Options, report: Report) -> None:
    count = 2 if options.quick else ROUNDS
    for plan in plans(options.quick):
        here: list[Turn] = []
        plain: list[Turn] = []
        trainings = plan.per_worker * machine.workers
        with (
            tempfile.TemporaryDirectory() as folder,
            Steps(report.progress, plan.key, 2 * count + 1) as steps,
        ):
            evaluations = Evaluations(plan.config, Path(folder), machine, options.device)
            evaluations.turn(trainings)  # warms up, calibrates, may compile
            machine.plain(plain_turn, (plan.config, range(1), options.device))
            steps.tick()
            for number, side in rounds(("plain", "here"), count):
                if side == "plain":
                    seeds = range(number * plan.plain, (number + 1) * plan.plain)
                    plain.append(machine.plain(plain_turn, (plan.config, seeds, options.device)))
                else:
                    here.append(evaluations.turn(trainings))
                steps.tick()
        _report(report, plan, here, plain, machine.workers)


def _report(report: Report, plan: Plan, here: list[Turn], plain: list[Turn], workers: int) -> None:
    settings = plan.config.training
    per_core = _scaled(median_interval([t.rate for t in here]), 1 / workers)
    accuracy = float(np.mean([t.accuracy for t in here]))
    if plan.key == "digits_mlp":
        report.add("digits_mlp_trainings_per_core_second", per_core)
        report.add(
            "digits_mlp_accuracy",
            accuracy,
            f"validation; {len(data_for(plan.config.data).train):,} training images, "
            f"{settings.steps} steps of {settings.batch_size}",
        )
    report.add(
        f"{plan.key}_speedup",
        paired_ratio([t.rate for t in here], [t.rate for t in plain]),
        f"best rounds: plain loop {1e3 / max(t.rate for t in plain):.0f} ms a training with "
        f"{plain[0].threads} threads, here {1e3 * workers / max(t.rate for t in here):.0f} ms with "
        f"{workers} at once",
        {
            "plain_trainings_per_second": [t.rate for t in plain],
            "trainings_per_second": [t.rate for t in here],
            "plain_accuracy": float(np.mean([t.accuracy for t in plain])),
            "accuracy": accuracy,
            "diverged": sum(t.trainings - t.trained for t in here),
            "stack": settings.stack,
            "steps": settings.steps,
            "batch_size": settings.batch_size,
            "network": plan.config.network.model_dump(),
            "data": plan.config.data.name,
        },
    )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    value, low, high = (factor * v for v in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.coverage, estimate.n)
