"""What a command prints where: for a person, briefly, or for a program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from hybridsearch import __version__
from hybridsearch.analysis.tables import verdict_lines
from hybridsearch.cli import main

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]")


@pytest.fixture
def at_home(tmp_path, monkeypatch, tiny_settings):
    """A working directory with tiny.yaml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings(strategy="random")))
    return tmp_path


def test_json_and_quiet_keep_stdout_for_the_answer(at_home, capsys):
    assert main(["--config", "tiny.yaml", "--out", "runs/a", "--json"]) == 0
    out, err = capsys.readouterr()
    saved = json.loads((at_home / "runs/a/summary.json").read_text())
    assert json.loads(out) == {**saved, "folder": "runs/a"}
    assert "Run folder: runs/a" in err and "Searching" in err
    assert "Retest on fresh seeds" not in out + err  # the table is for people

    assert main(["resume", "runs/a", "--quiet"]) == 0
    out, err = capsys.readouterr()
    first, found, *_ = out.splitlines()
    assert first.startswith("Verdict: ")
    assert found.endswith(f" on validation: {saved['winner']['label']}")
    assert out.splitlines() == verdict_lines(saved)
    assert err == ""

    assert main(["resume", "runs/a", "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == saved["verdict"]
    assert err == ""


def test_a_search_on_a_recorded_table_ends_with_its_verdict(at_home, capsys):
    words = ["--config", "table_digits", "--strategy", "random", "--budget", "5", "--out", "runs/t"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "Verdict: on a recorded table: the incumbent is number" in out
    assert main(["resume", "runs/t", "--quiet"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("flags", [[], ["--quiet"], ["--json"]])
def test_ctrl_c_is_130_and_says_how_to_go_on(at_home, capsys, monkeypatch, flags):
    def stop(settings, folder, observer):
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridsearch.session.search", stop)
    assert main(["--config", "tiny.yaml", "--out", "runs/my c", *flags]) == 130
    out, err = capsys.readouterr()
    assert "python -m hybridsearch resume 'runs/my c'" in (err if flags else out)
    if flags:
        assert out == ""


def test_ctrl_c_before_a_run_has_begun_does_not_ask_for_a_resume(at_home, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridsearch.session.search", stop)
    assert main(["--config", "tiny.yaml", "--out", "runs/c"]) == 130
    out = capsys.readouterr().out
    assert "resume" not in out and "before the run began" in out


def test_a_path_with_brackets_is_printed_as_it_is(at_home, capsys, monkeypatch):
    place = Path("tables/[v2]/table.safetensors")
    monkeypatch.setattr("hybridsearch.tabulate.record", lambda *_: place)
    assert main(["record", "--config", "tiny.yaml", "--out", "tables/[v2]"]) == 0
    assert "tables/[v2]/table.safetensors" in capsys.readouterr().out
    monkeypatch.setattr("hybridsearch.paper.show.estimate", lambda *_, **__: [])
    assert main(["benchmark", "--estimate", "--out", "tables/[v2]"]) == 0
    assert "Folder of the benchmark: tables/[v2]" in capsys.readouterr().out


def test_ctrl_c_while_pictures_are_drawn_does_not_ask_for_a_resume(at_home, capsys, monkeypatch):
    def stop(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridsearch.session.draw_run", stop)
    words = ["--config", "table_digits", "--strategy", "random", "--budget", "2", "--out", "runs/p"]
    assert main(words) == 130
    out = " ".join(capsys.readouterr().out.split())
    assert "the run is finished" in out and "python -m hybridsearch report runs/p" in out
    assert "Continue" not in out


def test_a_run_that_cannot_begin_is_not_announced(at_home, capsys):
    (at_home / "wrong.py").write_text("def build(make_activation):\n    raise ValueError('no')\n")
    words = ["--config", "tiny.yaml", "--network", "wrong:build", "--out", "runs/w"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "Run folder" not in out + err
    assert not (at_home / "runs/w").exists()


def test_the_flags_are_no_settings(at_home, capsys):
    """A config file with them is a mistake: they would stand in the run's config.yaml."""
    (at_home / "loud.yaml").write_text("quiet: true\n")
    assert main(["--config", "loud.yaml"]) == 2
    assert "quiet" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["resume"], ["compare"]])
def test_the_version_is_ours_whatever_stands_before_it(command, capsys):
    assert main([*command, "--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_no_colour_where_it_is_not_wanted(capsys, monkeypatch):
    monkeypatch.setattr("hybridsearch.tabulate.card_of", lambda name: f"The table `{name}`")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["table", "digits"]) == 0
    assert COLOUR.search(capsys.readouterr().out)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["table", "digits"]) == 0
    out = capsys.readouterr().out
    assert "digits" in out and not COLOUR.search(out)
