"""A Dataset or DataLoader of PyTorch -> two arrays, the same at every reading."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from hybridsearch.errors import UserError

BATCH = 256


def is_loadable(value: Any) -> bool:
    """Whether it is a Dataset or a DataLoader."""
    return isinstance(value, Dataset | DataLoader)


def materialise(source: Any) -> tuple[Any, Any]:
    """All pairs of a Dataset or DataLoader as (inputs, targets), in the order of the dataset.

    A loader's own order is not kept, since a search draws its own, and every worker reads the data
    again. What a dataset draws at random, such as an augmentation, is drawn once, from one seed.
    Raises: UserError when it gives no pairs, or comes without a length.
    """
    dataset = source.dataset if isinstance(source, DataLoader) else source
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError("expected a dataset with a length, got one that can only be iterated")
    collate = source.collate_fn if isinstance(source, DataLoader) else None
    inputs, targets = [], []
    with _same_draws():
        for batch in DataLoader(dataset, batch_size=BATCH, collate_fn=collate):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch)
                raise UserError(f"expected a dataset of pairs (input, target), got {got}")
            inputs.append(np.asarray(batch[0]))
            targets.append(np.asarray(batch[1]))
    if not inputs:
        raise UserError("expected a dataset with examples, got an empty one")
    return np.concatenate(inputs), np.concatenate(targets)


@contextmanager
def _same_draws() -> Iterator[None]:
    """Every generator that a dataset may use begins at one seed, and is put back at the end."""
    kept, ours = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(kept)
            np.random.set_state(ours)
