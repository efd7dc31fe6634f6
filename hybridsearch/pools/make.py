"""The pool that a config names."""

from __future__ import annotations

import os

from hybridsearch.pools.base import InlinePool, Pool
from hybridsearch.pools.loky import LokyPool

# Where a cluster names itself to who runs beside it.
DASK, RAY = "DASK_SCHEDULER_ADDRESS", "RAY_ADDRESS"


def make_pool(kind: str, workers: int) -> Pool:
    """The pool of a config (`Config.pool`). workers: of one on this machine.

    Raises: UserError where the cluster that is named does not answer.
    """
    if kind == "auto":
        return _pool_around(workers)
    scheme, _, address = kind.partition("://")
    if scheme == "dask":
        return _dask(f"tcp://{address}")
    if scheme == "ray":
        return _ray("auto" if address == "auto" else kind)
    return InlinePool() if kind == "inline" else LokyPool(workers)


def _pool_around(workers: int) -> Pool:
    """The pool of the cluster that the environment names, else one on this machine."""
    if address := os.environ.get(DASK):
        return _dask(address if "://" in address else f"tcp://{address}")
    if address := os.environ.get(RAY):
        return _ray(address)
    return LokyPool(workers)


def _dask(address: str) -> Pool:
    from hybridsearch.pools.dask import DaskPool

    return DaskPool(address)


def _ray(address: str) -> Pool:
    from hybridsearch.pools.ray import RayPool

    return RayPool(address)
