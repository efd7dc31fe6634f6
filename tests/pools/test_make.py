"""The pool that a config names, and what is said where it cannot be had."""

from __future__ import annotations

import sys

import pytest

from hybridsearch.config import Config, make_config
from hybridsearch.errors import UserError
from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.loky import LokyPool
from hybridsearch.pools.make import make_pool


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in ("DASK_SCHEDULER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_pools_of_this_machine():
    assert isinstance(make_pool("inline", 3), InlinePool)
    for kind in ("loky", "auto"):
        pool = make_pool(kind, 3)
        assert isinstance(pool, LokyPool)
        assert (pool.workers, pool.elsewhere) == (3, False)


def test_loky_is_the_default():
    assert Config().pool == "loky"


@pytest.mark.parametrize(
    "name", ["dask://h:8786", "ray://10.0.0.1:10001", "ray://auto", "auto", "inline"]
)
def test_names_that_are_taken(name):
    assert make_config({"pool": name}).pool == name


@pytest.mark.parametrize("name", ["dask", "dask://host", "dask://:1", "slurm://h:1", "lokky", ""])
def test_names_that_are_not(name):
    with pytest.raises(UserError, match=r"pool: expected loky, inline, auto, dask://HOST:PORT"):
        make_config({"pool": name})


@pytest.mark.parametrize("way", ["named", "around"])
@pytest.mark.parametrize(
    ("package", "kind", "variable"),
    [("distributed", "dask", "DASK_SCHEDULER_ADDRESS"), ("ray", "ray", "RAY_ADDRESS")],
)
def test_a_package_that_is_missing_is_a_line(monkeypatch, way, package, kind, variable):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv(variable, "127.0.0.1:1")
    with pytest.raises(UserError, match=rf"needs {package}.*pip install 'hybridsearch\[{kind}\]'"):
        make_pool(f"{kind}://127.0.0.1:1" if way == "named" else "auto", 1)
