"""The pool that a config names."""

from __future__ import annotations

from hybridsearch.pools.base import InlinePool, Pool
from hybridsearch.pools.loky import LokyPool


def make_pool(kind: str, workers: int) -> Pool:
    """The pool of a config: "loky" or "inline"."""
    return InlinePool() if kind == "inline" else LokyPool(workers)
