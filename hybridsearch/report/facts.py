"""What a report says of a run, read off its records: plain values, nothing drawn."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridsearch.analysis.runs import Run
from hybridsearch.analysis.tables import sentence
from hybridsearch.fidelity import rung_steps
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BETA_START, BINARY, UNARY
from hybridsearch.types import Json

Floats = NDArray[np.float64]
WINDOWS = 24  # parts of a run over which shares are taken
LEAST = 8  # proposals of a window
BEST = 0.1  # the share of the fully trained functions that counts as the best
GRID = np.linspace(-4, 4, 161)


@dataclass(frozen=True)
class Windowed:
    """Shares over the course of a run. at: [windows] proposals so far, the middle of each. values:
    name -> [windows].
    """

    at: Floats
    values: dict[str, Floats]


@dataclass(frozen=True)
class Common:
    """A token or a shape, how often among the best and among all."""

    name: str
    best: float
    all: float

    @property
    def times(self) -> float:
        """How many times as often among the best."""
        return self.best / self.all if self.all else math.inf


@dataclass(frozen=True)
class Cost:
    """What a run took and what it was spared. Steps are the optimiser's; several trainings run side
    by side, so their seconds are more than those of the search.
    """

    functions: int
    proposals: int
    rejected: int
    search_seconds: float
    retest_seconds: float
    training_seconds: float
    cached_seconds: float
    cached: int
    steps: int
    full_steps: int


def verdict(run: Run) -> str:
    """The verdict in a sentence, or that there is none yet."""
    return sentence(run.summary) if run.summary else "the run is not finished"


def best_so_far(run: Run) -> tuple[Floats, Floats]:
    """Distinct functions evaluated, and the best fitness of a fully trained one by then; nan before
    there is one.
    """
    full = {o["order"] for o in run.fully_trained}
    fitness = [o["fitness"] if o["order"] in full else -math.inf for o in run.distinct]
    best = np.maximum.accumulate(np.array(fitness, dtype=np.float64)) if fitness else np.zeros(0)
    return np.arange(1.0, len(best) + 1), np.where(np.isfinite(best), best, np.nan)


def controllers(run: Run) -> list[dict[str, Json]]:
    """The proposals that the RNN controller made, in their order."""
    return [o for o in run.outcomes if o["proposer"] == "rl"]


def token_shares(outcomes: Sequence[dict[str, Json]]) -> Windowed | None:
    """Per window the share of proposals that have a function in them at all; None where there are
    too few proposals to say anything. It estimates how probable the policy made it.
    """
    parts = _windows(len(outcomes))
    if len(parts) < 2:
        return None
    names = [*UNARY, *BINARY]
    has = np.array([[name in o["genome"].split() for name in names] for o in outcomes])
    means = np.array([has[low:high].mean(0) for low, high in parts])
    return Windowed(_middles(parts), {name: means[:, k] for k, name in enumerate(names)})


def diversity(run: Run) -> Windowed | None:
    """Per window of proposals: the share of them that was new to the run, and the effective number
    of functions (the exponential of the entropy of all tokens in them).
    """
    outcomes = run.outcomes
    parts = _windows(len(outcomes))
    if len(parts) < 2:
        return None
    new = [float(np.mean([not o["known"] for o in outcomes[a:b]])) for a, b in parts]
    kinds = [_effective(o["genome"] for o in outcomes[a:b]) for a, b in parts]
    return Windowed(
        _middles(parts), {"new functions": np.array(new), "effective tokens": np.array(kinds)}
    )


def _effective(genomes: Iterable[str]) -> float:
    counts = Counter(t for genome in genomes for t in genome.split() if t in UNARY or t in BINARY)
    shares = np.array(list(counts.values()), dtype=np.float64)
    shares /= shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _windows(count: int) -> list[tuple[int, int]]:
    """The parts of `count` proposals: at most WINDOWS, of at least LEAST each."""
    number = min(WINDOWS, count // LEAST)
    edges = np.linspace(0, count, number + 1).round().astype(int).tolist() if number else []
    return list(pairwise(edges))


def _middles(parts: Sequence[tuple[int, int]]) -> Floats:
    return np.array([(low + high) / 2 for low, high in parts])


def fully_trained(run: Run) -> list[dict[str, Json]]:
    """Outcomes of what was trained to the end, the best first."""
    return sorted(run.fully_trained, key=lambda o: -float(o["fitness"]))


def common_tokens(run: Run) -> list[Common]:
    """The functions that stand more often among the best tenth of those trained to the end than
    among all that were evaluated, the most telling first.
    """
    best = fully_trained(run)
    best = best[: max(1, round(BEST * len(run.distinct)))]
    return _common(
        [set(o["function"].split()) & {*UNARY, *BINARY} for o in best],
        [set(o["function"].split()) & {*UNARY, *BINARY} for o in run.distinct],
    )


def common_shapes(run: Run) -> list[Common]:
    """The same of shapes on (-4, 4), betas at their start."""
    best = fully_trained(run)[: max(1, round(BEST * len(run.distinct)))]
    return _common(
        _shapes([o["function"] for o in best]), _shapes([o["function"] for o in run.distinct])
    )


def _common(best: Sequence[set[str]], all_: Sequence[set[str]]) -> list[Common]:
    if not best or not all_:
        return []
    counts, every = Counter(n for s in best for n in s), Counter(n for s in all_ for n in s)
    found = [Common(n, counts[n] / len(best), every[n] / len(all_)) for n in every]
    return sorted((c for c in found if c.best > 0), key=lambda c: (-c.best, -c.times))


def _shapes(functions: Sequence[str]) -> list[set[str]]:
    if not functions:
        return []
    genomes = [Genome.from_text(f).tokens for f in functions]
    found = behaviour(genomes, GRID, np.full((1, 1), BETA_START))
    return [shape(v, s) for v, s in zip(found.values[:, 0], found.slopes[:, 0], strict=True)]


def shape(value: Floats, slope: Floats) -> set[str]:
    """Words for a curve on GRID; value, slope: [points]."""
    if not np.isfinite(value).all():
        return {"not finite everywhere"}
    size = float(np.ptp(value)) or 1.0
    near = 0.02 * size
    steps = np.diff(value)
    words = set()
    if (steps >= -near / 100).all() or (steps <= near / 100).all():
        words.add("monotone")
    if np.abs(value - value[::-1]).max() < near:
        words.add("even")
    elif np.abs(value + value[::-1]).max() < near:
        words.add("odd")
    if np.ptp(value[-20:]) < near and np.ptp(value[:20]) < near:
        words.add("flat on both sides")
    elif np.ptp(value[-20:]) < near or np.ptp(value[:20]) < near:
        words.add("flat on one side")
    if abs(value[len(value) // 2]) < 1e-6:
        words.add("0 at 0")
    if np.abs(np.diff(slope)).max() > 0.3 * float(np.ptp(slope)):
        words.add("has a kink")
    if np.ptp(slope) < 1e-9:
        words -= {"has a kink"}
    return words or {"other"}


def promotion(run: Run) -> list[tuple[int, int]]:
    """(steps, functions that came so far), rung by rung."""
    steps = rung_steps(run.config.fidelity, run.config.training.steps)
    return [(s, sum(o["rung"] >= k for o in run.distinct)) for k, s in enumerate(steps)]


def rejections(run: Run) -> list[tuple[str, int]]:
    """Why proposals were not trained, the most frequent first."""
    reasons = Counter(o["message"].split(":")[0] for o in run.outcomes if o["status"] == "rejected")
    return reasons.most_common()


def cost(run: Run) -> Cost:
    """What the run took. Of a run that is not finished, so far."""
    spent = (run.summary or {}).get("budgets", {})
    about = [v for p, v in run.trials if p["kind"] == "evaluation"]
    steps = run.config.training.steps
    return Cost(
        functions=len(run.distinct),
        proposals=len(run.outcomes),
        rejected=sum(o["status"] == "rejected" and not o["known"] for o in run.outcomes),
        search_seconds=float(spent.get("seconds", 0.0)),
        retest_seconds=float((run.summary or {}).get("retest_seconds", 0.0)),
        training_seconds=sum(v["seconds"] for v in about if not v["cached"]),
        cached_seconds=sum(v["seconds"] for v in about if v["cached"]),
        cached=sum(bool(v["cached"]) for v in about),
        steps=int(spent.get("training_steps", 0)),
        full_steps=steps * len(run.distinct),
    )


def command(run: Run) -> str:
    """The command that repeats the run, with its settings from its own folder."""
    words = run.environment.get("command") or []
    if words and Path(str(words[0])).name == "__main__.py":
        return shlex.join(["python", "-m", "hybridsearch", *map(str, words[1:])])
    config = run.folder / "config.yaml"
    return shlex.join(["python", "-m", "hybridsearch", "--config", str(config), "--out", "NEW"])
