"""How large the space is, what preflight rejects, and how fast genomes are inspected.

    python benchmarks/genome.py [--quick] [--json FILE]

Counts are over the whole one-unit space. Speed is canonicalising and screening together (normal
form, key, preflight with four beta assignments), on one core, in seconds of processor time, which
a busy machine disturbs little; random genomes of two and three units are timed beside it.
"""

from __future__ import annotations

import argparse
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # one core, whatever the machine has; before NumPy is loaded

import time  # noqa: E402
from collections import Counter  # noqa: E402

import numpy as np  # noqa: E402
from reporting import add_arguments, print_table, write_json  # noqa: E402

from hybridsearch.genome.canonical import BETAS  # noqa: E402
from hybridsearch.genome.preflight import inspect  # noqa: E402
from hybridsearch.genome.units import Space, Tokens  # noqa: E402


def speed(genomes: list[Tokens], repeats: int) -> tuple[float, float, float]:
    """Genomes per second: median, lowest and highest of the repeats."""
    rates = []
    for _ in range(repeats):
        begin = time.process_time()
        inspect(genomes)
        rates.append(len(genomes) / (time.process_time() - begin))
    return float(np.median(rates)), min(rates), max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    repeats = 5 if options.quick else 30

    one = list(Space().enumerate())
    found = inspect(one)
    reasons = Counter(i.rejected for i in found if i.rejected)
    by_key = {i.key: i.rejected for i in found}
    distinct_reasons = Counter(reason for reason in by_key.values() if reason)
    rows = [["genomes", len(one), len(by_key)]]
    rows += [[f"rejected: {why}", n, distinct_reasons[why]] for why, n in reasons.most_common()]
    rows.append(
        [
            "left to train",
            len(one) - sum(reasons.values()),
            len(by_key) - sum(distinct_reasons.values()),
        ]
    )
    print_table("The one-unit space", ["", "genomes", "distinct functions"], rows)

    rng = np.random.default_rng(0)
    rates = {}
    for units in (1, 2, 3):
        space = Space(units, units)
        genomes = one if units == 1 else [space.sample(rng) for _ in range(len(one))]
        rates[units] = speed(genomes, repeats)
    print_table(
        f"Canonicalised and screened per second and core, {len(BETAS)} beta assignments",
        ["core units", "median", "lowest", "highest"],
        [[units, *(f"{r:,.0f}" for r in rate)] for units, rate in rates.items()],
        caption=f"{len(one):,} genomes, {repeats} repeats",
    )
    write_json(
        options.json,
        {
            "count_one_unit": Space().count(),
            "distinct_one_unit": len(by_key),
            "trainable_one_unit": sum(reason is None for reason in by_key.values()),
            "rejected_by_reason": dict(reasons),
            "distinct_rejected_by_reason": dict(distinct_reasons),
            "screened_per_core_second": rates[1][0],
            "screened_per_core_second_range": list(rates[1][1:]),
            "screened_two_units": rates[2][0],
            "screened_three_units": rates[3][0],
            "repeats": repeats,
        },
    )


if __name__ == "__main__":
    main()
