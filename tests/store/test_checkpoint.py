from __future__ import annotations

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hybridsearch.errors import UserError
from hybridsearch.store import checkpoint, disk
from hybridsearch.store.checkpoint import load_checkpoint, save_checkpoint
from hybridsearch.types import State

STATE = State({"n": 3, "big": 2**80}, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "c.safetensors"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"records": 4}, STATE)
    return path


def test_round_trip(path):
    values, back = load_checkpoint(path)
    assert values == {"records": 4}
    assert back.values == STATE.values
    assert np.array_equal(back.arrays["w"], STATE.arrays["w"])
    save_checkpoint(path, {"records": 5}, State({"n": 4}))
    assert load_checkpoint(path)[0] == {"records": 5}


def test_every_flipped_bit_and_every_cut_is_noticed(path):
    data = path.read_bytes()
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        found = load_checkpoint(path)
        # The order of keys in a header, and spaces, mean nothing.
        assert isinstance(found, str) or found[0] == {"records": 4}, place
        if not isinstance(found, str):
            assert found[1].values == STATE.values
            assert found[1].arrays["w"].tobytes() == STATE.arrays["w"].tobytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert load_checkpoint(path) == "it is damaged"


def test_another_version_is_told(path, monkeypatch):
    written = checkpoint.VERSION
    monkeypatch.setattr(checkpoint, "VERSION", 77)
    assert load_checkpoint(path) == f"it is of version {written}, expected 77"


def test_what_is_no_checkpoint(path):
    save_file(load_file(path), path, metadata={"run": json.dumps({})})
    assert load_checkpoint(path) == "it is damaged"


def test_a_disk_that_fails_leaves_the_old_one(path, monkeypatch):
    def fail(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "sync", fail)
    with pytest.raises(UserError, match="cannot be written: Input/output error"):
        save_checkpoint(path, {"records": 5}, STATE)
    assert load_checkpoint(path)[0] == {"records": 4}


def test_a_folder_that_cannot_be_written_is_one_line(path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path.parent.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            save_checkpoint(path, {}, STATE)
    finally:
        path.parent.chmod(0o700)
