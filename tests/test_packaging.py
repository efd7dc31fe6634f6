"""The wheel has every room of the house: a package that is not listed is not in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "hybridsearch").rglob("__init__.py")
    }
    assert set(listed) == there | {"hybridsearch.configs"}
    assert listed == sorted(listed)
