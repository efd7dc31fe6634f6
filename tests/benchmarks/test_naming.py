from __future__ import annotations

import json

import naming
import numpy as np
import pytest


def test_luck_on_validation_counts_on_the_seeds_that_name_and_not_on_others():
    luck = np.random.default_rng(0).normal(size=(40, 2 * naming.SEEDS))
    both = naming.Scores(luck, luck)  # who is lucky on validation is so on test
    rng = np.random.default_rng(1)
    found = naming.compare(naming.alike(both), 40, 1, 2000, rng, again=True)
    # The expected maximum of five means of ten numbers is 1.163 / sqrt(10).
    assert found["on_naming_seeds"] == pytest.approx(0.368, abs=0.03)
    assert found["on_further_seeds"] == pytest.approx(0.0, abs=0.03)
    wrongly, rightly = found["says_better"]
    assert wrongly > 2 * rightly
    assert rightly == pytest.approx(0.025, abs=0.012)
    fair = naming.compare(naming.alike(both), 40, 5, 2000, rng, again=True)
    assert fair["bias"] == pytest.approx(0.0, abs=0.03)


def test_the_recorded_table_is_told_and_kept(tmp_path):
    assert naming.main(["--draws", "20", "--json", str(tmp_path / "naming.json")]) == 0
    told = json.loads((tmp_path / "naming.json").read_text())
    assert [(r["best"], r["baselines"]) for r in told["rows"]] == [
        (30, 1),
        (30, 9),
        (100, 1),
        (100, 9),
    ]
