"""The generators that code of the user's may draw from: PyTorch's, NumPy's and Python's own.

Dropout and its like draw from what is global in a process. So every step of a network of the
user's begins at a seed of (child, step), and needs nothing from the steps before it: whatever the
process ran earlier, and wherever the child was stopped and went on, it draws the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

States = tuple[Any, ...]


def begin(purpose: str, *path: int) -> None:
    """Let all generators begin at the seed of one purpose; who calls it keeps their states."""
    text = f"{purpose} {path}".encode()
    _seed(int.from_bytes(blake2b(text, digest_size=4).digest(), "little"))


@contextmanager
def kept() -> Iterator[None]:
    """Afterwards all generators are as they were before, for whoever else draws from them."""
    host, cuda, (numpy, python) = torch.get_rng_state(), _cuda(), _others()
    before = cuda.get_state() if cuda else None
    try:
        yield
    finally:
        torch.set_rng_state(host)
        if cuda and before is not None:
            cuda.set_state(before)
        np.random.set_state(numpy)
        random.setstate(python)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, all generators begin at one seed; afterwards they are as they were before."""
    with kept():
        _seed(seed)
        yield


def states() -> States:
    """Where all generators stand, as values that compare: a step that moves them has drawn."""
    cuda, (numpy, python) = _cuda(), _others()
    tensors = [torch.get_rng_state(), *([cuda.get_state()] if cuda else [])]
    words, *rest = numpy[1:]
    return tuple(bytes(t.numpy()) for t in tensors), bytes(words), tuple(rest), python


def _seed(seed: int) -> None:
    # Not torch.manual_seed, which waits for devices that nobody uses.
    torch.default_generator.manual_seed(seed)
    if cuda := _cuda():
        cuda.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _cuda() -> torch.Generator | None:
    """The generator of the current GPU; None where this process has not touched one."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return torch.cuda.default_generators[torch.cuda.current_device()]


def _others() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()
