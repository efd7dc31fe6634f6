"""The soak benchmark: its small form, from end to end, and that it sees what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soak
from soaking import faults, fuzz, memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_small_soak_goes_well(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--quick"]
    command += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "soak.json")]
    command += ["--planted", str(ROOT / "benchmarks" / "results" / "planted.json")]
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
    assert found["planted_bugs"] == found["planted_bugs_noticed"] >= 20
    assert found["wrong"] == []


def test_what_planted_bugs_are_read_from_is_looked_at_first(tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text("[1]")
    for path in (other, tmp_path / "missing"):
        with pytest.raises(SystemExit) as ended:
            soak.main(["--planted", str(path), "--out", str(tmp_path / "out")])
        assert ended.value.code == 2
        assert "planted" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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


def test_a_machine_that_slows_is_told_from_a_search_that_does():
    def look(k, records, yardstick):
        return memory.Look(
            5.0 * k, 1.0 * k, 4.0 * k, 10**8, 10**8 + 10**4 * k, 9, records, yardstick
        )

    steady = [look(k, 100 * k, 0.1) for k in range(200)]
    slowed = [look(k, 100 * min(k, 100) + 50 * max(0, k - 100), 0.1) for k in range(200)]
    machine = [replace(one, yardstick=0.1 if k < 100 else 0.2) for k, one in enumerate(slowed)]
    found = memory.slopes(steady)
    assert found["driver_slope_mb_per_hour"] == pytest.approx(0, abs=1e-9)
    assert found["workers_slope_mb_per_hour"] == pytest.approx(0.01 * 720)
    paces = "pace_last_over_first", "pace_by_spent_last_over_first"
    by_yardstick = "pace_by_yardstick_last_over_first"
    for looks, raw, true in ((steady, 1.0, 1.0), (slowed, 0.5, 0.5), (machine, 0.5, 1.0)):
        found = memory.slopes(looks)
        assert [found[name] for name in paces] == pytest.approx([raw, raw])
        assert found[by_yardstick] == pytest.approx(true)
        assert found["pace_by_yardstick_of_tenths"][1] >= found["pace_by_yardstick_of_tenths"][0]
    assert memory.slopes(steady)["pace_by_yardstick_of_tenths"] == pytest.approx([1.0, 1.0])


def test_a_trend_of_the_pace_comes_with_what_is_known_of_it():
    hours = [0.1 * k for k in range(10)]
    growing = [1.2**hour for hour in hours]
    found = memory._trend(hours, growing)
    assert list(found.values()) == pytest.approx([0.2, 0.2, 0.2])
    noisy = memory._trend(hours, [p * (1.1 if k % 2 else 0.9) for k, p in enumerate(growing)])
    assert noisy["low"] < 0 < 0.2 < noisy["high"]
    assert memory._trend(hours[:3], growing[:3]) is None
