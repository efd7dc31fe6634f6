"""A kit for tests."""

from __future__ import annotations

import pickle

import pytest

from hybridsearch.pools.parcel import Code
from hybridsearch.pools.wire import TOKEN, Kit

from .deeds import HERE, Deeds


@pytest.fixture
def make_kit(tmp_path):
    """A function that makes kits, of `Deeds` unless another trade is given."""

    def make(trade=None, **changes):
        given = {
            "run": "run",
            "token": f"{TOKEN}1",
            "trade": pickle.dumps(trade or Deeds()),
            "passport": HERE,
            "code": {},
            "source": Code(),
            "children": tmp_path / "driver",
        }
        return Kit(**given | changes)

    return make
