"""What it does to an answer that the same seeds name a winner and judge it, from recordings.

    python benchmarks/naming.py [--table digits] [--draws 8000] [--json FILE] [--quick]

Of the best functions of a table that have twenty replicates, five are drawn as finalists, and one
or nine as baselines; their replicates are halved at random. The first half names winner and best
baseline by validation, as a retest does. Then the two are compared on test data: on the seeds that
named them, and on the others. What the first difference has above the second is bias. "Better" is
said where Student's interval over seeds lies above 0. How often that is wrong is seen where no
function differs from another: every one's replicates, less their mean, drawn with replacement.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from reporting import add_arguments, print_table, write_json
from scipy import stats

from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.tables.table import Table, load_table
from hybridsearch.types import Json

FINALISTS, RIVALS = 5, (1, 9)  # of the retest; baselines: one that leads by far, or nine alike
SEEDS = 10  # that name; as many others
BEST = (30, 100)  # functions of the table from which are drawn
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Of functions, best mean validation score first, [functions, 2 * SEEDS]: higher is better."""

    validation: Floats
    test: Floats


def scores_of(table: Table) -> Scores:
    """Validation loss (with a minus) and test accuracy in points at the top of the table, of the
    functions that have enough replicates.

    Raises: SystemExit where there are none.
    """
    validation, test = -table.validation_loss[:, :, -1], 100 * table.test_accuracy[:, :, -1]
    there = np.isfinite(validation) & np.isfinite(test)
    rows = np.flatnonzero(there.sum(1) >= 2 * SEEDS)
    if len(rows) < max(BEST):
        raise SystemExit(f"expected {max(BEST)} functions of {2 * SEEDS} replicates or more")
    pairs = [
        (validation[row, there[row]][: 2 * SEEDS], test[row, there[row]][: 2 * SEEDS])
        for row in rows
    ]
    validation, test = (np.array(part, dtype=np.float64) for part in zip(*pairs, strict=True))
    order = np.argsort(-validation.mean(1))
    return Scores(validation[order], test[order])


def compare(
    scores: Scores,
    best: int,
    rivals: int,
    draws: int,
    rng: np.random.Generator,
    again: bool = False,
) -> dict[str, Json]:
    """Differences of winner and best baseline on test data, in points, over random retests. again:
    whether a seed may be drawn more than once.
    """
    naming, further, better = [], [], []
    for _ in range(draws):
        rows = rng.permutation(best)[: FINALISTS + rivals]
        seeds = rng.choice(2 * SEEDS, 2 * SEEDS, replace=again)
        halves = seeds[:SEEDS], seeds[SEEDS:]
        means = scores.validation[rows][:, halves[0]].mean(1)
        winner = rows[int(means[:FINALISTS].argmax())]
        rival = rows[FINALISTS + int(means[FINALISTS:].argmax())]
        gaps = scores.test[winner] - scores.test[rival]
        naming.append(gaps[halves[0]].mean())
        further.append(gaps[halves[1]].mean())
        better.append([says_better(gaps[half]) for half in halves])
    bias = np.array(naming) - np.array(further)
    return {
        "best": best,
        "baselines": rivals,
        "on_naming_seeds": float(np.mean(naming)),
        "on_further_seeds": float(np.mean(further)),
        "bias": float(bias.mean()),
        "bias_error": float(bias.std(ddof=1) / np.sqrt(draws)),
        "spread": float(np.std(further, ddof=1)),
        "says_better": [float(share) for share in np.mean(better, axis=0)],
    }


def says_better(gaps: Floats) -> bool:
    """Whether Student's interval of the mean of paired differences lies above 0."""
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    return bool(gaps.mean() > stats.t.ppf((1 + CONFIDENCE) / 2, len(gaps) - 1) * error)


def alike(scores: Scores) -> Scores:
    """The functions without what sets one apart from another in the mean."""
    validation, test = (v - v.mean(1, keepdims=True) for v in (scores.validation, scores.test))
    return Scores(validation, test)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--table", default="digits")
    parser.add_argument("--draws", type=int, default=8_000)
    options = parser.parse_args(arguments)
    draws = 500 if options.quick else options.draws
    scores = scores_of(load_table(options.table))
    rng = np.random.default_rng(0)
    rows = []
    for best in BEST:
        for rivals in RIVALS:
            real = compare(scores, best, rivals, draws, rng)
            none = compare(alike(scores), best, rivals, draws, rng, again=True)
            rows.append({**real, "wrongly_better": none["says_better"], "bias_alike": none["bias"]})
    print_table(
        f"{options.table}: the winner of {FINALISTS} less the best baseline, test accuracy in "
        f"points, {SEEDS} seeds",
        (
            "drawn from",
            "baselines",
            "on the seeds that named",
            "on others",
            "bias",
            "better, wrongly",
        ),
        [
            (
                f"the best {r['best']}",
                r["baselines"],
                f"{r['on_naming_seeds']:+.3f}",
                f"{r['on_further_seeds']:+.3f}",
                f"{r['bias']:+.3f} ± {1.96 * r['bias_error']:.3f}",
                " / ".join(f"{share:.1%}" for share in r["wrongly_better"]),
            )
            for r in rows
        ],
        f"{draws:,} retests each; the last column where no function differs from another: on the "
        "seeds that named / on others",
    )
    write_json(options.json, {"table": options.table, "draws": draws, "seeds": SEEDS, "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
