"""Replicates side by side in one network: how much faster, and are they the same trainings?

Speed: whole trainings, scoring included, per second and core, by the size of the stack; each round
trains every size once, so that a busy spell hits all of them. A worker's own seconds are counted.

Equivalence: every seed is trained alone and in a stack. The mean difference in validation accuracy
is compared with a bound of 0.2 points by two one-sided t-tests (TOST, Schuirmann 1987) on the
paired differences: equivalent where the 90% interval lies within the bound.

    python benchmarks/stacking.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reporting import add_arguments, print_table, write_json
from rich.progress import track
from scipy import stats

from hybridsearch.config import Config, load_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import resolve
from hybridsearch.types import Evaluation, Status

BOUND = 0.2  # points of accuracy
FUNCTIONS = ("ReLU", "x*sigmoid(beta*x)", "max(x, tanh(x))*exp(-beta*(x-sin(x))^2)")
SIZES = (1, 2, 3, 5, 8, 10, 16)


class Side:
    """The evaluator with stacks of one size."""

    def __init__(self, config: Config, size: int, folder: Path) -> None:
        training = config.training.model_copy(update={"stack": size})
        config = config.model_copy(update={"training": training})
        self.size, self.steps = size, config.training.steps
        self.evaluator = TrainingEvaluator(config, folder / str(size))

    def train(self, function: str, seeds: Sequence[int]) -> list[Evaluation]:
        """The evaluations of every seed, in order. Raises: UserError on an error of the machine."""
        f = resolve(function)
        tasks = self.evaluator.replicates(f.spec, f.key, self.steps, seeds)
        done = {e.task: e for e in self.evaluator.evaluate(tasks)}
        for result in done.values():
            if result.status is Status.ERROR:
                raise UserError(f"a training failed: {result.message}")
        return [done[task.hash] for task in tasks]


def networks(quick: bool) -> dict[str, Config]:
    """Both networks that are stacked, on the default data, where 700 images measure accuracy."""
    cnn = load_config("digits", workers=1)
    mlp = load_config("digits_mlp", workers=1)
    wide = mlp.model_copy(update={"data": cnn.data})
    if quick:
        short = cnn.training.model_copy(update={"steps": 40})
        cnn = cnn.model_copy(update={"training": short})
    return {"digits_mlp": wide, "digits_cnn": cnn}


def speed(config: Config, function: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Trainings per second and core by size of the stack: the median over rounds, and the median
    ratio to children trained alone.
    """
    sides = [Side(config, size, folder) for size in SIZES]
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in track(range(rounds + 1), f"Speed, {config.network.name}, {function[:20]}"):
        for side in sides if turn % 2 else reversed(sides):
            first = 1000 * turn
            done = side.train(function, range(first, first + side.size))
            if turn:  # the first warms up
                seconds[side.size].append(float(np.mean([e.seconds for e in done])))
    for side in sides:
        side.evaluator.close()
    alone = np.array(seconds[1])
    return [
        {
            "stack": size,
            "trainings_per_core_second": float(1 / np.median(seconds[size])),
            "faster_than_alone": float(np.median(alone / seconds[size])),
        }
        for size in SIZES
    ]


def equivalence(gap: NDArray[np.float64], spread: float) -> dict[str, Any]:
    """TOST of paired differences in points; spread: ratio of the two standard deviations."""
    error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    reach = float(stats.t.ppf(0.95, len(gap) - 1)) * error
    above = stats.ttest_1samp(gap, -BOUND, alternative="greater").pvalue
    below = stats.ttest_1samp(gap, BOUND, alternative="less").pvalue
    mean = float(gap.mean())
    return {
        "difference": {"value": mean, "low": mean - reach, "high": mean + reach},
        "p": float(max(above, below)),
        "equivalent": bool(abs(mean) + reach < BOUND),
        "spread_ratio": spread,
        "seeds": len(gap),
    }


def compare(config: Config, function: str, seeds: int, folder: Path) -> dict[str, Any]:
    """Every seed alone and in a stack of the config's size."""
    scores = []
    for size in (1, config.training.stack):
        side = Side(config, size, folder)
        done = side.train(function, range(50_000, 50_000 + seeds))
        side.evaluator.close()
        scores.append([100 * (e.metric or 0.0) for e in done])  # diverged: 0, on either side
    alone, together = np.array(scores)
    return equivalence(together - alone, float(together.std() / alone.std()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=200, help="per function, for equivalence")
    parser.add_argument("--rounds", type=int, default=10, help="for speed")
    parser.add_argument("--only", choices=("speed", "equivalence"), default=None)
    options = parser.parse_args()
    functions = FUNCTIONS
    if options.quick:
        options.seeds, options.rounds, functions = 20, 2, FUNCTIONS[:1]

    result: dict[str, Any] = {"bound": BOUND, "speed": {}, "equivalence": {}}
    fast, alike = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, config in networks(options.quick).items():
            for function in functions:
                place = Path(folder, name, str(len(fast) + len(alike)))
                if options.only != "equivalence":
                    found = speed(config, function, options.rounds, place)
                    result["speed"].setdefault(name, {})[function] = found
                    rates = [f"{row['trainings_per_core_second']:.1f}" for row in found]
                    ratios = [f"{row['faster_than_alone']:.2f}x" for row in found]
                    cells = [f"{a} ({b})" for a, b in zip(rates, ratios, strict=True)]
                    fast.append([name, function, *cells])
                if options.only != "speed":
                    test = compare(config, function, options.seeds, place)
                    result["equivalence"].setdefault(name, {})[function] = test
                    d = test["difference"]
                    interval = f"{d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"
                    verdict = "yes" if test["equivalent"] else "not shown"
                    alike.append([name, function, interval, verdict, test["spread_ratio"]])
    if fast:
        print_table(
            "Trainings per second and core, by replicates per stack (against alone)",
            ["network", "function", *map(str, SIZES)],
            fast,
        )
    if alike:
        print_table(
            f"Stacked minus alone, points of validation accuracy, {options.seeds} paired seeds",
            ["network", "function", "mean (90% interval)", f"within {BOUND}", "ratio of spreads"],
            alike,
        )
    write_json(options.json, result)


if __name__ == "__main__":
    main()
