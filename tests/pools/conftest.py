"""A trade for tests: jobs are numbers, or deeds that have a file each."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import pytest

from hybridsearch.pools.parcel import Code
from hybridsearch.pools.passport import Passport
from hybridsearch.pools.wire import Good, Home, Kit

HERE = Passport("driver", "1", "abcd", "3.11", "2.13.0", "2.4", "a processor", "gcc", "")


@dataclass(frozen=True)
class Deed:
    """A job. folder: of its file `name`, which it reads and writes."""

    name: str
    folder: Path | None = None


@dataclass(frozen=True)
class Deeds:
    """passport: of the workers. own: digest of the data that they have themselves."""

    passport: Passport = HERE
    own_data: str = ""
    module: str = ""

    def look(self):
        return self.passport

    def code(self):
        if not self.module:
            return {}
        return {"module": __import__(self.module).NAME}

    def own(self, good: Good):
        if not self.own_data:
            raise OSError("no such file")
        return self.own_data

    def settle(self, home: Home):
        import sys

        for path in reversed(home.paths):
            if path not in sys.path:
                sys.path.insert(0, path)
        os.environ["GOODS"] = home.goods.get("search", "none")

    def children(self, job):
        return (job.name,) if isinstance(job, Deed) and job.folder else ()

    def placed(self, job, folder):
        return replace(job, folder=folder)


def kit(tmp_path, trade=None, **changes):
    given = {
        "run": "run",
        "token": "token",
        "trade": cloudpickle.dumps(trade or Deeds()),
        "passport": HERE,
        "code": {},
        "source": Code(),
        "children": tmp_path / "driver",
    }
    return Kit(**given | changes)


@pytest.fixture
def make_kit(tmp_path):
    return lambda trade=None, **changes: kit(tmp_path, trade, **changes)
