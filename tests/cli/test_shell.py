"""Completion: what a shell offers on TAB."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
from functools import cache

import docstring_parser
import pytest

from hybridsearch.cli import COMMANDS, main


@pytest.fixture(scope="module")
def script():
    """A function from a shell's name to its script; nothing is read from the source twice."""
    once = cache(docstring_parser.parse_from_object)

    @cache
    def make(shell):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            assert main(["completion", shell]) == 0
        return text.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docstring_parser, "parse_from_object", once)
        yield make


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_commands_and_settings(shell, script, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = script(shell)
    for word in (*COMMANDS, "controller.lr", "regularized"):
        assert word in text
    assert not list(tmp_path.iterdir())  # nothing is installed


def test_another_shell_is_one_line_and_status_2(capsys):
    assert main(["completion", "bsh"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["hybridsearch", "re"], ["record", "report", "resume"]),
        (["hybridsearch", "--controller.l"], ["--controller.least", "--controller.lr"]),
        (["hybridsearch", "--strategy", "ex"], ["exhaustive"]),
        (["hybridsearch", "resume", "--q"], ["--quiet"]),
    ],
)
def test_bash_offers_what_begins_so(typed, offered, script, tmp_path):
    words = " ".join(typed)
    asked = script("bash") + (
        f'COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; COMP_LINE="{words}"\n'
        'COMP_POINT=${#COMP_LINE}; _hybridsearch; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert set(offered) <= set(done.stdout.split())
    assert all(word.startswith(typed[-1]) for word in done.stdout.split())
