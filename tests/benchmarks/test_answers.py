"""The answers benchmark: its settings, what it counts, and a small one from end to end."""

from __future__ import annotations

import json

import answers
import pytest


def summary(seed, lead, verdict, mean):
    return {
        "seed": seed,
        "winner": {"expression": f"f{seed}", "validation": -0.5 + lead},
        "best_baseline": {"label": "GELU", "validation": -0.5},
        "difference_to_best_baseline": {"mean": mean, "low": mean - 0.01, "high": mean + 0.01},
        "verdict": verdict,
        "budgets": {"distinct": 10},
    }


@pytest.mark.parametrize("name", answers.TASKS)
def test_a_run_is_the_default_one_for_half_an_hour_with_a_retest_on_seeds_100_to_119(name):
    config = answers.config_of(answers.TASKS[name], 3, 1800.0, quick=False)
    assert (config.strategy, config.screened, config.seed, config.seconds) == ("rl", True, 3, 1800)
    assert (config.retest.first, config.retest.seeds) == (100, 20)
    assert config.batch is None and config.fidelity.forecast


def test_the_run_that_is_told_of_is_named_on_validation_and_only_better_ones_are_found():
    runs = [
        summary(0, 0.01, "better", 0.03),
        summary(1, 0.02, "not shown", 0.001),
        summary(2, 0.0, "rediscovered", 0.0),
    ]
    found = answers.answer(runs)
    assert (found["winner"], found["found"], found["seeds"]) == ("f1", 1, [0, 1, 2])
    assert found["difference"]["mean"] == 0.001 and len(found["runs"]) == 3


@pytest.mark.slow
def test_a_small_one_from_end_to_end(tmp_path, capsys):
    arguments = ["--quick", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]
    assert answers.main(arguments) == 0
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["digits"]
    assert len(found["seeds"]) == 2 and set(found["difference"]) == {"mean", "low", "high"}
    assert list(found["transfer"]) == ["digits, digits_mlp"]
    assert "better in" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("log*")}
    assert answers.main(arguments) == 0  # from what is there
    again = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["digits"]
    assert again == found
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("log*")} == before


def test_finished_runs_are_told_of_without_a_search(tmp_path, capsys):
    for seed in (10, 2):
        folder = tmp_path / f"cifar10-seed{seed}"
        folder.mkdir()
        kept = {**summary(seed, 0.01, "better", 0.03), "finalists": ["one"]}
        (folder / "summary.json").write_text(json.dumps(kept), encoding="utf-8")
    (tmp_path / "cifar10-seed3").mkdir()  # has not come to its end
    words = ["--out", str(tmp_path), "--seeds", "0", "--transfer-seeds", "0"]
    assert answers.main([*words, "--tasks", "cifar10", "--json", str(tmp_path / "a.json")]) == 0
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found["cifar10"]["seeds"] == [2, 10]
    assert "better in 2 of 2" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        answers.main([*words, "--tasks", "digits"])
    assert stop.value.code == 2
    assert "no finished run of digits" in capsys.readouterr().err


def test_a_task_that_is_not_there_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        answers.main(["--tasks", "nowhere"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
