"""A driver's connection to a Ray cluster, of which a process has one.

Tasks go out by value and import this package only inside, so that a node without it is told of;
and what they bring back needs nothing of it on the head.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from hybridsearch.errors import UserError
from hybridsearch.extras import need

CONNECT = 5.0  # seconds in which a port must answer
PARTING = 10.0  # seconds that leaving may take
RETRIES = 3  # times that Ray itself starts a task again whose worker or node was lost
WHAT = "a Ray cluster (pool)"

_USERS: list[Link] = []  # links of this process that are open


@dataclass(frozen=True)
class Node:
    """One that is there. slots: jobs that it runs at a time, 0: none."""

    name: str
    slots: int


class LostConnection(Exception):
    """The cluster, or the way to it, is gone, and what was out with it."""


def _work(
    token: str, kit: list[Any], call: bytes, goods: Mapping[tuple[str, str], Any]
) -> tuple[str, str, bytes | str]:
    """The node, and what `ray_worker.work` gives there, which may be that it cannot."""
    import socket

    import ray

    node = ray.get_runtime_context().get_node_id()
    try:
        from hybridsearch.pools.ray_worker import work

        return (node, *work(token, kit, call, goods))
    except Exception as error:
        return (
            node,
            "refused",
            f"worker {ray.util.get_node_ip_address()} (Ray node {node[:8]}) on "
            f"{socket.gethostname()} cannot take up work ({type(error).__name__}: {error}): "
            "install the driver's version of hybridsearch there",
        )


def _leave(token: str, seconds: float) -> None:
    """Close the station of a process, and keep it busy so that others are asked too."""
    import contextlib
    import time

    with contextlib.suppress(Exception):
        from hybridsearch.pools.ray_worker import leave

        leave(token)
    time.sleep(seconds)


def _by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one of a script, which pickles with its code and names no module."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__, {"__builtins__": builtins}, function.__name__)
    copy.__module__ = "__main__"
    return copy


def _reach(address: str) -> None:
    """See that a port answers. Raises: UserError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
    except (OSError, ValueError) as error:
        raise UserError(_nobody(address, str(error))) from error


def _nobody(address: str, why: str) -> str:
    lines = why.strip().splitlines() or ["no answer"]
    return (  # the last line: some are tracebacks of the head
        f"pool: no Ray cluster answers at {address} ({lines[-1].strip()}); start one with `ray "
        "start --head`, and name its client port (ray://HOST:10001), or ray://auto on its nodes"
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Ray says nothing, and leaves the handler of SIGTERM as it was."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)


def connect(address: str) -> Link:
    """A connection to the cluster at an address: ray://HOST:PORT of a client server, HOST:PORT or
    "auto" from one of its nodes. The one that this process has already is used where there is one.

    Raises: UserError where none answers there, its version differs, or Ray is not installed.
    """
    # Else Ray answers the next question after a lost connection by a cluster of its own, here.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    with _quietly():
        ray = need("ray", "ray", WHAT)
        if address.startswith("ray://"):
            need("grpc", "ray", WHAT)
        others = [link.address for link in _USERS if link.address != address]
        if others:
            raise UserError(
                f"pool: this process is connected to {others[0]}, and Ray knows one cluster per "
                f"process; close that one first, or start another process for {address}"
            )
        ours = bool(_USERS) and _USERS[0].ours
        if not ray.is_initialized():
            if address != "auto":
                _reach(address)
            _init(ray, address)
            ours = True
    return Link(address, ours)


def _init(ray: Any, address: str) -> None:
    for again in (True, False):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
            # Ray sets this one's level by itself.
            logging.getLogger("ray.util.client.logsclient").setLevel(logging.CRITICAL)
            return
        except Exception as error:  # RuntimeError, ConnectionError, ValueError, gRPC's ...
            # The head forks a server per driver, and sometimes that hangs (a race in gRPC).
            if again and isinstance(error, ConnectionAbortedError):
                continue
            text = str(error)
            if "ersion mismatch" in text:
                found = " ".join(line.strip() for line in text.splitlines())
                raise UserError(
                    f"pool: {address}: {found}; install the cluster's versions here, or these there"
                ) from error
            raise UserError(_nobody(address, text)) from error


class Link:
    """The cluster as this driver sees it. ours: whether it connected this process itself."""

    def __init__(self, address: str, ours: bool) -> None:
        import ray

        self.address, self.ours = address, ours
        self._ray: Any = ray
        # Ray would end a process after each task with a GPU, and with it the one that trains.
        self._work = ray.remote(max_retries=RETRIES, max_calls=0)(_by_value(_work))
        self._leave = ray.remote(max_retries=0)(_by_value(_leave))
        _USERS.append(self)

    def nodes(self, gpu: bool) -> list[Node]:
        """Those that are there."""
        kind = "GPU" if gpu else "CPU"
        with self._asking():
            found = self._ray.nodes()
        return [Node(n["NodeID"], int(n["Resources"].get(kind, 0))) for n in found if n["Alive"]]

    def put(self, content: bytes) -> Any:
        """A reference to bytes, which a node fetches once."""
        with self._asking():
            return self._ray.put(content)

    def submit(
        self,
        arguments: tuple[Any, ...],
        gpu: bool,
        on: str = "",
        only: bool = False,
        shun: Iterable[str] = (),
    ) -> Any:
        """Send a job out. on: the node that should have it, or that must with `only`; shun: nodes
        that may not, where none is named.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0} if gpu else {"num_cpus": 1}
        if on:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(on, soft=not only)
        elif shunned := ",".join(sorted(shun)):
            options["label_selector"] = {"ray.io/node-id": f"!in({shunned})"}
        with self._asking():
            return self._work.options(**options).remote(*arguments)

    def next(self, tasks: Iterable[Any], seconds: float) -> Any:
        """A task that is done, or None after so long."""
        waited = list(tasks)
        if not waited:
            return time.sleep(seconds)
        with self._asking():
            done, _ = self._ray.wait(waited, num_returns=1, timeout=seconds)
        return done[0] if done else None

    def result(self, task: Any) -> tuple[str, str, bytes | str] | None:
        """The node that ran a task, and its outcome; None where Ray gave it up, because workers or
        nodes were lost that had it.
        """
        with self._asking():
            try:
                found: tuple[str, str, bytes | str] = self._ray.get(task)
                return found
            except self._ray.exceptions.RayTaskError:
                raise
            except self._ray.exceptions.RayError:
                return None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Raises: LostConnection."""
        try:
            yield
        except Exception as error:
            grpc = sys.modules.get("grpc")  # a driver on a node does without it
            away = isinstance(error, ConnectionError | LostConnection)
            if away or (grpc and isinstance(error, grpc.RpcError)) or not self._connected():
                raise LostConnection(str(error)) from error
            raise

    def _connected(self) -> bool:
        try:
            return bool(self._ray.is_initialized())
        except Exception:
            return False

    def cancel(self, tasks: Iterable[Any]) -> None:
        """End tasks, and the processes that have begun one."""
        for task in tasks:
            with contextlib.suppress(Exception):
                self._ray.cancel(task, force=True)

    def leave(self, token: str, slots: Mapping[str, int]) -> None:
        """Close the stations that workers keep, then the connection. slots: of each node."""

        def ask() -> None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            with contextlib.suppress(Exception):
                asked = []
                for node, number in slots.items():
                    where = NodeAffinitySchedulingStrategy(node, soft=False)
                    task = self._leave.options(num_cpus=0, scheduling_strategy=where)
                    asked += [task.remote(token, 0.3) for _ in range(number)]
                self._ray.wait(asked, num_returns=len(asked), timeout=PARTING / 3)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(PARTING)
        self.close()

    def close(self) -> None:
        """Let go of the connection; the last one that uses ours ends it."""
        if self not in _USERS:
            return
        _USERS.remove(self)
        if self.ours and not _USERS:
            closing = threading.Thread(target=self._close, daemon=True)
            closing.start()
            closing.join(PARTING)

    def abandon(self) -> None:
        """Give a lost connection up, for all who use it."""
        _USERS.clear()
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(PARTING)

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.shutdown()
