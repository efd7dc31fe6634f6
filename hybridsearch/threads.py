"""The cores there are, and one thread while computing, so that bits and speed do not depend on
the machine's load.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def usable_cores() -> int:
    """The cores that this process may use; where the system does not tell (macOS, Windows), all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, the caller's number afterwards.

    The order of a threaded sum depends on the number of threads, so a run's bits would depend on
    the machine; and neither a child of one worker nor the controller gains from more.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
