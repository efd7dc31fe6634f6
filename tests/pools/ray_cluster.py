"""A Ray cluster of separate processes over loopback, whose nodes tests add and kill."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "HYBRIDSEARCH_TEST_NODE"  # an environment variable by which a node's processes are found


def free_port():
    """One that neither the system gives out by itself nor Ray, whose processes take many."""
    while True:
        port = random.randrange(24100, 32000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port


def environment(path=ROOT, **more):
    """What a process of a cluster is started with: `path` holds the package."""
    given = {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    # Without it Ray refuses GPUs that are only declared: the tests hide all there are.
    ours = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    # Else Ray asks for a token where some earlier Ray of this user left one.
    return {**ours, **given, "RAY_AUTH_MODE": "disabled", **more}


def marked(mark):
    """The processes that were started with a mark, and what they started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def kill(mark):
    """Kill the processes of a mark until there are none."""
    end = time.monotonic() + 30
    while (pids := marked(mark)) and time.monotonic() < end:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    assert not marked(mark)


class Cluster:
    """A head that runs no jobs, and nodes. Its folder has a short name: sockets lie in it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="hs-ray-", dir="/tmp"))
        self.work = self.folder / "work"  # where its processes work: no files of the user's
        self.work.mkdir()
        self.port, self.client = free_port(), free_port()
        self.pool = f"ray://127.0.0.1:{self.client}"
        self.started = {}  # `ray start` of each mark
        self.numbers = itertools.count()
        self.start_head()

    def start_head(self):
        ports = ("--port", str(self.port), "--ray-client-server-port", str(self.client))
        temporary = ("--temp-dir", str(self.folder / "t"))
        self._start("--head", *ports, "--num-cpus", "0", *temporary)

    def node(self, *words, path=ROOT, cpus=3, **env):
        """Start a node with its workers; its mark. path: where their package is."""
        address = ("--address", f"127.0.0.1:{self.port}", "--num-cpus", str(cpus))
        return self._start(*address, *words, path=path, **env)

    def _start(self, *words, path=ROOT, **env):
        mark = f"{self.folder.name}-{next(self.numbers)}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--block"]
        command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", "80000000"]
        command += ["--include-dashboard", "false"] if "--head" in words else []
        log = self.folder / f"log-{mark}"
        with log.open("wb") as file:
            self.started[mark] = subprocess.Popen(
                command,
                cwd=self.work,
                env=environment(path, **env, **{MARK: mark}),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + 90
        while b"--block" not in log.read_bytes():  # said when it is up
            if self.started[mark].poll() is not None or time.monotonic() > end:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        return mark

    def kill(self, mark):
        """End a node at once."""
        kill(mark)
        self.started.pop(mark).wait()

    def stop(self):
        """End all its processes, at once."""
        for mark in list(self.started)[::-1]:
            self.kill(mark)

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)
