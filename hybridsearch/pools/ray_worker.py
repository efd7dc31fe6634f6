"""The side of Ray's workers: the task that runs a job, in a process of Ray's.

What goes in and out are bytes and strings, so that Ray's own processes (the head's client server
opens all that a driver sends) need nothing of this package.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ray

from hybridsearch.pools.station import Station, close_station, station_for
from hybridsearch.pools.wire import Good, Kit, Lacking

READY, REFUSED, DONE, RAISED, LACKS = "ready", "refused", "done", "raised", "lacks"
Outcome = tuple[str, bytes | str]

_KITS: dict[str, Kit] = {}  # by token
_visible: str | None = None  # GPUs of the last job


def work(token: str, kit: list[Any], call: bytes, goods: Mapping[tuple[str, str], Any]) -> Outcome:
    """Run a job, or say why not. kit: a reference to the pickled one, in a list so that Ray does
    not get it for every task. call: b"" only asks whether this worker can be used. goods:
    references to what was sent so far, by name and digest.
    """
    station = _station(token, kit[0])
    if why := station.refusal():
        return REFUSED, why
    if not call:
        return READY, ""

    def fetch(good: Good) -> bytes:
        if (good.name, good.digest) not in goods:
            raise Lacking(good)
        content: bytes = ray.get(goods[good.name, good.digest])
        return content

    try:
        reply = station.run(pickle.loads(call), fetch)
    except Lacking as lacking:
        return LACKS, lacking.good.name
    except Exception as error:
        return RAISED, _pickled(error)
    node = ray.get_runtime_context().get_node_id()
    return DONE, pickle.dumps(replace(reply, host=node))


def leave(token: str) -> None:
    """Close the station of this process."""
    _KITS.pop(token, None)
    close_station(token)


def _station(token: str, reference: Any) -> Station:
    global _visible
    if token not in _KITS:
        _KITS[token] = pickle.loads(ray.get(reference))
    # Ray gives a GPU to a task, not to a process, and the process that trains keeps its own.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if _KITS[token].gpu and visible != _visible:
        close_station(token)
    _visible = visible
    node = ray.get_runtime_context().get_node_id()
    return station_for(_KITS[token], f"{ray.util.get_node_ip_address()} (Ray node {node[:8]})")


def _pickled(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
