"""The rates benchmark: a small one from end to end, and what it refuses."""

from __future__ import annotations

import json

import pytest
import rates


@pytest.mark.slow
def test_a_small_one_from_end_to_end(tmp_path, capsys):
    arguments = ["--quick", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "r.json")]
    assert rates.main(arguments) == 0
    (row,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["digits"]
    assert {0.0333333, 0.1, 0.3} <= {*row["rates"]} and row["own"] == 0.1
    assert len(row["baselines"]) == 9 and row["verdict"] in ("better", "not shown", "worse")
    assert "each function at its own learning rate" in capsys.readouterr().out


def test_runs_are_read_in_the_order_of_their_seeds():
    found = rates.answers(rates.ANSWERS, "digits")
    assert [summary["seed"] for summary in found] == [0, 1, 2, 3, 4]
    assert all(summary["winner"]["expression"] for summary in found)


def test_tasks_and_folders_that_hold_nothing_are_refused(tmp_path, capsys):
    for arguments, words in (
        (["--tasks", "digit"], "expected some of digits"),
        (["--answers", str(tmp_path)], "no finished run of digits"),
    ):
        with pytest.raises(SystemExit) as error:
            rates.main([*arguments, "--out", str(tmp_path)])
        assert error.value.code == 2
        assert words in capsys.readouterr().err
