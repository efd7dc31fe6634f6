"""Scratch folders are shared, bounded and removed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hybridsearch.pools import scratch as scratch_module
from hybridsearch.pools.scratch import GONE, Scratch, sweep


def test_the_last_of_a_machine_removes_the_folder(tmp_path):
    one, two = Scratch("run", tmp_path), Scratch("run", tmp_path)
    one.close()
    assert two.children.is_dir()
    two.close()
    assert list(tmp_path.iterdir()) == []
    Scratch("run", tmp_path).close()


def test_who_opens_it_while_it_is_removed_gets_a_new_one(tmp_path, monkeypatch):
    remove, others = scratch_module.shutil.rmtree, []

    def slowly(folder, **how):
        if Path(folder).parent == tmp_path:  # shutil is everybody's
            other = Scratch("run", tmp_path)
            others.append((other, other.put("x", lambda made: made.write_text("kept"))))
        remove(folder, **how)

    one = Scratch("run", tmp_path)
    one.put("x", lambda made: made.write_text("old"))
    monkeypatch.setattr(scratch_module.shutil, "rmtree", slowly)
    one.close()
    monkeypatch.undo()
    ((other, path),) = others
    assert path.read_text() == "kept" and other.children.is_dir()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_half_removed_is_removed_once_it_is_old(tmp_path):
    half = tmp_path / f"{GONE}abc"
    (half / "run").mkdir(parents=True)
    sweep(tmp_path)
    assert half.is_dir()
    os.utime(half, (0, 0))
    sweep(tmp_path)
    assert not half.exists()


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
