"""A Dask cluster of separate processes over loopback, which tests kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

Client = pytest.importorskip("distributed").Client
ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(path=ROOT, **more):
    """What a process of a cluster is started with: `path` holds the package."""
    return {
        **os.environ,
        "PYTHONPATH": str(path),
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
        **more,
    }


class Cluster:
    """folder: where its processes work and write their logs; none of the user's files are there."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.pool, self.address = f"dask://127.0.0.1:{self.port}", f"tcp://127.0.0.1:{self.port}"
        self.processes = []
        self.scheduler = self.start_scheduler()

    def _start(self, module, *words, env):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log:
            made = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        self.processes.append(made)
        return made

    def start_scheduler(self):
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--no-show")
        made = self._start("dask_scheduler", *words, env=environment())
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return made
            time.sleep(0.1)
        raise TimeoutError("the scheduler does not come up")

    def worker(self, *words, path=ROOT, **env):
        """Start a worker under its nanny. path: where its package is."""
        words = (self.address, "--nthreads", "1", "--memory-limit", "0", *words)
        words += ("--local-directory", str(self.folder))
        return self._start("dask_worker", *words, env=environment(path, **env))

    def await_workers(self, number):
        """Until so many are there."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=120)

    def close(self):
        for process in reversed(self.processes):
            for pid in (*children(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def children(pid):
    """The processes that a process started, and theirs."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *children(child)]
    return found
