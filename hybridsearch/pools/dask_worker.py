"""The side of Dask's workers: the plugins that admit a worker, and the task that runs a job.

The plugins reach every worker of a cluster, which others may use too: they travel by value and
import this package only inside, so that a worker without it is told of and otherwise left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import copyreg
import pickle
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed import WorkerPlugin, get_worker

if TYPE_CHECKING:
    from hybridsearch.pools.station import Station
    from hybridsearch.pools.wire import Good, Reply

READY, REFUSED, LACKS = "ready", "refused", "lacks"  # what a worker tells the driver


class _ByValue(WorkerPlugin):  # type: ignore[misc]
    """A plugin that takes its class along; what it notes by itself stays where it is."""

    _inside = False

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name[0] != "_"}
        if self._inside:
            return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]
        module = sys.modules[type(self).__module__]
        cloudpickle.register_pickle_by_value(module)
        self._inside = True
        try:
            return cloudpickle.loads, (cloudpickle.dumps(self),)
        finally:
            self._inside = False
            cloudpickle.unregister_pickle_by_value(module)


class Guest(_ByValue):
    """Makes a worker ready for a driver's jobs, and says so; or says why it cannot be used.

    kit: pickled. token: the driver's, which is also the topic of what is told, and the resource
    that the worker then has.
    """

    def __init__(self, kit: bytes, run: str, token: str, gpu: bool) -> None:
        self.kit, self.token, self.gpu = kit, token, gpu
        self.name = f"hybridsearch-{run}"

    _station: Station
    _ready: asyncio.Task[None]

    def setup(self, worker: Any) -> None:
        """Begin, and let the worker go on: it joins the cluster only after this."""
        self._ready = asyncio.create_task(self._prepare(worker))

    async def _prepare(self, worker: Any) -> None:
        try:
            why = await asyncio.to_thread(self._admit, worker.address)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            why = (
                f"worker {worker.address} cannot take up work ({type(error).__name__}: {error}): "
                "install the driver's version of hybridsearch there"
            )
        slots = worker.state.nthreads
        if self.gpu:
            slots = min(slots, int(worker.state.total_resources.get("GPU", 0)))
            if not slots and not why:
                why = (
                    f"worker {worker.address} has no GPU to give: start it with --resources GPU=1 "
                    "and CUDA_VISIBLE_DEVICES set to one GPU"
                )
        told = {"kind": REFUSED, "worker": worker.address, "why": why}
        if not why:
            await worker.set_resources(**{self.token: slots})
            told = {"kind": READY, "worker": worker.address, "host": worker.ip, "slots": slots}
        worker.log_event(self.token, told)

    def _admit(self, address: str) -> str:
        from hybridsearch.pools.station import station_for

        self._station = station_for(pickle.loads(self.kit), address)
        return self._station.refusal()

    async def teardown(self, worker: Any) -> None:
        """End the processes of this driver's jobs."""
        self._ready.cancel()
        if "hybridsearch.pools.station" in sys.modules:
            from hybridsearch.pools.station import close_station

            await asyncio.to_thread(close_station, self.token)


class Delivery(_ByValue):
    """Brings a good to every worker; those that lack it take it up."""

    def __init__(self, token: str, name: str, digest: str, content: bytes) -> None:
        self.key, self.content = (token, name, digest), content
        self.name = f"hybridsearch-{token}-{name}"

    def setup(self, worker: Any) -> None:
        with contextlib.suppress(ImportError):  # such a worker was refused
            from hybridsearch.pools.deliveries import deliver

            deliver(self.key, self.content)
        self.content = b""

    def teardown(self, worker: Any) -> None:
        if "hybridsearch.pools.deliveries" in sys.modules:
            from hybridsearch.pools.deliveries import withdraw

            withdraw(self.key)


def work(plugin: str, payloads: list[bytes]) -> list[Reply]:
    """Run jobs one after the other, in a thread of a worker that was admitted. plugin: the name of
    its `Guest`.
    """
    from hybridsearch.pools.deliveries import await_delivery

    worker = get_worker()
    guest: Guest = worker.plugins[plugin]
    this = worker.get_current_task()

    def ended() -> bool:
        """Whether the driver has left, or was killed: then Dask has cancelled its tasks, and cannot
        stop a thread that runs one.
        """
        task = worker.state.tasks.get(this)
        return guest._station.closed or task is None or bool(task.state == "cancelled")

    def fetch(good: Good) -> bytes:
        told = {"kind": LACKS, "worker": worker.address, "name": good.name}
        key = (guest.token, good.name, good.digest)
        return await_delivery(key, lambda: worker.log_event(guest.token, told), ended)

    replies = []
    for payload in payloads:
        began = time.monotonic()
        reply: Reply = guest._station.run(pickle.loads(payload), fetch)
        replies.append(replace(reply, host=worker.ip, seconds=time.monotonic() - began))
    return replies
