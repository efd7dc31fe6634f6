"""Scratch folders are shared, bounded and removed."""

from __future__ import annotations

import os
import stat

import pytest

from hybridsearch.pools.scratch import Scratch, sweep


def test_the_last_of_a_machine_removes_the_folder(tmp_path):
    one, two = Scratch("run", tmp_path), Scratch("run", tmp_path)
    one.close()
    assert two.children.is_dir()
    two.close()
    assert list(tmp_path.iterdir()) == []
    Scratch("run", tmp_path).close()


def test_it_is_private_and_refuses_a_folder_that_is_not(tmp_path):
    one = Scratch("run", tmp_path / "mine")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
    one.close()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(OSError, match="closed to others"):
        Scratch("run", tmp_path / "open")


def test_a_thing_is_put_once(tmp_path):
    scratch = Scratch("run", tmp_path)
    paths = [scratch.put("x", lambda made: made.write_text("first")) for _ in range(2)]
    assert paths[0] == scratch.put("x", lambda made: made.write_text("second")) == paths[1]
    assert paths[0].read_text() == "first"
    assert not list(scratch.folder.glob(".put-*"))
    scratch.close()


def test_the_oldest_checkpoints_go_first(tmp_path):
    scratch = Scratch("run", tmp_path)
    for age, name in enumerate("abcd"):
        (scratch.children / name).write_bytes(bytes(10))
        os.utime(scratch.children / name, (1000 - age, 1000 - age))
    scratch.trim(25)
    assert sorted(p.name for p in scratch.children.iterdir()) == ["a", "b"]
    scratch.close()


def test_what_killed_runs_left_is_removed_once_it_is_old(tmp_path):
    used = Scratch("used", tmp_path)
    for name in ("old", "new"):
        left = Scratch(name, tmp_path)
        os.close(left._lock)  # as the end of a process does
    for name in ("used", "old"):
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "used"]
    used.close()
