"""A network and data of a user's own, in a folder that workers do not have."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from hybridsearch.evaluate import evaluator

OWN = """
import numpy as np
import beside_it
from torch import nn

def load(part):
    rows = np.load("rows.npy")  # a file that only the driver has
    n = {"train": 0, "validation": 1, "test": 2}[part]
    return rows[n], (rows[n].sum((1, 2, 3)) > 0).astype(int)

def build(make_activation):
    act = make_activation(4, 1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), act, nn.Flatten(), nn.Linear(64, beside_it.CLASSES))
"""


def make_home(tmp_path):
    """The folder with these files, and the settings of a search there."""
    for name in ("of_mine", "beside_it"):  # of another test's home
        sys.modules.pop(name, None)
    home = tmp_path / "home"
    home.mkdir()
    (home / "of_mine.py").write_text(OWN)
    (home / "beside_it.py").write_text("CLASSES = 2\n")
    np.save(home / "rows.npy", np.random.default_rng(0).normal(size=(3, 96, 1, 6, 6)))
    return home, {
        "data": {"name": "of_mine:load", "train": 64, "validation": 64},
        "network": {"name": "of_mine:build"},
        "strategy": "random",
    }


def hide(monkeypatch):
    """Make the driver's folder one that workers do not see; they are on its machine here."""
    gathered = evaluator.gather_code
    elsewhere = lambda root: replace(gathered(root), root="/not/here")  # noqa: E731
    monkeypatch.setattr(evaluator, "gather_code", elsewhere)
