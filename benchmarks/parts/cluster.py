"""Real clusters of this machine's processes that talk over loopback: what a job costs beside its
training, and whether every pool gives the same records.
"""

from __future__ import annotations

import contextlib
import operator
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import Config, make_config
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.worker import Job
from hybridsearch.pools import dask
from hybridsearch.session import search
from hybridsearch.types import Json

ROOT = Path(__file__).resolve().parents[2]


Start = Callable[..., None]


@contextlib.contextmanager
def _processes(**more: str) -> Iterator[tuple[Start, Path]]:
    """What starts a module as a process, in a folder of their own, for as long as the context
    lasts. more: of their environment.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hs-", ignore_cleanup_errors=True) as name:

        def start(module: str, *words: str) -> None:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *words],
                    cwd=name,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

        try:
            yield start, Path(name)
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                process.wait(60)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Overhead:
    """milliseconds: wall clock per job, of each round. workers: of one slot each."""

    milliseconds: list[float]
    workers: int
    jobs: int


@contextlib.contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """A cluster for as long as the context lasts; what `--pool` takes to use it."""
    from distributed import Client

    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    with _processes() as (start, folder):
        listen = ("--host", "127.0.0.1", "--port", str(port), "--no-show", "--no-dashboard")
        start("distributed.cli.dask_scheduler", *listen)
        words = ("--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder))
        for _ in range(workers):
            start("distributed.cli.dask_worker", address, *words, "--no-dashboard")
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
        yield f"dask://127.0.0.1:{port}"


@contextlib.contextmanager
def ray_cluster(workers: int) -> Iterator[str]:
    """As `dask_cluster`: a head with a client server, which is also the node that works."""
    head, client = _free_port(), _free_port()
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with _processes(**quiet) as (start, folder):
        ports = ("--port", str(head), "--ray-client-server-port", str(client))
        small = ("--object-store-memory", "80000000", "--include-dashboard", "false")
        here = ("--node-ip-address", "127.0.0.1", "--temp-dir", str(folder / "t"))
        size = ("--num-cpus", str(workers), "--block")
        start("ray.scripts.scripts", "start", "--head", *ports, *small, *here, *size)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", client), 1).close()
                break
            time.sleep(0.2)
        yield f"ray://127.0.0.1:{client}"


@contextlib.contextmanager
def _local(workers: int) -> Iterator[str]:
    yield "loky"


POOLS = {"loky": _local, "dask": dask_cluster, "ray": ray_cluster}


def records(name: str, workers: int = 3) -> list[Json]:
    """What a small search writes into its log, of what no machine and no time decides. name: of one
    of `POOLS`.
    """
    with POOLS[name](workers) as pool, tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Json] = {
            "strategy": "hybrid",
            "budget": 24,
            "batch": 4,
            "pipeline": 3,
            "workers": 2,
            "device": "cpu",
            "pool": pool,
            "training": {"steps": 60},
            "retest": {"seeds": 2, "finalists": 1},
            "race": {"candidates": 3, "seeds": 2},
        }
        search(make_config(settings), Path(folder, "runs", name))
        return [payload for payload, _ in load_run(Path(folder, "runs", name)).trials]


def overhead(workers: int = 3, jobs: int = 400, rounds: int = 5, alone: bool = False) -> Overhead:
    """Wall clock per job of jobs that are as large as those of a search and do nothing.

    A first round, which is not counted, starts the processes and loads the data. alone: every job
    is a task, as long ones are; else several short ones are sent together.
    """
    most = 1 if alone else dask.MANY
    together = mock.patch.object(dask, "MANY", most)
    with together, dask_cluster(workers) as pool, tempfile.TemporaryDirectory() as folder:
        evaluator = TrainingEvaluator(Config(pool=pool, device="cpu"), Path(folder))
        try:
            task = evaluator.task("max(tanh(x), x*beta)", "k" * 32, 150, 1)
            job = Job(evaluator.config, (task,), Path(folder), False, "cpu", 60.0)
            work = {str(k): replace(job, tasks=(replace(task, seed=k),)) for k in range(jobs)}
            found = []
            for _ in range(rounds + 1):
                started = time.perf_counter()
                done = sum(1 for _ in evaluator.pool.run(operator.truth, work, 60.0))
                assert done == jobs
                found.append((time.perf_counter() - started) / jobs * 1000)
            return Overhead(found[1:], evaluator.pool.workers, jobs)
        finally:
            evaluator.close()
