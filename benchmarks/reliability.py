"""Can the default task tell good functions apart? Split-half reliability of loss and accuracy.

Random one-unit functions that pass preflight are trained with several seeds each; the mean over
one half of the replicates is rank-correlated with the mean over the other half, over all functions
and among the best quarter and the best tenth. Results go through the ordinary cache, so that a
stopped benchmark goes on where it was.

    python benchmarks/reliability.py [--config digits] [--functions 200] [--replicates 6] [--json F]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from reporting import add_arguments, print_table, write_json
from rich.progress import track

from hybridsearch.config import load_config
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evidence.statistics import split_half_reliability
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.units import Space
from hybridsearch.store.cache import Cache
from hybridsearch.types import Status

SHARES = (1.0, 0.25, 0.1)


def sample(count: int, seed: int) -> list[Genome]:
    """Distinct one-unit functions that pass preflight, uniform over functions."""
    rng = np.random.default_rng(seed)
    genomes = list(Space().enumerate())
    found = inspect(genomes)
    able = list({i.key: i.form for i in found if i.rejected is None}.values())
    return [Genome(able[k]) for k in rng.permutation(len(able))[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--config", default="digits")
    parser.add_argument("--functions", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=6)
    parser.add_argument("--steps", type=int, default=None, help="default: the config's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=None, help="default: kept nowhere")
    options = parser.parse_args()
    if options.quick:
        options.functions, options.replicates = 24, 4

    config = load_config(options.config)
    steps = options.steps or config.training.steps
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(options.cache or Path(folder, "cache.sqlite"))
        evaluator = TrainingEvaluator(config, Path(folder, "children"))
        genomes = sample(options.functions, options.seed)
        functions = [resolve(g) for g in genomes]
        tasks = [
            evaluator.task(f.spec, f.key, steps, 1000 + replicate)
            for f in functions
            for replicate in range(options.replicates)
        ]
        done, misses = cache.split(tasks)
        for result in track(evaluator.evaluate(misses), "Training", total=len(misses)):
            cache.add(result)
            done[result.task] = result
        evaluator.close()

    shape = (len(functions), options.replicates)
    seconds = [done[t.hash].seconds for t in tasks]
    diverged = sum(done[t.hash].status is Status.DIVERGED for t in tasks)
    result = {
        "config": options.config,
        "network": config.network.name,
        "functions": shape[0],
        "replicates": shape[1],
        "steps": steps,
        "seconds_per_training": float(np.median(seconds)),
        "diverged_share": diverged / len(tasks),
        "reliability": {},
    }
    rows = []
    for fitness in ("loss", "accuracy"):
        scale = evaluator.objective.scale(fitness)
        scores = np.array([scale.score(done[t.hash]) for t in tasks]).reshape(shape)
        for share in SHARES:
            rng = np.random.default_rng(0)
            found = split_half_reliability(scores, share, rng=rng)
            value = {"value": found.mean, "low": found.low, "high": found.high}
            result["reliability"][f"{fitness}_top_{share:g}"] = value
            interval = f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"
            rows.append([fitness, f"best {share:.0%}" if share < 1 else "all", interval])
    print_table(
        f"Split-half reliability on {options.config}, {config.network.name}, {steps} steps",
        ["fitness", "functions", "rank correlation (95% interval)"],
        rows,
        caption=f"{shape[0]} functions x {shape[1]} replicates, "
        f"{result['seconds_per_training']:.2f} s per training, "
        f"{result['diverged_share']:.0%} diverged",
    )
    write_json(options.json, result)


if __name__ == "__main__":
    main()
