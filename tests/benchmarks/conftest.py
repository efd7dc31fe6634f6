"""A recorded table that is made in milliseconds."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsearch.config import make_config
from hybridsearch.genome.preflight import inspect
from hybridsearch.tables.table import Table

SMALL = {"unary": ["id", "tanh", "sin", "abs", "exp"], "binary": ["add", "mul", "max", "sub"]}


@pytest.fixture
def small_table(tmp_path):
    """t.safetensors in tmp_path: all functions of a one-unit space, truth read off the key, no
    noise.
    """
    config = make_config({"space": SMALL, "training": {"steps": 16}, "fitness": "accuracy"})
    found = {}
    for genome in config.space.space().enumerate():
        (one,) = inspect([genome])
        if not one.rejected:
            found.setdefault(one.key, " ".join(genome))
    worth = np.array([int(key[:4], 16) / 2**16 for key in found], np.float32)
    shape = (len(found), 3, 2)
    accuracy = np.broadcast_to(worth[:, None, None], shape).copy()
    table = Table(
        tuple(found.values()),
        tuple(found),
        (4, 16),
        np.ones(shape[:2], np.uint8),
        -accuracy,
        accuracy,
        -accuracy,
        accuracy,
        np.ones(shape[:2], np.float32),
        {"config": config.model_dump(mode="json"), "classes": 10},
    )
    table.save(tmp_path / "t.safetensors")
    return table
