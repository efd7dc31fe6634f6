"""Which files of the user's are behind a module; read off them, whatever is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybridsearch.sources import is_own, sources_of

FILES = {
    "srced/__init__.py": "",
    "srced/top.py": "import os, numpy\nfrom . import beside\nfrom .below.deep import X\n",
    "srced/beside.py": "def f():\n    import srced_lazy\n",
    "srced/below/__init__.py": "from importlib import import_module\nimport_module('srced_told')\n",
    "srced/below/deep.py": "X = 1\n",
    "srced/unrelated.py": "",
    "srced_lazy.py": "from srced_space.part import *\n",
    "srced_told.py": "this is no Python\n",
    "srced_space/part.py": "",  # without __init__: a namespace
}
FOUND = {
    *("srced", "srced.top", "srced.beside", "srced.below", "srced.below.deep"),
    *("srced_lazy", "srced_told", "srced_space.part"),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_everything_that_a_module_may_import_and_nothing_else(project):
    found = sources_of(["srced.top"])
    assert set(found) == FOUND
    assert found["srced.beside"] == project / "srced" / "beside.py"
    assert not {"srced", "srced.top", "srced_lazy"} & set(sys.modules)  # nothing was imported


def test_it_is_the_same_once_all_is_loaded(project):
    code = (
        "import srced.top, srced.unrelated, srced_lazy, sys\n"
        "from hybridsearch.sources import sources_of\n"
        "print(*sorted(sources_of(['srced.top'])))"
    )
    path = f"{Path(__file__).parents[1]}:{project}"
    (project / "srced_told.py").write_text("")
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert set(ran.stdout.split()) == FOUND, ran.stderr


def test_what_is_installed_is_itself_and_no_more():
    assert set(sources_of(["numpy.linalg"])) == {"numpy.linalg"}
    assert sources_of(["json.decoder", "no.such.module", ""]).keys() == {"json.decoder"}


def test_whose_a_file_is(tmp_path):
    import json

    import numpy

    import hybridsearch

    assert is_own(tmp_path / "mine.py")
    assert not any(is_own(Path(module.__file__)) for module in (json, numpy, hybridsearch))
