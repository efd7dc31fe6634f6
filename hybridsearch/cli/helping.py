"""Help in two lengths: what people use, on one screen; and every setting, with --help-all."""

from __future__ import annotations

import re

from cyclopts.help import HelpEntry, HelpPanel, InlineText
from cyclopts.help.formatters import DefaultFormatter
from rich.console import Console, ConsoleOptions
from rich.markdown import Markdown

from hybridsearch.config import Config

ALL = "--help-all"
ASKED = ("--help", "-h", ALL)
USUAL = (  # settings that the short help tells; a command's own options it tells all
    *("strategy", "budget", "seconds", "seed", "data.name", "network.name", "metric.name"),
    *("device", "workers", "table"),
)
SETTINGS = """\
Every setting can stand in the config file (a key, nested by sections) or on the command line
(dotted, e.g. --controller.lr 0.01); the command line wins. Lists are given as --space.unary id
--space.unary tanh. Configs that ship: digits, fashion_mnist, cifar10_small, cifar10 and
cifar10_paper (ResNet-20, for a GPU), table_digits and table_cifar10 (a search on a recorded
table, without training).
"""
MORE = """\
These are the usual settings, in short. All of them, with unit, default and reason, and how to write
them in a config file: {command} {all}
"""
STATUSES = """\
Exit status: 0 when the work is done, whatever its verdict; 2 for a mistake that you can mend,
told in one line on stderr; 130 after Ctrl-C, when nothing computed is lost.
"""
SCRIPTS = """\
--quiet and --json keep stdout for the answer. Colours: none where NO_COLOR is set or the output is
no terminal.
"""


class Brief(DefaultFormatter):
    """The usual help without the settings that few people set, and a sentence of each other."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        shown = [_cut(entry) for entry in panel.entries if not all(map(_seldom, entry.names))]
        super().__call__(console, options, panel.copy(entries=shown))


def _cut(entry: HelpEntry) -> HelpEntry:
    """An entry with the first sentence of what it says."""
    said = entry.description
    if not isinstance(said, InlineText) or not isinstance(said.primary_renderable, Markdown):
        return entry
    first = re.split(r"(?<=\.)\s+(?=[A-Z])", said.primary_renderable.markup, maxsplit=1)[0]
    return entry.copy(description=InlineText.from_format(first, "markdown"), choices=None)


def _seldom(option: str) -> bool:
    """Whether an option is a setting that few people set."""
    if not option.startswith("--"):
        return False
    name = option.removeprefix("--").replace("-", "_")
    return name not in USUAL and ("." in name or name in Config.model_fields)


def epilogue(command: str, settings: bool, everything: bool) -> str:
    """What follows the options. command: its name, "" for a search. settings: it takes them."""
    parts = []
    if settings and everything:
        parts.append(SETTINGS)
    elif settings:
        words = f"python -m hybridsearch {command}".strip()
        parts.append(MORE.format(command=words, all=ALL))
    if settings or command == "resume":
        parts.append(STATUSES)
    if command in ("", "resume", "compare"):
        parts.append(SCRIPTS)
    return "\n".join(parts)
