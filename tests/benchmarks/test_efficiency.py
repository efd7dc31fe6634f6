"""The efficiency benchmark: its portfolio, its steps, and one small table from end to end."""

from __future__ import annotations

import json

import efficiency
import pytest

from hybridsearch.comparison.field import field_of_table
from hybridsearch.comparison.measures import measure
from hybridsearch.comparison.summary import summarise
from hybridsearch.comparison.trace import Trace
from hybridsearch.config import make_config


def trace(name, functions, seed=3):
    values = tuple(float(f) / 10 for f in functions)
    return Trace(name, name, seed, tuple(functions), values, (1,) * len(functions), "done")


def test_a_portfolio_takes_turns_and_counts_what_both_found_once():
    one, other = trace("a", [1, 2, 3, 4, 5, 6]), trace("b", [7, 2, 8, 1, 9, 3])
    both = efficiency.interleave(one, other, lambda known: 2)
    assert both.functions == (1, 2, 7, 3, 4, 8)  # a: 1 2, b: 7 (2), a: 3 4, b: 8 (1); six in all
    assert both.fitness == (0.1, 0.2, 0.7, 0.3, 0.4, 0.8)
    assert both.strategy == "portfolio" and both.seed == 3 and len(both.rungs) == 6


def test_steps_until_the_target(small_table):
    table = small_table
    field = field_of_table(table)
    order = [int(row) for row in table.truth.argsort()]  # worst first: the best comes last
    run = measure(trace("a", order[-5:]), field, (4, 16, 0), 5)
    assert run.to_target == 5 and efficiency.steps_to_target(run) == 5 * 16
    lost = measure(trace("a", order[:5]), field, (4, 16, 0), 5)
    assert efficiency.steps_to_target(lost) == float("inf")


@pytest.mark.slow
def test_a_table_from_end_to_end(tmp_path, small_table):
    config = make_config(
        {"table": str(tmp_path / "t.safetensors"), "budget": 16, "pool": "inline", "seed": 5}
        | {"fidelity": {"rungs": [1.0]}, "controller": {"hidden": 8, "embedding": 4}}
    )
    summary, found = efficiency.on_table(config, 2, tmp_path / "out")
    names = [*efficiency.PLAIN, *efficiency.SCREENED, efficiency.PORTFOLIO]
    assert list(summary.strategies) == names == list(found["strategies"])
    assert found["batch"]["rl"] == [2, 2] and found["batch"]["rl-screen"] == [32, 32]
    for values in found["strategies"].values():
        for key in ("mean_regret_1_300", "area", "training_steps_to_target"):
            assert set(values[key]) == {"value", "low", "high"}
    json.dumps(found, allow_nan=False)
    again, repeated = efficiency.on_table(config, 2, tmp_path / "out")  # from the ledger
    assert repeated == found and again.seeds == 2


def test_of_one_seed_no_interval_is_shown(small_table, capsys):
    field = field_of_table(small_table)
    order = [int(row) for row in small_table.truth.argsort()]
    asked = {"hybrid": order[-5:], "rl": order[-5:][::-1], "random": order[:5]}
    runs = {
        name: [measure(trace(name, rows), field, (4, 16, 0), 5)] for name, rows in asked.items()
    }
    found = efficiency.sooner(runs, 5)
    assert found["random"]["functions"]["value"] == 1 and found["random"]["steps"]["low"] is None
    steps = {name: {"training_steps_to_target": {"value": None}} for name in runs}
    result = {"strategies": steps, "hybrid_sooner": found}
    efficiency.show("small", summarise(runs, field, 5), result)
    text = capsys.readouterr().out
    assert "nan" not in text and "95%" not in text and text.count("1.00 (-)") == 2


def test_a_table_that_is_not_there_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        efficiency.main(["--tables", "nowhere", "--quick"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
