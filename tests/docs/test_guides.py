"""Every code block of a guide is run, in order, as a reader would; one without a language is what
the block before it prints.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from hybridsearch.cli import main
from hybridsearch.config import Config
from hybridsearch.errors import UserError

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


def shown(guide: str) -> list[str]:
    """The commands of a guide that are shown and take too long to be run, each on one line."""
    text = (GUIDES / guide).read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^    (python -m hybridsearch .*)$", text, re.M)


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


def test_a_command_that_is_only_shown_is_whole_and_its_settings_are_right(tmp_path, monkeypatch):
    """Taken apart, but not run."""
    monkeypatch.chdir(tmp_path)
    choosing = (GUIDES / "choosing-a-strategy-and-a-budget.md").read_text(encoding="utf-8")
    [mine] = re.findall(r"`mine.yaml`.*?\n\n(.*?)\n\n", choosing, re.S)
    (tmp_path / "mine.yaml").write_text(textwrap.dedent(mine))
    monkeypatch.setattr("hybridsearch.session.search", told := Told())
    monkeypatch.setattr("hybridsearch.tabulate.record", told)
    for guide in sorted(path.name for path in GUIDES.glob("*.md")):
        for line in shown(guide):
            assert not line.endswith("..."), line
            words = shlex.split(line.removeprefix(COMMAND))
            if words[0] == "record" or words[0].startswith("--"):
                assert main(words) == 2  # `Told` ends it
    [real] = [c for c in told.configs if c.data.name == "diabetes:load"]
    assert (real.training.lr, real.retest.seeds, real.race.candidates) == (0.02, 10, 24)
    [recorded] = [c for c in told.configs if c.data.name == "words:load"]
    assert recorded.record.replicates == 3


class Told:
    """Stands for what trains: keeps the settings that it is given."""

    def __init__(self) -> None:
        self.configs: list[Config] = []

    def __call__(self, config: Config, *rest: object) -> None:
        self.configs.append(config)
        raise UserError("told")


def test_links_between_guides_lead_somewhere():
    for path in GUIDES.glob("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            file, _, section = target.partition("#")
            if "://" in target:
                continue
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), f"{path.name}: {target}"
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert not section or section in slugs, f"{path.name}: {target}"
