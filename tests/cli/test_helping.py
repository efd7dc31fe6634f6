"""Help: one screen of what people use, and everything for who asks."""

from __future__ import annotations

from functools import cache

import docstring_parser
import pytest

from hybridsearch.cli import COMMANDS, main
from hybridsearch.cli.helping import USUAL

STATUSES = "Exit status: 0 when"
ONCE = cache(docstring_parser.parse_from_object)  # it reads the source: seconds in all


def told(capsys, monkeypatch, *words):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(docstring_parser, "parse_from_object", ONCE)
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_the_short_help_names_commands_usual_settings_and_the_way_to_all(capsys, monkeypatch):
    short = told(capsys, monkeypatch, "--help")
    for word in (*COMMANDS, *(f"--{name}" for name in USUAL), "--out", "--help-all", STATUSES):
        assert word in short
    assert "--controller.lr" not in short
    assert short == told(capsys, monkeypatch, "-h")
    every = told(capsys, monkeypatch, "--help-all")
    assert "--controller.lr" in every and "Configs that ship" in every
    assert len(short.splitlines()) < 0.3 * len(every.splitlines())


@pytest.mark.parametrize("command", ["compare", "record"])
def test_commands_with_settings_tell_their_own_options_first(command, capsys, monkeypatch):
    short = told(capsys, monkeypatch, command, "--help")
    assert "--out" in short and "--budget" in short and "--controller.lr" not in short
    assert f"python -m hybridsearch {command} --help-all" in " ".join(short.split())
    assert "--controller.lr" in told(capsys, monkeypatch, command, "--help-all")


def test_what_is_not_true_of_a_command_is_not_told_of_it(capsys, monkeypatch):
    for command in ("list", "export", "completion", "table"):
        out = told(capsys, monkeypatch, command, "--help")
        assert "setting" not in out.replace("commands and settings", "")
        assert STATUSES not in out and "130" not in out
    assert STATUSES in told(capsys, monkeypatch, "resume", "--help")
    assert "exit status 1" in told(capsys, monkeypatch, "watch", "--help")


def test_formulas_in_a_help_are_whole(capsys, monkeypatch):
    assert "x*sigmoid(beta*x)" in told(capsys, monkeypatch, "explain", "--help")
