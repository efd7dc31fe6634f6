"""What a job costs beside its training on a Dask cluster: scheduler and workers are processes of
this machine that talk over loopback.
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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hybridsearch.config import Config
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.worker import Job

ROOT = Path(__file__).resolve().parents[2]


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

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def start(module: str, *words: str) -> None:
            command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes.append(subprocess.Popen(command, cwd=folder, env=environment, **quiet))

        try:
            start("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-show")
            for _ in range(workers):
                words = ("--nthreads", "1", "--memory-limit", "0", "--local-directory", folder)
                start("dask_worker", address, *words)
            with Client(address, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=120)
            yield f"dask://127.0.0.1:{port}"
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(30)


def overhead(workers: int = 3, jobs: int = 400, rounds: int = 5) -> Overhead:
    """Wall clock per job of jobs that are as large as those of a search and do nothing.

    A first round, which is not counted, starts the processes and loads the data.
    """
    with dask_cluster(workers) as pool, tempfile.TemporaryDirectory() as folder:
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
