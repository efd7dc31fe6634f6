"""Small synthetic tables: what every function is worth is a known function of its key."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsearch.config import make_config
from hybridsearch.genome.function import baselines
from hybridsearch.tables.recording import space_functions
from hybridsearch.tables.table import OK, Table

SETTINGS = {
    "budget": 40,
    "batch": 8,
    "pool": "inline",
    "space": {
        "unary": ["id", "neg", "tanh", "sin", "sigmoid", "square"],
        "binary": ["add", "mul", "max", "min"],
    },
    "training": {"steps": 40},
    "fidelity": {"rungs": [0.5, 1.0], "keep": 0.5},
}
REPLICATES = 5


def worth(key):
    """True test loss of a function, 0.1 to 2.1 nats."""
    return 0.1 + 2 * int(key[:8], 16) / 2**32 if not key.startswith("named") else 0.0


def synthetic_table(settings, missing=0):
    """The table of a space and the baselines, without the space's last `missing` functions."""
    config = make_config(settings)
    chosen = space_functions(config)
    every = {f.key: f for f in [*chosen[: len(chosen) - missing], *baselines()]}
    keys = tuple(every)
    shape = (len(keys), REPLICATES, 2)
    rng = np.random.default_rng(0)
    true = np.array([worth(key) for key in keys])[:, None, None]
    slower = np.array([0.3, 0.0])  # nats more at half of the steps
    validation = (true + slower + rng.normal(0, 0.05, shape)).astype(np.float32)
    test = (true + slower + rng.normal(0, 0.01, shape)).astype(np.float32)
    return Table(
        tuple(f.spec for f in every.values()),
        keys,
        (20, 40),
        np.full(shape[:2], OK, np.uint8),
        np.maximum(validation, 0),
        np.clip(1 - validation / 3, 0, 1).astype(np.float32),
        np.maximum(test, 0),
        np.clip(1 - test / 3, 0, 1).astype(np.float32),
        np.ones(shape[:2], np.float32),
        {"config": config.model_dump(mode="json"), "classes": 10},
    )


@pytest.fixture(scope="session")
def settings():
    """Of a search on the table."""
    return SETTINGS


@pytest.fixture(scope="session")
def true_loss():
    """The function that says what a function is worth, by its key."""
    return worth


@pytest.fixture(scope="session")
def make_table():
    """The function that makes a table of settings."""
    return synthetic_table


@pytest.fixture(scope="session")
def table(make_table):
    return make_table(SETTINGS)


@pytest.fixture(scope="session")
def table_path(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "small.safetensors"
    table.save(path)
    return path


@pytest.fixture
def on_table(table_path):
    """A function that makes a config that searches on the table."""

    def make(**changes):
        return make_config({**SETTINGS, "table": str(table_path), **changes})

    return make
