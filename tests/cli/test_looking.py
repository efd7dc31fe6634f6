"""The commands that look at things, as a user and a program meet them."""

from __future__ import annotations

import json
import shutil

import pytest

from hybridsearch.cli import main


@pytest.fixture
def at_home(finished_run, tmp_path, monkeypatch):
    """A working folder with runs/a in it."""
    shutil.copytree(finished_run.parent, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_explain_writes_its_picture_where_one_looks_for_it(at_home, capsys):
    assert main(["explain", "-x*sigmoid(x)"]) == 0
    assert main(["explain", "runs/a"]) == 0
    assert main(["explain", "runs/a#0"]) == 0
    assert main(["explain", "tanh(x)", "--out", "t.png"]) == 0
    names = ["explain-x-sigmoid-x.png", "runs/a/explain-winner.png", "runs/a/explain-0.png"]
    out = capsys.readouterr().out
    for name in [*names, "t.png"]:
        assert (at_home / name).read_bytes().startswith(b"\x89PNG")
        assert f"Picture: {name}\n" in out


def test_explain_and_list_speak_json(at_home, capsys):
    assert main(["explain", "runs/a", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["picture"] is None
    assert answer["run"]["folder"] == "runs/a"
    assert main(["list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["runs"]
    assert (row["folder"], row["state"], row["winner"]) == ("runs/a", "finished", answer["label"])
    assert not list(at_home.rglob("explain-*"))
    assert main(["explain", "GELU", "--json", "--out", "g.png"]) == 0
    assert json.loads(capsys.readouterr().out)["picture"] == "g.png"
    assert (at_home / "g.png").exists()


def test_nothing_is_cut_where_there_is_no_terminal(at_home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    name = "a-run-with-a-name-that-is-longer-than-forty-columns"
    (at_home / "runs/a").rename(at_home / "runs" / name)
    assert main(["list"]) == 0
    [line] = [x for x in capsys.readouterr().out.splitlines() if name in x]
    assert "finished" in line
    assert main(["explain", f"runs/{name}", "--no-picture"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "of two functions of one unit, half are more than 0.96 apart" in out


@pytest.mark.parametrize(
    "words, expected",
    [
        (["explain", "foo(x)"], "unknown function 'foo'"),
        (["explain", "runs/a#77"], "has no proposal 77"),
        (["explain", "runs/none#0"], "holds no run"),
        (["watch", "runs"], "holds no run"),
        (["list", "none"], "is no folder"),
        (["explain", ""], "got nothing"),
        (["explain", "sin(" * 90 + "x"], "hybridsearch: "),
        (["explain", "sin(" * 90 + "/x"], "hybridsearch: "),
        (["export", "sin(" * 90 + "x"], "hybridsearch: "),
        (["benchmark", "--only", "sin(" * 90 + "x"], "hybridsearch: "),
        (["table", "t" * 300], "no recorded table"),
        (["--config", "c" * 300], "no config file"),
        (["report", "r" * 300], "file name too long"),
        (["report", "runs/a", "--out", "taken.py"], "taken.py cannot be made a folder"),
        (["report", "runs/a", "--out", "none/page"], "there is no folder none"),
        (["export", "GELU", "--out", "taken.py/a.py"], "there is no folder taken.py"),
        (["export", "GELU", "--out", "none/a.py"], "there is no folder none"),
        (["explain", "GELU", "--out", "none/a.png"], "there is no folder none"),
        (["--out", "taken.py"], "taken.py cannot be made a folder"),
        (["--out", "taken.py/a"], "taken.py/a cannot be made a folder"),
        (["resume", "runs/none"], "holds no run"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(at_home, capsys, words, expected):
    (at_home / "taken.py").write_text("pass")
    assert main(words) == 2
    seen = capsys.readouterr()
    assert len(seen.err.splitlines()) == 1
    assert expected in seen.err
    assert seen.out == ""
    assert not (at_home / "none").exists()


def test_watch_once_says_how_it_is(at_home, capsys):
    assert main(["watch", "runs/a", "--once"]) == 0
    out = capsys.readouterr().out
    assert "finished" in out
    assert "8 of 8" in out


def test_a_search_on_a_table_ends_with_its_verdict_and_is_listed(at_home, capsys):
    words = ["--table", "digits", "--budget", "4", "--strategy", "random"]
    assert main([*words, "--out", "runs/t"]) == 0
    assert "Verdict: on a recorded table: the incumbent is number" in capsys.readouterr().out
    assert main(["watch", "runs/t"]) == 0
    assert "Verdict: on a recorded table" in capsys.readouterr().out
    assert main(["list", "runs/t"]) == 0
    assert "of its table" in capsys.readouterr().out
