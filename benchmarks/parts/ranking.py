"""Does bf16 change which functions are good? Rank correlations on real CIFAR-10.

Random functions that pass preflight are trained twice in fp32 and twice in bf16, all four from
different seeds, so that bf16 against fp32 has what fp32 against fp32 has, and the format besides.
Correlated are single replicates: the one pair in fp32, and the mean over the four pairs across.
Only functions whose mean accuracy over all four is at least 5 points above chance take part: the
others have no rank. Chosen by both formats alike, neither gains from the choice. The interval is
a percentile bootstrap over functions, the same draw for all pairs.

The proxy is a small CNN whose convolutions are wide enough for bf16 to pay. Trainings go through
the ordinary cache, so that a stopped measurement goes on where it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contest import Machine
from figures import Options, Report, Steps
from numpy.typing import NDArray
from ratios import Estimate
from reliability import sample
from synthetic import data_config

from hybridsearch.config import Config, NetworkConfig, TrainingConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evidence.resampling import draw_counts, weighted_spearman
from hybridsearch.genome.function import resolve
from hybridsearch.store.cache import Cache
from hybridsearch.types import Evaluation, Scale, Status, Task

FUNCTIONS = 200
SEEDS = {"fp32": (1, 2), "bf16": (3, 4)}
ABOVE_CHANCE = 0.05  # accuracy
RESAMPLES = 5000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlations:
    """within: of fp32 replicates; across: of bf16 with fp32; difference: across less within."""

    within: Estimate
    across: Estimate
    difference: Estimate


def correlations(fp32: Array, bf16: Array, rng: np.random.Generator) -> Correlations:
    """Spearman's correlations with their intervals. fp32, bf16: scores [functions, replicates].

    Raises: UserError with fewer than 3 functions, or 2 replicates in fp32.
    """
    functions, replicates = fp32.shape
    if functions < 3 or replicates < 2:
        raise UserError(f"need 3 functions and 2 replicates or more, got {functions, replicates}")
    as_measured = np.ones((1, functions), dtype=np.int64)
    weights = np.vstack([as_measured, draw_counts(functions, RESAMPLES, rng)])

    def mean(pairs: Sequence[tuple[Array, Array]]) -> Array:
        return np.mean([weighted_spearman(a, b, weights) for a, b in pairs], axis=0)

    within = mean([(fp32[:, i], fp32[:, j]) for j in range(replicates) for i in range(j)])
    across = mean([(a, b) for a in fp32.T for b in bf16.T])

    def estimate(draws: Array) -> Estimate:
        able = draws[1:][np.isfinite(draws[1:])]
        low, high = np.quantile(able, (0.025, 0.975)) if len(able) else (np.nan, np.nan)
        return Estimate(float(draws[0]), float(low), float(high), 0.95, functions)

    return Correlations(estimate(within), estimate(across), estimate(across - within))


def config(quick: bool, precision: str) -> Config:
    """The proxy: one to three core-seconds a training."""
    steps, batch, width = (40, 32, 8) if quick else (120, 64, 24)
    return Config(
        data=data_config("cifar10", 2000 if quick else 20_000, 500 if quick else 2000, "none"),
        network=NetworkConfig(name="cnn28", width=width),
        training=TrainingConfig.model_validate(
            {"steps": steps, "batch_size": batch, "lr": 0.1, "warmup": 15, "hold": 60}
            | {"precision": precision}
        ),
    )


def run(machine: Machine, options: Options, report: Report) -> None:
    count = 12 if options.quick else FUNCTIONS
    functions = [resolve(genome) for genome in sample(count, 0)]
    tables: dict[str, list[list[Evaluation]]] = {}
    total = sum(map(len, SEEDS.values())) * count
    with (
        tempfile.TemporaryDirectory() as folder,
        Steps(report.progress, "Ranking", total) as steps,
    ):
        cache = Cache(options.cache or Path(folder, "cache.sqlite"))
        plan: dict[str, tuple[TrainingEvaluator, list[list[Task]]]] = {}
        for precision, seeds in SEEDS.items():
            chosen = config(options.quick, precision)
            chosen = chosen.model_copy(
                update={"device": options.device, "workers": machine.workers}
            )
            evaluator = TrainingEvaluator(chosen, Path(folder, precision), machine.pool)
            length = chosen.training.steps
            plan[precision] = (
                evaluator,
                [[evaluator.task(f.spec, f.key, length, s) for s in seeds] for f in functions],
            )
        for precision, (evaluator, rows) in plan.items():
            done, misses = cache.split(task for row in rows for task in row)
            steps.tick(len(done))
            for result in evaluator.evaluate(misses):
                if result.status is Status.ERROR:
                    raise UserError(f"a training failed: {result.message}")
                cache.add(result)
                done[result.task] = result
                steps.tick()
            tables[precision] = [[done[task.hash] for task in row] for row in rows]
        cache.close()
        classes = plan["fp32"][0].objective.outputs
    _report(report, tables, classes, config(options.quick, "fp32"))


def able(tables: dict[str, list[list[Evaluation]]], classes: int) -> NDArray[np.bool_]:
    """[functions]: mean accuracy over all replicates at least 5 points above chance."""
    scale = Scale.of_classes("accuracy", classes)
    both = np.hstack([_scores(table, scale) for table in tables.values()])
    return both.mean(axis=1) >= scale.chance + ABOVE_CHANCE


def _scores(table: list[list[Evaluation]], scale: Scale) -> Array:
    return np.array([[scale.score(e) for e in row] for row in table])


def _report(
    report: Report, tables: dict[str, list[list[Evaluation]]], classes: int, config: Config
) -> None:
    chosen = able(tables, classes)
    seconds = {
        name: float(np.median([e.seconds for row in rows for e in row]))
        for name, rows in tables.items()
    }
    diverged = {
        name: sum(e.status is Status.DIVERGED for row in rows for e in row)
        for name, rows in tables.items()
    }
    about = {
        "data": config.data.model_dump(),
        "network": config.network.model_dump(),
        "training": config.training.model_dump(),
        "functions": len(chosen),
        "replicates": {name: len(seeds) for name, seeds in SEEDS.items()},
        "above_chance": int(chosen.sum()),
        "seconds_per_training": seconds,
        "diverged": diverged,
    }
    note = (
        f"{int(chosen.sum())} of {len(chosen)} functions on {config.data.name}, "
        f"{seconds['fp32']:.2f} s a training in fp32, {seconds['bf16']:.2f} s in bf16"
    )
    if chosen.sum() < 3:
        report.line(f"bf16_rank_correlation: not measured: only {note} are above chance")
        return
    for fitness, suffix in (("loss", ""), ("accuracy", "_of_accuracy")):
        scale = Scale.of_classes("loss" if fitness == "loss" else "accuracy", classes)
        fp32, bf16 = (_scores(tables[name], scale)[chosen] for name in SEEDS)
        found = correlations(fp32, bf16, np.random.default_rng(0))
        report.add(f"bf16_rank_correlation{suffix}", found.across, note, about)
        report.add(f"fp32_replicate_rank_correlation{suffix}", found.within)
        report.add(f"rank_difference{suffix}", found.difference, "bf16 less fp32 replicates")
        if fitness == "loss":  # the default fitness of a search
            report.add("rank_difference_low", found.difference.low, "lower bound, by the loss")
