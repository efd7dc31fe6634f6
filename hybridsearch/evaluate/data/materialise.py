"""A Dataset or DataLoader of PyTorch -> two arrays, the same at every reading."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from hybridsearch.errors import UserError

BATCH = 256


def is_loadable(value: Any) -> bool:
    """Whether it is a Dataset or a DataLoader."""
    if "torch" not in sys.modules:  # then nobody has made one, and nobody should wait for it
        return False
    from torch.utils.data import DataLoader, Dataset

    return isinstance(value, Dataset | DataLoader)


def materialise(source: Any) -> tuple[Any, Any]:
    """All pairs of a Dataset or DataLoader as (inputs, targets), in the order of the dataset.

    A loader's own order is not kept, since a search draws its own, and every worker reads the data
    again. What a dataset draws at random, such as an augmentation, is drawn once, from one seed.
    Raises: UserError when it gives no pairs, comes without a length, or a sampler of the loader's
    may choose among the examples.
    """
    from torch.utils.data import DataLoader, IterableDataset

    from hybridsearch.evaluate.draws import seeded

    dataset = source.dataset if isinstance(source, DataLoader) else source
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError("expected a dataset with a length, got one that can only be iterated")
    if isinstance(source, DataLoader):
        _expect_whole(source)
    collate = source.collate_fn if isinstance(source, DataLoader) else None
    inputs, targets = [], []
    with seeded(0):
        for batch in DataLoader(dataset, batch_size=BATCH, collate_fn=collate):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch)
                raise UserError(f"expected a dataset of pairs (input, target), got {got}")
            inputs.append(np.asarray(batch[0]))
            targets.append(np.asarray(batch[1]))
    if not inputs:
        raise UserError("expected a dataset with examples, got an empty one")
    return np.concatenate(inputs), np.concatenate(targets)


def _expect_whole(loader: Any) -> None:
    """Raises: UserError where a loader does not give every example once. Only its dataset is read,
    so what its sampler leaves out would be in all parts, test examples among what is trained on.
    """
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

    sampler, batches = loader.sampler, loader.batch_sampler
    all_once = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)
    )
    if all_once and (batches is None or type(batches) is BatchSampler):
        return
    chooser = batches if all_once else sampler
    raise UserError(
        f"expected a DataLoader of all its dataset, got one whose {type(chooser).__name__} may "
        "leave examples out or repeat them; give torch.utils.data.Subset(dataset, indices) instead"
    )
