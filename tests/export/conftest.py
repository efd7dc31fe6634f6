"""Functions that exercise every token and shape of what is exported, and a run to export from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from hybridsearch.export.files import Wish
from hybridsearch.export.origin import Origin
from hybridsearch.genome.function import BASELINES, PAPER_FOUND, Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import Space


@pytest.fixture(scope="session")
def named() -> list[Function]:
    """The nine baselines and the eight functions that the paper found."""
    return [resolve(name) for name in dict.fromkeys((*BASELINES, *PAPER_FOUND))]


@pytest.fixture(scope="session")
def every_token() -> list[Function]:
    """One-unit genomes that hold every unary and every binary function."""
    unary, binary = list(UNARY), list(BINARY)
    genomes = [
        Genome((binary[k % len(binary)], unary[2 * k], "x", unary[(2 * k + 1) % 25], "x"))
        for k in range(13)
    ]
    held = {token for g in genomes for token in g.tokens}
    assert held == {*unary, *binary, "x"}
    return [resolve(g) for g in genomes]


@pytest.fixture(scope="session")
def random_functions():
    """A function: so many genomes of one to three units, always the same."""

    def make(count: int) -> list[Function]:
        rng = np.random.default_rng(0)
        return [resolve(Genome(Space(1, 3).sample(rng))) for _ in range(count)]

    return make


@pytest.fixture(scope="session")
def wish():
    """A function: the wish for a function as it is, or with more said."""

    def make(what: object, **more) -> Wish:
        return Wish(Origin(resolve(what), ()), **more)

    return make


@pytest.fixture
def run(tmp_path):
    """A function: the folder of a finished run as others may write it, with parts changed."""

    def make(name: str = "first", spec: str = "gate scale x id x", **changes) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        function = resolve(spec)
        winner = {"expression": function.name, "key": function.key, "test_scores": [0.9, 0.8]}
        summary = {
            "verdict": "not shown",
            "metric": {"name": "accuracy", "higher": True, "chance": 0.1, "perfect": 1.0},
            "incumbent": "x*tanh(x)",
            "winner": winner,
            "best_baseline": {"label": "GELU"},
            "difference_to_best_baseline": {"mean": 0.001, "low": -0.002, "high": 0.004},
            **changes,
        }
        settings = {"seed": 3, "data": {"name": changes.get("data", "digits")}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        (folder / "environment.json").write_text("{}")
        (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return make
