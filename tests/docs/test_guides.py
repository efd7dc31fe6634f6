"""Every code block of a guide is run, in order, as a reader would; one without a language is what
the block before it prints.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from hybridsearch.cli import main

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
BLOCK = re.compile(r'^```(\w*)(?: title="(\S+)")?\n(.*?)^```', re.M | re.S)
COMMAND = "python -m hybridsearch "


def blocks(guide: str) -> list[tuple[str, str, str]]:
    """(language, file, text) of the code blocks of a guide."""
    return BLOCK.findall((GUIDES / guide).read_text(encoding="utf-8"))


WITH_CODE = sorted(path.name for path in GUIDES.glob("*.md") if "```" in path.read_text("utf-8"))


def in_this_process(line: str) -> list[str]:
    """What lets the search of a line, if it is one, train in the test's own process."""
    return ["--pool", "inline"] if line.startswith(COMMAND + "--") else []


def lines(text: str) -> list[str]:
    """What is printed, without rules and spaces at ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip(" ─")]


@pytest.mark.parametrize("guide", WITH_CODE)
def test_a_guide_runs_as_it_stands(guide, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    names: dict[str, object] = {"__name__": "guide"}
    found, printed = blocks(guide), ""
    assert found
    try:
        for language, file, text in found:
            if file:
                (tmp_path / file).write_text(text)
            elif language == "python":
                exec(compile(text, guide, "exec"), names)
                printed = capsys.readouterr().out
            elif not language:
                assert lines(text) == lines(printed)
            elif language == "bash":
                for line in text.replace("\\\n", " ").splitlines():
                    assert line.startswith(COMMAND), line
                    # In this process: a start of Python and torch for each would take longer.
                    status = main(
                        [*shlex.split(line.removeprefix(COMMAND)), *in_this_process(line)]
                    )
                    assert status == 0, capsys.readouterr().err
    finally:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(
                sys.modules[name].__file__
            ):
                del sys.modules[name]
