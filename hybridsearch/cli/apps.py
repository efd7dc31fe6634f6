"""The programs of the command line: the whole one, and those of its commands that take settings."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from hybridsearch import __version__
from hybridsearch.config import Config

DEFAULTS = Config()

ConfigFile = Annotated[
    str | None, Parameter(help="YAML file with settings: a path, or the name of a packaged one.")
]

# Answers and Ctrl-C come back to `main`, which tells of them.
_ours = partial(
    App, version=__version__, result_action="return_value", suppress_keyboard_interrupt=False
)

app = _ours(
    name="hybridsearch",
    help="Search for an activation function, and retest the winners honestly.",
)


# Those that take settings again, without the commands beside them: in a config file the section
# `data` must not be taken for the command `data`, nor be looked for under `compare`.
searcher = _ours(name="hybridsearch")
recorder = _ours(name="hybridsearch record")
comparer = _ours(name="hybridsearch compare")
retrainer = _ours(name="hybridsearch benchmark")
WITH_SETTINGS = {"record": recorder, "compare": comparer, "benchmark": retrainer}
