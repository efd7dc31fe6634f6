"""Passports name what differs, and only what matters."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace

import pytest

from hybridsearch.pools.passport import COMPARED, PACKAGE, Passport, differs, digest_of_source

from .deeds import HERE


def test_a_passport_survives_json():
    here = Passport.of_this_process("a processor", "avx2", "gcc", "")
    assert Passport.from_json(json.loads(json.dumps(here.to_json()))) == here
    assert here.source == digest_of_source()
    assert {type(value) for value in here.to_json().values()} == {str}  # a worker needs no torch


def test_every_field_is_compared_but_where_and_on_what():
    """Another processor is told by what it can do, not by its model."""
    assert set(COMPARED) == {f.name for f in fields(Passport)} - {"host", "processor"}


@pytest.mark.parametrize("name", COMPARED)
def test_what_differs_is_named_for_both(name):
    wanted = replace(HERE, gpu="H100")
    other = replace(wanted, host="node7", **{name: "another"})
    line = differs(wanted, other, "tcp://10.0.0.7:4411")
    assert "tcp://10.0.0.7:4411 on node7" in line
    assert "another" in line and getattr(wanted, name) in line
    assert "\n" not in line
    assert differs(wanted, replace(wanted, host="node7"), "x") == ""


def test_a_driver_that_uses_no_compiler_takes_workers_with_any():
    without = replace(HERE, compiler="")
    assert differs(without, replace(without, features="avx512"), "x")
    assert "no compiler" in differs(HERE, without, "x")
    assert "--training.kernel tape" in differs(HERE, without, "x")
    assert differs(without, HERE, "x") == ""


def test_the_source_digest_sees_an_edit_of_any_file(tmp_path):
    copy = tmp_path / "hybridsearch"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "data"))
    before = digest_of_source(copy)
    (header,) = (copy / "kernels").glob("*.hpp")
    header.write_text(header.read_text() + "\n")
    digest_of_source.cache_clear()
    assert digest_of_source(copy) != before
