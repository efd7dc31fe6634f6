"""The fidelity benchmark: one small table and one small training from end to end."""

from __future__ import annotations

import json

import fidelity
import numpy as np
import pytest

from hybridsearch.comparison.words import spell
from hybridsearch.config import make_config
from hybridsearch.evidence.resampling import Interval

SMALL = {"budget": 16, "pool": "inline", "screen": {"experience": "none"}}


@pytest.fixture(autouse=True)
def _rungs(monkeypatch):
    """Those that the small table was recorded at."""
    changed = fidelity.DEFAULT.model_copy(update={"rungs": (0.25, 1.0), "first": 2})
    monkeypatch.setattr(fidelity, "DEFAULT", changed)


def test_a_table_from_end_to_end(tmp_path, small_table):
    config = make_config({"table": str(tmp_path / "t.safetensors"), "seed": 5, **SMALL})
    spent, error = fidelity.on_table(config, ["hybrid", "random"], 2, tmp_path / "out")
    assert error == pytest.approx(0, abs=1e-7)  # its replicates are equal
    assert list(spent) == ["hybrid", "random"]
    for by_way in spent.values():
        assert list(by_way) == ["full", "rungs", "scores"]
        assert (by_way["full"].steps == 16 * 16).all()
        assert (by_way["rungs"].steps < by_way["full"].steps).all()
    gaps = {s: fidelity.losses(f"t/{s}", ways) for s, ways in spent.items()}
    made = fidelity.result(spent["random"], gaps["random"]["rungs"], error)
    assert 0.25 < made["steps_ratio"] < 0.8
    assert made["difference"] == pytest.approx(made["regret_rungs"] - made["regret_full"])
    assert made["difference_low"] <= made["difference"] <= made["difference_high"]
    json.dumps(made, allow_nan=False)
    table = list(fidelity.rows(spent, gaps))
    assert len(table) == 6
    written = Interval(*(made[end] for end in ("difference", "difference_low", "difference_high")))
    assert spell(written) in {row[-1] for row in table if row[:2] == ("random", "rungs")}
    again, _ = fidelity.on_table(config, ["random"], 2, tmp_path / "out")  # from the ledger
    assert np.array_equal(again["random"]["full"].loss, spent["random"]["full"].loss)


@pytest.mark.slow
def test_training_from_end_to_end(tmp_path):
    settings = {
        "data": {"train": 200, "validation": 100},
        "network": {"name": "digits_mlp", "width": 4},
        "training": {"steps": 20, "batch_size": 32, "warmup": 3},
        "retest": {"seeds": 2, "finalists": 2, "resamples": 200},
    }
    config = make_config({**settings, **SMALL, "budget": 8})
    spent, error = fidelity.trained(config, ["random"], 1, tmp_path)
    assert error > 0
    full, rungs = (spent["random"][name].steps[0] for name in ("full", "rungs"))
    assert 8 * 20 >= full > rungs  # whoever diverges takes none
    assert -np.log(10) < -spent["random"]["full"].loss[0] < 0
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3


def test_a_table_that_is_not_there_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        fidelity.main(["--tables", "nowhere", "--quick"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
