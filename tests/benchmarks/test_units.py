"""The benchmark of more units: which runs it makes, and what it compares."""

from __future__ import annotations

import json

import pytest
import units

from hybridsearch.genome.function import resolve


def test_the_optimum_is_the_best_of_the_table():
    assert len(resolve(units.optimum()).spec.split()) <= 5
    assert units.optimum() == units.optimum()


def test_configs_differ_in_units_and_seed_alone():
    one, two = (units.config_of(k, 3, 45.0, "hybrid", False) for k in (1, 2))
    assert (one.space.max_units, two.space.min_units, two.space.max_units) == (1, 2, 2)
    assert one.model_copy(update={"space": two.space}) == two
    assert one.seconds == 45 and one.seed == 3


def test_winners_are_compared_seed_by_seed(monkeypatch, tmp_path, capsys):
    asked = []

    def run(config, folder, observer):
        asked.append((config.seed, config.space.max_units))
        test = 0.90 + 0.01 * config.space.max_units + 0.001 * config.seed
        winner = {"mean": test, "validation": -0.1 * config.space.max_units, "expression": "x"}
        return {"winner": winner, "budgets": {"distinct": 7}}

    best = lambda config, *_: {  # noqa: E731
        "winner": {"mean": 0.0, "validation": -0.1},
        "duel": {"winner": {"mean": 0.91 + 0.001 * config.seed}},
    }
    monkeypatch.setattr(units, "run", run)
    monkeypatch.setattr(units, "retested", best)
    path = tmp_path / "u.json"
    units.main(["--units", "1,3", "--seeds", "4", "--out", str(tmp_path), "--json", str(path)])
    assert asked == [(seed, k) for seed in range(4) for k in (1, 3)]
    found = json.loads(path.read_text())
    assert found["units_1"]["less_optimum"]["test"]["mean"] == pytest.approx(0.0)
    assert found["units_3"]["less_optimum"]["test"]["mean"] == pytest.approx(0.02)
    assert found["units_3"]["less_optimum"]["validation"]["mean"] == pytest.approx(-0.2)
    assert "93.15%" in capsys.readouterr().out
