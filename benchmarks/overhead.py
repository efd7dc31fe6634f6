"""What the engine costs beside the trainings, and how many free trials it does in a second.

    python benchmarks/overhead.py [--quick] [--json FILE]

Share: a search with real trainings runs in warm worker processes. The share of a batch is the time
of its workers that no training covers (proposing, hashing, cache, log, checkpoint, scheduling,
transport), per second of training: (wall time * workers - seconds of trainings) / seconds of
trainings. Proposals are the strategy's own but in one row, where a screen chooses them. It is
measured with one worker; with two, a worker that waits for the last training of a rung counts as
well, which is why that share stands apart. Intervals resample batches.

Free trials: the same engine, log, cache and checkpoints with an evaluator that returns at once, and
Optuna (random sampler, SQLite), in turn. A trial of this engine is a distinct function evaluated;
of Optuna any trial. Optuna runs at its default and with `synchronous = OFF`, which survives a kill
of the process and no power loss (this engine's log survives both but for the last 100 ms); the
faster one counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from free import optuna_rate, own_rate, search
from reporting import add_arguments, print_table, write_json
from synthetic import data_config
from threadpoolctl import threadpool_limits
from timing import entries, median, ratio, show

from hybridsearch.config import Config, ScreenConfig, load_config
from hybridsearch.engine import Search
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.worker import measure
from hybridsearch.observe import Silent, Snapshot
from hybridsearch.pools.loky import LokyPool
from hybridsearch.recorder import Recorder
from hybridsearch.session import make_proposer
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog
from hybridsearch.threads import one_thread
from hybridsearch.types import Evaluation, Task


@dataclass
class Batch:
    """Seconds of a batch: on the clock, in `evaluate`, of trainings, of this process's core."""

    wall: float = 0.0
    inside: float = 0.0
    trained: float = 0.0
    driver: float = 0.0


class Watch(Silent):
    """An evaluator and an observer that keep the time of every batch."""

    def __init__(self, evaluator: TrainingEvaluator) -> None:
        self.evaluator = evaluator
        self.batches: list[Batch] = []
        self._batch = Batch()
        self._since: tuple[float, float] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.evaluator, name)

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        begin = time.perf_counter()
        for result in self.evaluator.evaluate(tasks, keep_below):
            self._batch.trained += result.seconds
            yield result
        self._batch.inside += time.perf_counter() - begin

    def snapshot(self, now: Snapshot) -> None:
        clock = time.perf_counter(), time.process_time()
        if self._since is not None:
            self._batch.wall = clock[0] - self._since[0]
            self._batch.driver = clock[1] - self._since[1]
            self.batches.append(self._batch)
        self._batch, self._since = Batch(), clock


@dataclass
class Share:
    """The shares of one search; `engine` is what is asked for, the others say where it goes."""

    name: str
    workers: int
    batches: list[Batch] = field(default_factory=list)

    def _per_training(self, part: str) -> dict[str, Any]:
        w = self.workers
        parts = {
            "engine": [b.wall * w - b.trained for b in self.batches],
            "outside": [(b.wall - b.inside) * w for b in self.batches],
            "inside": [b.inside * w - b.trained for b in self.batches],
            "driver": [b.driver for b in self.batches],
        }
        return dict(ratio(parts[part], [b.trained for b in self.batches]))

    def row(self) -> list[str]:
        shown = [self._per_training(p) for p in ("engine", "outside", "inside", "driver")]
        texts = [f"{s['median']:.2%}" for s in shown]
        texts[0] += f" ({shown[0]['low']:.2%} to {shown[0]['high']:.2%})"
        seconds = sum(b.trained for b in self.batches)
        return [self.name, str(self.workers), *texts, f"{seconds:.0f} s, {len(self.batches)}"]

    def to_json(self, key: str) -> dict[str, object]:
        result: dict[str, object] = {}
        for part, suffix in (("engine", ""), ("outside", "_outside"), ("driver", "_driver_cpu")):
            result |= entries(key + suffix, self._per_training(part))  # type: ignore[arg-type]
        result[f"{key}_training_seconds"] = sum(b.trained for b in self.batches)
        return result


def nothing(job: int) -> int:
    """A job for the pool that is done at once."""
    return job


def share(name: str, config: Config, workers: int) -> Share:
    """Run a search with real trainings and keep the time of its batches."""
    with tempfile.TemporaryDirectory() as folder, one_thread(), threadpool_limits(1):
        pool = LokyPool(workers)
        evaluator = TrainingEvaluator(config, Path(folder, "children"), pool)
        evaluator.calibrate()
        warm = {str(k): (evaluator.config, evaluator.device) for k in range(2 * workers)}
        list(pool.run(measure, warm, inf))  # every worker has imported torch and read the data
        watch = Watch(evaluator)
        log, cache = RunLog(Path(folder, "log")), Cache(Path(folder, "cache"))
        recorder = Recorder(log, cache, watch)
        Search(config, make_proposer(config), recorder, watch, Path(folder, "checkpoint")).run()
        log.close()
        cache.close()
        evaluator.close()
    return Share(name, workers, watch.batches)


def warm_dispatch(repeats: int) -> list[float]:
    """Milliseconds from handing a warm worker a job that is done at once to its result."""
    pool = LokyPool(1)
    times = []
    for k in range(repeats + 5):
        begin = time.perf_counter()
        list(pool.run(nothing, {"job": k}, 60.0))
        times.append(1000 * (time.perf_counter() - begin))
    pool.close()
    return times[5:]


def growth(functions: int) -> tuple[list[float], float]:
    """Functions per second of processor time by tenths of one long free search (two units,
    random), and the last tenth over the second: below 1 where a run slows down as it grows.
    """
    _, clock = search("random", functions, units=2)
    rates = []
    for tenth in range(10):
        low, high = functions * tenth // 10, functions * (tenth + 1) // 10
        times = [t for t, n in clock.marks if low <= n <= high]
        count = [n for _, n in clock.marks if low <= n <= high]
        rates.append((count[-1] - count[0]) / (times[-1] - times[0]))
    return rates, rates[-1] / rates[1]


def shares(quick: bool) -> list[tuple[str, Share]]:
    """The searches with real trainings, by the key of their share."""
    digits = load_config("digits", budget=32 if quick else 160, pool="loky")
    cifar = load_config("cifar10_small", budget=6 if quick else 48)
    wanted = cifar.data
    images = data_config(wanted.name, wanted.train, wanted.validation, wanted.augment)
    what = "CIFAR-10" if images.name == wanted.name else "noise of CIFAR-10's shape"
    cifar = cifar.model_copy(update={"data": images})
    if quick:
        cifar = cifar.model_copy(update={"batch": 3})
    screened = digits
    digits, cifar = (
        c.model_copy(update={"screen": ScreenConfig(use="off")}) for c in (digits, cifar)
    )
    found = []

    def add(key: str, name: str, config: Config, workers: int, **changes: Any) -> None:
        print(f"{name}, {workers} worker(s) ...", file=sys.stderr, flush=True)
        made = share(name, config.model_copy(update=changes), workers)
        found.append((key, made))

    add("share_digits", "digits CNN, rl", digits, 1, strategy="rl")
    add("share_digits_random", "digits CNN, random", digits, 1, strategy="random")
    add("share_cifar10", f"{what}, ResNet-8, rl", cifar, 1, strategy="rl")
    add("share_digits_screened", "digits CNN, rl under its screen", screened, 1, strategy="rl")
    if not quick:
        mlp = digits.network.model_copy(update={"name": "digits_mlp"})
        add("share_digits_mlp", "digits MLP, rl", digits, 1, strategy="rl", network=mlp)
        add("share_digits_two_workers", "digits CNN, rl", digits, 2, strategy="rl")
        add("share_cifar10_random", f"{what}, ResNet-8, random", cifar, 1, strategy="random")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    if find_spec("optuna") is None:
        print("overhead.py: Optuna is missing; pip install -c constraints.txt -e '.[peers]'")
        sys.exit(2)
    rounds, own, rl, theirs = (3, 1000, 200, 40) if options.quick else (10, 2000, 500, 150)

    search("random", 50)  # the table of one-unit functions is made once per process
    rates: dict[str, list[float]] = {
        name: [] for name in ("random", "proposals", "rl", "default", "off")
    }
    print("free objective ...", file=sys.stderr, flush=True)
    for seed in range(rounds):
        distinct, proposals = own_rate("random", own, seed)
        rates["random"].append(distinct)
        rates["proposals"].append(proposals)
        rates["rl"].append(own_rate("rl", rl, seed)[0])
        rates["default"].append(optuna_rate(max(10, theirs // 4), seed, None))
        rates["off"].append(optuna_rate(theirs, seed, "OFF"))
    best = max(("default", "off"), key=lambda name: float(np.median(rates[name])))
    speedup = median([a / b for a, b in zip(rates["random"], rates[best], strict=True)])
    by_name = {name: median(values) for name, values in rates.items()}
    dispatch = median(warm_dispatch(20 if options.quick else 100))
    tenths, kept = growth(1000 if options.quick else 10_000)
    found = shares(options.quick)

    result: dict[str, object] = {}
    for key, made in found:
        result |= made.to_json(key)
    result |= entries("trials_per_second", by_name["random"])
    result |= entries("trials_per_second_rl", by_name["rl"])
    result |= entries("proposals_per_second", by_name["proposals"])
    result |= entries("optuna_trials_per_second", by_name[best])
    result |= entries("optuna_default_trials_per_second", by_name["default"])
    result |= entries("trials_over_optuna", speedup)
    result |= entries("warm_dispatch_ms", dispatch)
    result |= {"optuna_synchronous": best, "functions_per_second_by_tenths": tenths}
    result |= {"last_tenth_over_second": kept}
    print_table(
        "Time of workers that no training covers, per second of training",
        ["search", "workers", "engine (95% interval)", "outside", "inside", "driver", "n"],
        [made.row() for _, made in found],
        caption="outside: no training handed out; inside: while some are; driver: processor time "
        "of the driving process, which runs beside the workers; n: seconds trained, batches",
    )
    print_table(
        "Free trials per second",
        ["", "median (95% interval)"],
        [
            ["random, distinct functions", show(by_name["random"])],
            ["random, proposals answered", show(by_name["proposals"])],
            ["rl, distinct functions", show(by_name["rl"])],
            ["Optuna, default", show(by_name["default"])],
            ["Optuna, synchronous = OFF", show(by_name["off"])],
            [f"random over Optuna ({best})", show(speedup)],
            ["last tenth of a long run over the second", f"{kept:.2f}"],
            ["warm dispatch, ms", show(dispatch)],
        ],
        caption=f"{rounds} rounds, in turn",
    )
    write_json(options.json, result)


if __name__ == "__main__":
    main()
