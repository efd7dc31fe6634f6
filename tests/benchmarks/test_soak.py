"""The soak benchmark: its small form, from end to end, and that it sees what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from soaking import faults, fuzz

ROOT = Path(__file__).resolve().parents[2]


def test_a_small_soak_goes_well(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--quick"]
    command += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "soak.json")]
    for _ in range(2):  # the second time nothing is left to do
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["kills"] >= 2
    assert found["runs_identical"] == found["runs"] >= 2
    assert found["evaluations_lost"] == found["evaluations_repeated"] == 0
    assert found["worker_faults"] >= 2
    assert found["cache_drivers"] == 8
    assert found["duplicate_trainings"] <= found["expired_claims"]
    assert found["fuzz_inputs"] > 1000
    assert found["wrong"] == []


def test_a_wrong_end_of_bad_input_is_seen(tmp_path):
    def read(folder, data):
        if data[0] % 2:
            raise KeyError("k")
        return

    target = fuzz.Target("t", 1.0, lambda draw: bytes([draw.randrange(256)]), read)
    found = fuzz.fuzz(target, 100, tmp_path, 0)
    assert found.inputs == 100
    assert 20 < len(found.failures) < 80
    assert found.failures[0].startswith("KeyError: 'k' for b")


@pytest.mark.parametrize("kind", ["", "once"])
def test_who_is_no_culprit_gives_the_square(tmp_path, kind):
    (tmp_path / "mark").write_text("." if kind else "")
    assert faults.work(faults.Deed(kind, 7, tmp_path / "mark")) == 49
