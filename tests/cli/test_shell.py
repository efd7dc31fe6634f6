"""Completion: what a shell offers on TAB."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import select
import shutil
import subprocess
import time
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


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"there is no {shell}")


OFFERED = pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["hybridsearch", "re"], ["record", "report", "resume"]),
        (["hybridsearch", "--controller.l"], ["--controller.least", "--controller.lr"]),
        (["hybridsearch", "--strategy", "ex"], ["exhaustive"]),
        (["hybridsearch", "resume", "--q"], ["--quiet"]),
    ],
)


@needs("bash")
@OFFERED
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


@needs("fish")
@OFFERED
def test_fish_offers_what_begins_so(typed, offered, script, tmp_path):
    file = tmp_path / "hybridsearch.fish"
    file.write_text(script("fish"), encoding="utf-8")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {file}; complete -C '{' '.join(typed)}'"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        timeout=60,
    )
    words = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert set(offered) <= words
    assert all(word.startswith(typed[-1]) for word in words)


@needs("zsh")
@OFFERED
@pytest.mark.parametrize("way", ["a file in $fpath", "source"])
def test_zsh_offers_what_begins_so(typed, offered, way, script, tmp_path):
    """At a terminal, since zsh completes nowhere else."""
    file = tmp_path / "_hybridsearch"
    file.write_text(script("zsh"), encoding="utf-8")
    begin = {
        "a file in $fpath": f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D",
        "source": f"autoload -Uz compinit; compinit -u -D; source {file}",
    }[way]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-f", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "TERM": "dumb", "COLUMNS": "200"},
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        try:
            # What is typed contains no READY, or its echo would be taken for the answer.
            os.write(ours, f"{begin}; LISTMAX=1000; echo REA''DY\n".encode())
            assert "READY" in read_until(ours, ["READY"])
            os.write(ours, (" ".join(typed) + "\t\t").encode())
            shown = read_until(ours, offered)
            assert all(word in shown for word in offered), shown
        finally:
            shell.kill()
            os.close(ours)


def read_until(terminal, words, seconds=30.0):
    """What a terminal shows until all words are there, or time is up."""
    text, end = "", time.monotonic() + seconds
    while not all(word in text for word in words) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text
