"""`hybridsearch compare` as a user meets it."""

from __future__ import annotations

import json

import pytest
import yaml

from hybridsearch.cli import main


@pytest.fixture
def at_home(tmp_path, monkeypatch, settings, table_path):
    """A working directory with table.yaml in it."""
    monkeypatch.chdir(tmp_path)
    given = {**settings, "data": "digits", "table": str(table_path)}
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(given))
    return tmp_path


@pytest.mark.slow
def test_compare_prints_its_target_and_what_is_shown(at_home, capsys):
    words = ["compare", "--strategies", "random,local", "--seeds", "3", "--config", "table.yaml"]
    assert main([*words, "--budget", "20", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    for told in ("Comparing strategies", "Target set:", "(N+1)/(m+1)", "P(random better)"):
        assert told in out
    folder = at_home / "comparisons" / "table-small"
    assert json.loads((folder / "comparison.json").read_text())["strategies"].keys() == {
        *("random", "local")
    }
    runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert {r["seed"] for r in runs} == {5, 6, 7}
    assert {len(r["functions"]) for r in runs} == {20}  # the command line wins over the file
    assert main([*words, "--budget", "20", "--seed", "5", "--out", str(folder)]) == 0
    assert "6 of 6 runs are there already" in capsys.readouterr().out

    assert main([*words, "--budget", "20", "--seed", "5", "--json"]) == 0
    told, beside = capsys.readouterr()
    assert json.loads(told) == json.loads((folder / "comparison.json").read_text())
    assert "Folder of the comparison" in beside
    assert main([*words, "--budget", "20", "--seed", "5", "--quiet"]) == 0
    told, beside = capsys.readouterr()
    assert told.count("\n") == 1 and "P(random better)" in told
    assert beside == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--strategies", "rl,evoluton"], "did you mean 'evolution'"),
        (["--strategies", "rl,rl"], "rl is listed twice"),
        (["--strategies", ","], "got none"),
        (["--seeds", "0"], "expected 1 or more, got 0"),
        (["--seeds", "few"], "--seeds"),
        (["--sedes", "3"], "did you mean --seed"),
        (["--seconds", "3"], "leave it out"),
        (["--table", "digts"], "no recorded table 'digts'"),
        (["--fidelity.rungs", "0.25", "--fidelity.rungs", "1"], "compared at 10 steps"),
        (["--evolution.objectives", "score_time"], "evolution.objectives"),
        (["--config", "nope.yaml"], "no config file 'nope.yaml'"),
        (["--budget", "0"], "budget"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(at_home, capsys, words, expected):
    given = [] if "--config" in words else ["--config", "table.yaml"]
    assert main(["compare", *given, *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected.lower() in captured.err.lower()
    assert "Traceback" not in captured.err + captured.out
    assert not (at_home / "comparisons").exists()


def test_ctrl_c_says_how_to_go_on(at_home, capsys, monkeypatch):
    def stopped(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridsearch.comparison.run.compare", stopped)
    assert main(["compare", "--config", "table.yaml"]) == 130
    assert "Continue with the same command" in capsys.readouterr().out


def test_help_names_the_command_and_its_settings(capsys):
    assert main(["compare", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("--strategies", "--seeds", "--budget", "comparisons/"):
        assert words in out
