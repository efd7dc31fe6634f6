"""A config so small that a whole run takes seconds."""

from __future__ import annotations

import os
import sys

# Threads of several test processes that spin for two cores slow each other a hundredfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from hybridsearch.config import Config, make_config
from hybridsearch.observe import Silent
from hybridsearch.session import search
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog

TINY = {
    "budget": 8,
    "batch": 8,
    "pool": "inline",
    "data": {"train": 200, "validation": 100},
    "network": {"name": "digits_mlp", "width": 4},
    "training": {"steps": 20, "batch_size": 32, "warmup": 3},
    # A first rung of one step, as by default, would leave all at chance.
    "fidelity": {"rungs": [0.2, 0.5, 1.0], "keep": 0.4},
    "race": {"candidates": 0},
    "retest": {"seeds": 2, "finalists": 2, "resamples": 200, "duel": False},
}


def pytest_configure(config):
    """Hide GPUs, where there are some, from all tests but those that ask for one (`-m cuda`): the
    others are of what the CPU computes.
    """
    if config.option.markexpr != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def merged_settings(**changes):
    """The tiny settings with top-level changes; sections are merged key by key."""
    merged = {**TINY}
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


@pytest.fixture(scope="session")
def tiny_settings():
    """A function that makes tiny settings as plain values."""
    return merged_settings


@pytest.fixture
def tiny():
    """A function that makes tiny configs."""

    def make(**changes) -> Config:
        return make_config(merged_settings(**changes))

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The folder of a finished run with children of children, and its cache beside it. To read
    only: tests that change it take a copy.
    """
    settings = merged_settings(
        strategy="evolution",
        budget=8,
        batch=2,
        evolution={"population": 3},
        retest={"finalists": 1, "resamples": 100},
    )
    folder = tmp_path_factory.mktemp("finished") / "runs" / "a"
    search(make_config(settings), folder)
    return folder


@pytest.fixture
def abandoned():
    """A function that takes logs and caches whose files a test leaves open, as a kill does: at its
    end they are closed, and nothing more is written.
    """
    left = []

    def keep(thing: RunLog | Cache):
        left.append(thing)
        return thing

    yield keep
    for thing in left:
        if isinstance(thing, RunLog):
            thing._file.close()
            thing._anchor.close()
        else:
            thing.claims.close()
            thing._db.close()


class Notes(Silent):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def notes() -> Notes:
    """An observer that keeps its notes, in `lines`."""
    return Notes()


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A function that makes a module of the user's, from its name and text, to be imported until
    the test ends.
    """
    made = []

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        made.append(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)
