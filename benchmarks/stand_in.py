"""Random images of CIFAR-10's number and shape, where the real ones are not in the data home."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import DataConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import load_search_data

COUNTS = {"train": 45_000, "validation": 5_000, "test": 10_000}


def images(
    part: Literal["train", "validation", "test"],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What `data: stand_in:images` gives: pixels and labels that have nothing to do with each
    other, so that times are real and results are chance.
    """
    rng = np.random.default_rng(list(COUNTS).index(part))
    shape = (COUNTS[part], 3, 32, 32)
    return rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 10, COUNTS[part])


def cifar10_or_random() -> tuple[str, str]:
    """The name of the data for a config, and what to call them."""
    try:
        load_search_data(DataConfig(name="cifar10"))
    except UserError:
        return "stand_in:images", "random images of CIFAR-10's shape"
    return "cifar10", "CIFAR-10"
