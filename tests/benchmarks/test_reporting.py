"""What benchmark programs print."""

from __future__ import annotations

from reporting import print_table


def test_a_table_in_a_pipe_is_as_wide_as_its_rows(capsys):
    wide = "max(" * 30 + "x" + ", 0)" * 30
    print_table("title", ("seed", "winner"), [(0, wide), (1, 0.123456)])
    shown = capsys.readouterr().out.splitlines()
    assert sum(wide in line for line in shown) == 1
    assert any("0.1235" in line for line in shown)
    assert len({len(line.rstrip()) for line in shown[1:]}) == 1


def test_a_narrow_terminal_shows_all_of_an_expression(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    print_table("title", ("seed", "winner"), [(0, "abcdefghij" * 5)])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("j") == 5
