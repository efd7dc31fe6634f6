"""Does the RNN controller learn? Against random search on synthetic functions, many seeds.

    python benchmarks/controller.py [--quick] [--seeds N] [--seeds-from K] [--json FILE]

The rewards are made up, so that a run takes a second, but keep what is hard about real ones: they
are products of factors of *pairs* of tokens (no token is good alone), the real preflight rejects
at no cost, a part of the rest diverges at the reward of chance, the top is rare, and every
function has noise. Development used seeds 0-29 on objectives 0 and 1; the defaults report others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hybridsearch.config import ControllerConfig
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.canonical import BETAS, FINGERPRINT_POINTS
from hybridsearch.genome.preflight import Inspection, inspect
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import Space, Tokens, Unit, to_tokens, to_units
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.propose.random import RandomProposer
from hybridsearch.types import Outcome, Proposer, Status

Array = NDArray[np.float64]
SPACES = {"one unit": Space(1, 1), "two units": Space(1, 2)}
BATCH, BUDGET, EARLY = 32, 1000, 300  # 300 is the default budget of a search
MOST_PROPOSALS = 20 * BUDGET
GROWTH = 10.0  # training "diverges" where |f| exceeds this on [-5, 5]: a third of the programs
MAIN = 0.5  # deviation of a token's own effect, where that of a pair is 1
MEDIAN = 0.2  # reward of the median function that trains
NOISE = 0.02  # standard deviation of a function's reward
POINTS = FINGERPRINT_POINTS[np.abs(FINGERPRINT_POINTS) <= 5]
B = {token: k for k, token in enumerate(BINARY)}
U = {token: k for k, token in enumerate(UNARY)}


class Objective:
    """A made-up reward of canonical functions, in 0..1; the best function has 1."""

    def __init__(self, space: Space, seed: int) -> None:
        rng = np.random.default_rng([20171016, seed])
        self._space = space

        def table(rows: int, columns: int) -> Array:
            factors = rng.normal(size=(rows, columns))
            factors += MAIN * (rng.normal(size=(rows, 1)) + rng.normal(size=columns))
            return factors

        b, u = len(B), len(U)
        self._left = [table(b, u) for _ in range(space.max_units)]
        self._right = [table(b, u) for _ in range(space.max_units)]
        self._both = [table(u, u) for _ in range(space.max_units)]
        self._wiring = rng.normal(size=(2, u, space.max_units))
        self._units = rng.normal(size=(b, b))
        self._inspected: dict[Tokens, Inspection] = {}
        self._diverges: dict[Tokens, bool] = {}
        self._top, self._gamma = 0.0, 1.0
        self.best = self._find_best()
        self._top = self._log(self.best)
        draw = np.random.default_rng(0)
        forms = [found.form for found in self.inspect([space.sample(draw) for _ in range(1000)])]
        logs = [self._log(form) for form in forms if not self._diverges[form]]
        self._gamma = float(np.log(MEDIAN) / np.median(logs))

    def inspect(self, genomes: Sequence[Tokens]) -> list[Inspection]:
        missing = list({g for g in genomes if g not in self._inspected})
        if missing:
            found = inspect(missing)
            self._inspected.update(zip(missing, found, strict=True))
            values = behaviour([f.form for f in found], POINTS, BETAS[:1]).values[:, 0]
            grows = ~(np.abs(values).max(axis=1) <= GROWTH)
            self._diverges.update(zip((f.form for f in found), grows.tolist(), strict=True))
        return [self._inspected[g] for g in genomes]

    def reward(self, form: Tokens) -> float:
        """Without noise, for a normal form that was inspected; 0 where training diverges."""
        return 0.0 if self._diverges[form] else float(np.exp(self._gamma * self._log(form)))

    def _log(self, form: Tokens) -> float:
        units = to_units(form)
        total = sum(self._unit(k, unit) for k, unit in enumerate(units))
        if len(units) == 2:
            total += self._units[B[units[0].binary], B[units[1].binary]]
        return float(total) - self._top

    def _unit(self, k: int, unit: Unit) -> float:
        b, u1, u2 = B[unit.binary], U[unit.unary1], U[unit.unary2]
        value = self._left[k][b, u1] + self._right[k][b, u2] + self._both[k][u1, u2]
        if k:
            value += self._wiring[0, u1, unit.input1] + self._wiring[1, u2, unit.input2]
        return float(value)

    def _find_best(self) -> Tokens:
        """The optimum over the normal forms that pass preflight: the first, best first."""
        firsts = [Unit(*c) for c in product(B, U, (0,), U, (0,))]
        if self._space.max_units == 1:
            pairs = [(u,) for u in sorted(firsts, key=lambda u: -self._unit(0, u))]
        else:
            inputs = (0, 1)
            seconds = [Unit(*c) for c in product(B, U, inputs, U, inputs) if 1 in (c[2], c[4])]
            top1 = sorted(firsts, key=lambda u: -self._unit(0, u))[:400]
            top2 = sorted(seconds, key=lambda u: -self._unit(1, u))[:400]
            pairs = sorted(product(top1, top2), key=lambda p: -self._log(to_tokens(p)))
        for pair in pairs:
            tokens = to_tokens(pair)
            found = self.inspect([tokens])[0]
            if found.form == tokens and not found.rejected and not self._diverges[tokens]:
                return tokens
        raise AssertionError("no function of the space passes preflight")


@dataclass(frozen=True)
class Run:
    """true: noise-free rewards of the distinct functions evaluated, in order."""

    true: Array
    distinct: int  # functions proposed, with the rejected ones
    proposals: int
    seconds: float  # inside ask and tell

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "mean of the last tenth": float(self.true[-BUDGET // 10 :].mean()),
            "best": float(self.true.max()),
            "best, sooner": float(self.true.max() - 1e-6 * self.true.argmax()),
            f"mean of 1-{EARLY}": float(self.true[:EARLY].mean()),
            f"best of 1-{EARLY}": float(self.true[:EARLY].max()),
        }


def search(proposer: Proposer, objective: Objective, seed: int) -> Run:
    """The loop of a search without training: repeats are told but cost nothing."""
    noise = np.random.default_rng([seed, 1])
    rewards: dict[str, float] = {}
    true: list[float] = []
    proposals, seconds = 0, 0.0
    while len(true) < BUDGET and proposals < MOST_PROPOSALS:
        start = time.perf_counter()
        asked = proposer.ask(BATCH)
        seconds += time.perf_counter() - start
        proposals += len(asked)
        outcomes = []
        for proposal, seen in zip(
            asked, objective.inspect([p.genome.tokens for p in asked]), strict=True
        ):
            known = seen.key in rewards
            status = Status.REJECTED if seen.rejected else Status.OK
            if not known:
                value = 0.0 if seen.rejected else objective.reward(seen.form)
                noisy = value + NOISE * noise.normal() if value else 0.0
                rewards[seen.key] = min(max(noisy, 0.0), 1.0)
                if not seen.rejected:
                    true.append(value)
            reward = rewards[seen.key]
            outcomes.append(Outcome(proposal, seen.key, status, reward, reward, known=known))
        start = time.perf_counter()
        proposer.tell(outcomes)
        seconds += time.perf_counter() - start
    return Run(np.array(true[:BUDGET]), len(rewards), proposals, seconds)


def superiority(a: Array, b: Array, resamples: int = 4000) -> tuple[float, float, float]:
    """P(a > b) + P(a = b) / 2 over all pairs of seeds, with its 95% bootstrap interval."""
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    rng = np.random.default_rng(0)
    rows = rng.integers(len(a), size=(resamples, len(a)))
    columns = rng.integers(len(b), size=(resamples, len(b)))
    means = [wins[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(wins.mean()), float(low), float(high)


def measure(
    seeds: range, objective_seed: int, config: ControllerConfig
) -> list[dict[str, Any]]:
    """One record per space and metric."""
    records = []
    for label, space in SPACES.items():
        objective = Objective(space, objective_seed)
        runs = {
            "rl": [search(ControllerProposer(space, config, s), objective, s) for s in seeds],
            "random": [search(RandomProposer(space, s), objective, s) for s in seeds],
        }
        calls = sum(run.proposals / BATCH for run in runs["rl"])
        for metric in runs["rl"][0].metrics:
            values = {k: np.array([r.metrics[metric] for r in v]) for k, v in runs.items()}
            p, low, high = superiority(values["rl"], values["random"])
            records.append(
                {
                    "space": label,
                    "objective": objective_seed,
                    "metric": metric,
                    "rl": float(values["rl"].mean()),
                    "random": float(values["random"].mean()),
                    "p_better": p,
                    "low": low,
                    "high": high,
                    "rl_met_optimum": float(np.mean([r.true.max() == 1 for r in runs["rl"]])),
                    "random_met_optimum": float(
                        np.mean([r.true.max() == 1 for r in runs["random"]])
                    ),
                    "fewest_distinct": min(r.distinct for r in runs["rl"]),
                    "evaluations": min(len(r.true) for r in runs["rl"]),
                    "proposals": float(np.mean([r.proposals for r in runs["rl"]])),
                    "ms_per_batch": 1e3 * sum(r.seconds for r in runs["rl"]) / calls,
                }
            )
    return records


if __name__ == "__main__":
    import sys
    torch.set_num_threads(1)
    for spec in sys.argv[2:] or [""]:
        cfg = ControllerConfig(**{k: float(v) if '.' in v or 'e' in v else int(v) for k, v in (x.split("=") for x in spec.split(",") if x)})
        t = time.time()
        out = []
        for obj in (0, 1):
            for r in measure(range(int(sys.argv[1])), obj, cfg):
                out.append(r)
        print(spec, f"{time.time()-t:.0f}s")
        for r in out:
            print("  ", r["objective"], r["space"][:3], f"{r['metric']:24s} rl {r['rl']:.3f} rnd {r['random']:.3f} P {r['p_better']:.2f} [{r['low']:.2f} {r['high']:.2f}] opt {r['rl_met_optimum']:.2f}/{r['random_met_optimum']:.2f} dist {r['fewest_distinct']} ev {r['evaluations']} prop {r['proposals']:.0f} ms {r['ms_per_batch']:.1f}", flush=True)
