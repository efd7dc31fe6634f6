"""What a report says of a run, read off its records: plain values, nothing drawn."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridsearch.analysis.course import Floats
from hybridsearch.analysis.runs import CONFIG, Run
from hybridsearch.fidelity import rung_steps
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BETA_START, BINARY, UNARY
from hybridsearch.types import Json

BEST = 0.1  # so many of all functions, at most, are the best; only fully trained ones count
FEW = 10  # of the best below which what they have in common is chance
GRID = np.linspace(-4, 4, 161)


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
    by side, so their seconds are more than those of the search, which are not known (None) before
    it is finished.
    """

    functions: int
    proposals: int
    rejected: int
    search_seconds: float | None
    retest_seconds: float | None
    training_seconds: float
    cached_seconds: float
    cached: int
    steps: int
    full_steps: int


def controllers(run: Run) -> list[dict[str, Json]]:
    """The proposals that the RNN controller made, in their order."""
    return [o for o in run.outcomes if o["proposer"] == "rl"]


def fully_trained(run: Run) -> list[dict[str, Json]]:
    """Outcomes of what was trained to the end, the best first."""
    return sorted(run.fully_trained, key=lambda o: -float(o["fitness"]))


def common_tokens(run: Run) -> list[Common]:
    """The functions that the best hold, how often they and all that were evaluated do, the most
    frequent first.
    """
    those = best(run)
    return _common(
        [set(o["function"].split()) & {*UNARY, *BINARY} for o in those],
        [set(o["function"].split()) & {*UNARY, *BINARY} for o in run.distinct],
    )


def common_shapes(run: Run) -> list[Common]:
    """The same of shapes on (-4, 4), betas at their start."""
    those = best(run)
    return _common(
        _shapes([o["function"] for o in those]), _shapes([o["function"] for o in run.distinct])
    )


def best(run: Run) -> list[dict[str, Json]]:
    """The best of those trained to the end, as many as a tenth of all that were evaluated: under
    early stopping these may be all that came so far. None of them where they are few.
    """
    those = fully_trained(run)[: round(BEST * len(run.distinct))]
    return those if len(those) >= FEW else []


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
    rungs = rung_steps(run.config.fidelity, steps)
    so_far = sum(rungs[o["rung"]] for o in run.distinct if o["rung"] >= 0)
    return Cost(
        functions=len(run.distinct),
        proposals=len(run.outcomes),
        rejected=sum(o["status"] == "rejected" and not o["known"] for o in run.outcomes),
        search_seconds=spent.get("seconds"),
        retest_seconds=(run.summary or {}).get("retest_seconds"),
        training_seconds=sum(v["seconds"] for v in about if not v["cached"]),
        cached_seconds=sum(v["seconds"] for v in about if v["cached"]),
        cached=sum(bool(v["cached"]) for v in about),
        steps=int(spent.get("training_steps", so_far)),
        full_steps=steps * len(run.distinct),
    )


def command(run: Run) -> str:
    """The command that repeats the run, in another folder where it named one, which holds a run
    now. Where it was no search that made it (a comparison, a program of the user's) its settings
    are those in its folder.
    """
    words = list(map(str, run.environment.get("command") or []))
    if words and _is_search(words):
        for place, word in enumerate(words):
            if word.startswith("--out="):
                words[place] = "--out=NEW"
            elif words[place - 1] == "--out":
                words[place] = "NEW"
        return shlex.join(["python", "-m", "hybridsearch", *words[1:]])
    config = run.folder / CONFIG
    return shlex.join(["python", "-m", "hybridsearch", "--config", str(config), "--out", "NEW"])


def _is_search(words: Sequence[str]) -> bool:
    """Whether the words of a process, its program first, are those of a search from the command
    line, which has no command word.
    """
    program = Path(words[0])
    ours = program.name == "__main__.py" and program.parent.name == "hybridsearch"
    return ours and (len(words) == 1 or words[1].startswith("-"))
