"""The data card of a table: how it was recorded, how noisy it is, what is best in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hybridsearch.errors import UserError
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.statistics import split_half_reliability
from hybridsearch.genome.function import baselines, known_names, resolve
from hybridsearch.tables.table import DIVERGED, MISSING, NOISE, OK, Table, target_size
from hybridsearch.types import Json

SHARES = {"all": 1.0, "best quarter": 0.25, "best tenth": 0.1}
TOP = 20
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FINE = 0.5  # reliability in the best tenth below which the task tells good functions badly apart

# What `table.about` holds beside how it was recorded.
NOT_MADE = ("config", "functions", "classes", "images")

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Card:
    """What a card says, as numbers.

    replicates: how many functions have so many. reliability: split-half rank correlation of the
    validation score, over all functions and over the best by the replicates that all have; it is
    that of a mean over so many replicates as `halves` says, half of those that each of these
    functions has. rungs: rank correlation of the
    validation score at a rung with that at the top, over all functions and over the best quarter,
    both of other replicates, so that no noise is shared. noise: standard deviation of one
    replicate's score at the top, over the functions' replicates (median), all and best quarter.
    """

    functions: int
    trainings: int
    replicates: dict[int, int]
    finite: int
    diverged: int
    above_chance: int
    core_hours: float
    seconds: float
    noise: dict[str, float]
    reliability: dict[str, Interval]
    halves: dict[str, int]
    rungs: dict[int, tuple[float, float]]
    target: int
    top: list[tuple[str, float, float]]

    def to_json(self) -> dict[str, Json]:
        shares = {
            name: {"value": i.mean, "low": i.low, "high": i.high}
            for name, i in self.reliability.items()
        }
        rungs = {str(s): {"all": a, "best quarter": b} for s, (a, b) in self.rungs.items()}
        return {**vars(self), "reliability": shares, "rungs": rungs}


def target_set(table: Table) -> NDArray[np.intp]:
    """Rows of the functions that a search should find, best first: those within one standard error
    of the best true mean, or the best thousandth, whichever are more.
    """
    order = np.argsort(-table.truth, kind="stable")
    return order[: target_size(table.truth, table.truth_error(int(order[0])))]


def make_card(table: Table) -> Card:
    """Raises: UserError when the table has too few functions for a card."""
    if len(table.keys) < 10:
        raise UserError(f"a data card needs at least 10 functions, the table has {len(table.keys)}")
    scores = table.scores("validation")
    top = scores[:, :, -1]
    per_function = (table.status != MISSING).sum(1)
    common = int(per_function.min())
    able = np.isfinite(top) & (table.status == OK)
    quarter = np.argsort(-table.truth, kind="stable")[: max(3, len(top) // 4)]
    spreads = [_deviation(row[good]) for row, good in zip(top, able, strict=True)]
    spread = np.array(spreads)
    rng = np.random.default_rng(0)
    reliability, halves = {}, {}
    order = np.argsort(-top[:, :common].mean(1), kind="stable")
    for name, share in SHARES.items():
        rows = order[: max(3, round(share * len(order)))]
        having = int(per_function[rows].min())
        halves[name] = having // 2
        reliability[name] = split_half_reliability(top[rows, :having], rng=rng)
    half = max(1, common // 2)
    end = top[:, half:common].mean(1) if common > half else top[:, :half].mean(1)
    rungs = {}
    for rung, steps in enumerate(table.steps[:-1]):
        low = scores[:, :half, rung].mean(1)
        rungs[steps] = (_rank(low, end), _rank(low[quarter], end[quarter]))
    first = np.argsort(-table.truth, kind="stable")[:TOP]
    accuracy = {row: _mean(table.test_accuracy[row, :, -1].astype(np.float64)) for row in first}
    chance = table.scale.chance
    return Card(
        functions=len(table.keys),
        trainings=int(per_function.sum()),
        replicates={int(n): int((per_function == n).sum()) for n in np.unique(per_function)},
        finite=int((table.status != DIVERGED).all(1).sum()),
        diverged=int((table.status != OK).all(1).sum()),
        above_chance=int((np.nanmean(top, 1) > chance).sum()),
        core_hours=float(np.nansum(table.seconds) / 3600),
        seconds=_median(table.seconds.astype(np.float64)),
        noise={
            "all": _median(spread),
            "best quarter": _median(spread[quarter]),
        },
        reliability=reliability,
        halves=halves,
        rungs=rungs,
        target=len(target_set(table)),
        top=[(_label(table, row), float(table.truth[row]), accuracy[row]) for row in first],
    )


def _deviation(values: Scores) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _median(values: Scores) -> float:
    """Of what is there; nan where nothing is."""
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else float("nan")


def _mean(values: Scores) -> float:
    """Of what is there; nan where nothing is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _rank(a: Scores, b: Scores) -> float:
    """Spearman's correlation; nan where one side does not vary."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else float("nan")


def _label(table: Table, row: int) -> str:
    named = known_names().get(table.keys[row])
    return named or resolve(table.specs[row]).name


def _plain(value: Json) -> str:
    """A value of the environment in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)


def _count(number: int) -> str:
    """A number as a word, where it is small."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def _units(table: Table) -> str:
    """How many core units the functions have that are not baselines of another kind."""
    space = table.config.space
    least, most = space.min_units, space.max_units
    span = _count(least) if least == most else f"{_count(least)} to {_count(most)}"
    return f"{span} core unit{'' if most == 1 else 's'}"


def _where(table: Table, what: str) -> str:
    """On what and when the children were scored."""
    steps = [f"{n:,}" for n in table.steps]
    if table.config.record.test == "every":
        return f"on validation and test {what} at steps {', '.join(steps)}"
    return f"on validation {what} at steps {', '.join(steps)}, on test {what} at step {steps[-1]}"


def write_card(table: Table, name: str) -> str:
    """The card as Markdown."""
    card, config, unit = make_card(table), table.config, table.scale.fitness
    known = {f.key for f in baselines()} & set(table.keys)
    what = "examples" if ":" in config.data.name else "images"
    counts = table.about.get("images", {})
    words = {"train": "training", "validation": "validation"}
    taken = "".join(f", {n:,} for {words[name]}" for name, n in counts.items())
    sign = "minus the loss in nats" if unit == "loss" else "accuracy, 0 to 1"
    lines = [
        f"# Recorded table `{name}`",
        "",
        f"{card.functions:,} distinct activation functions of {_units(table)} (and the "
        f"{_count(len(known))} baselines), each trained from {min(card.replicates)} or more seeds: "
        f"`{config.network.name}` of width {config.network.width} on {config.data.name}, "
        f"{config.training.steps} steps of {config.training.batch_size} {what}{taken}. "
        f"{card.trainings:,} trainings, {card.core_hours:.1f} core-hours of training, "
        f"{card.seconds:.2f} s each (median).",
        "",
        f"Scores ({sign}) and accuracies {_where(table, what)}. A search sees one of the first "
        f"{NOISE} replicates of each function; its truth is the mean test score of the others.",
        "",
        "| | |",
        "|---|---|",
        *(f"| functions with {n} replicates | {count:,} |" for n, count in card.replicates.items()),
        f"| finite in every replicate | {card.finite:,}; in none {card.diverged:,} |",
        f"| above chance on validation | {card.above_chance:,} |",
        f"| noise of one replicate, standard deviation (median) | {card.noise['all']:.4f}; in the "
        f"best quarter {card.noise['best quarter']:.4f} |",
        f"| target set: within one standard error of the best, or the best thousandth | "
        f"{card.target} |",
        "",
        "## How well functions are told apart",
        "",
        "Split-half rank correlation of the validation score (95% interval over functions), of the "
        "mean over so many replicates with that over as many others:",
        "",
        "| functions | replicates in a half | correlation |",
        "|---|---|---|",
        *(
            f"| {share} | {card.halves[share]} | {i.mean:.2f} ({i.low:.2f} to {i.high:.2f}) |"
            for share, i in card.reliability.items()
        ),
        "",
        "Rank correlation of a low rung with the top (other replicates):",
        "",
        "| steps | all | best quarter |",
        "|---|---|---|",
        *(f"| {steps} | {a:.2f} | {b:.2f} |" for steps, (a, b) in card.rungs.items()),
        "",
        f"## The best {len(card.top)}",
        "",
        f"| function | true score ({unit}, higher is better) | test accuracy |",
        "|---|---|---|",
        *(
            f"| `{label.replace('|', chr(92) + '|')}` | {score:.4f} | {accuracy:.2%} |"
            for label, score, accuracy in card.top
        ),
        "",
    ]
    made = {k: v for k, v in table.about.items() if k not in NOT_MADE}
    if made:
        lines += ["## Recorded with", "", *(f"- {k}: {_plain(v)}" for k, v in made.items()), ""]
    return "\n".join(lines)
