"""Every strategy against random search on the synthetic functions of `controller.py`, many seeds.

    python benchmarks/strategies.py [--quick] [--seeds N] [--seeds-from K] [--objectives 2 3]
                                    [--strategies evolution local ...] [--json FILE]

All get the same number of distinct functions; what preflight rejects is free. The incumbent is the
function with the best noisy reward; what counts is its noise-free one (the best of the space has
1). `exhaustive` is left out: it is meant to run to the end. Development (the defaults in
`hybridsearch/config/`) used seeds 0-29 on objectives 0 and 1; what is reported uses others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from controller import BATCH, BUDGET, EARLY, SPACES, Array, Objective, Run, search, superiority
from reporting import add_arguments, print_table, write_json

from hybridsearch.config import Config
from hybridsearch.genome.units import Space
from hybridsearch.session import STRATEGIES

BASELINE = "random"
COMPARED = (BASELINE, *(name for name in STRATEGIES if name not in (BASELINE, "exhaustive")))


def incumbent(run: Run) -> Array:
    """Noise-free reward of the best so far, after each of BUDGET evaluations."""
    leaders = np.where(run.told >= np.maximum.accumulate(run.told))[0]
    held = np.searchsorted(leaders, np.arange(BUDGET), side="right") - 1
    result: Array = run.true[leaders[held]]
    return result


def metrics(run: Run) -> dict[str, float]:
    curve = incumbent(run)
    return {
        f"mean 1-{EARLY}": float(curve[:EARLY].mean()),
        "at 100": float(curve[99]),
        f"at {EARLY}": float(curve[EARLY - 1]),
        f"at {BUDGET}": float(curve[-1]),
    }


def interval(values: Array, resamples: int = 4000) -> tuple[float, float, float]:
    """Mean over seeds with its 95% bootstrap interval."""
    rows = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def run(name: str, space: Space, objective: Objective, seed: int, config: Config) -> Run:
    proposer = STRATEGIES[name](space, config.model_copy(update={"seed": seed}))
    return search(proposer, objective, seed)


def measure(
    label: str, seed: int, seeds: range, names: Sequence[str], config: Config
) -> list[dict]:
    """One record per strategy and metric, on one space and one objective."""
    space = SPACES[label]
    objective = Objective(space, seed)
    runs = {name: [run(name, space, objective, s, config) for s in seeds] for name in names}
    records = []
    for name in names:
        for metric in metrics(runs[name][0]):
            own, base = (np.array([metrics(r)[metric] for r in runs[n]]) for n in (name, BASELINE))
            mean, low, high = interval(own)
            p, p_low, p_high = superiority(own, base)
            records.append(
                {
                    "space": label,
                    "objective": seed,
                    "strategy": name,
                    "metric": metric,
                    "value": mean,
                    "low": low,
                    "high": high,
                    "p_better": p,
                    "p_low": p_low,
                    "p_high": p_high,
                    "proposals": float(np.mean([r.proposals for r in runs[name]])),
                    "ms_per_batch": milliseconds(runs[name]),
                }
            )
    return records


def milliseconds(runs: Sequence[Run]) -> float:
    """Per ask and tell of a batch."""
    return 1e3 * BATCH * sum(r.seconds for r in runs) / sum(r.proposals for r in runs)


def show(records: Sequence[dict], seeds: range) -> None:
    """A table for each space and objective: strategies down, metrics across."""
    kinds = list(dict.fromkeys(r["metric"] for r in records))
    for label, seed in dict.fromkeys((r["space"], r["objective"]) for r in records):
        here = [r for r in records if (r["space"], r["objective"]) == (label, seed)]
        rows = []
        for name in dict.fromkeys(r["strategy"] for r in here):
            cells = []
            for r in (r for r in here if r["strategy"] == name):
                cells.append(f"{r['value']:.2f} ({r['low']:.2f}-{r['high']:.2f})")
                if name != BASELINE:
                    cells[-1] += f"\nP {r['p_better']:.2f} ({r['p_low']:.2f}-{r['p_high']:.2f})"
            rows.append((name, *cells, f"{r['ms_per_batch']:.1f}"))
        title = f"{label}, objective {seed}: reward of the incumbent, {len(seeds)} seeds"
        caption = f"P: better than {BASELINE}; all with 95% intervals; ms: ask and tell of {BATCH}"
        print_table(title, ("strategy", *kinds, "ms"), rows, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--seeds-from", type=int, default=1000)
    parser.add_argument("--objectives", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--strategies", nargs="+", choices=COMPARED, default=list(COMPARED))
    args = parser.parse_args()
    count, objectives = (3, args.objectives[:1]) if args.quick else (args.seeds, args.objectives)
    seeds = range(args.seeds_from, args.seeds_from + count)
    names = list(dict.fromkeys((BASELINE, *args.strategies)))
    torch.set_num_threads(1)
    records = [
        r for label in SPACES for o in objectives for r in measure(label, o, seeds, names, Config())
    ]
    show(records, seeds)
    about = {"seeds": [seeds.start, seeds.stop], "budget": BUDGET, "batch": BATCH}
    write_json(args.json, {**about, "config": Config().model_dump(), "records": records})


if __name__ == "__main__":
    main()
