"""The programs of the command line: the whole one, and those of its commands that take settings."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from hybridsearch import __version__
from hybridsearch.config import Config

DEFAULTS = Config()

ConfigFile = Annotated[
    str | None, Parameter(help="YAML file with settings: a path, or the name of a packaged one.")
]

app = App(
    name="hybridsearch",
    help="Search for an activation function, and retest the winners honestly.",
    version=__version__,
    result_action="return_value",
)


# Those that take settings again, without the commands beside them: in a config file the section
# `data` must not be taken for the command `data`, nor be looked for under `compare`.
searcher = App(name="hybridsearch", version=__version__, result_action="return_value")
recorder = App(name="hybridsearch record", version=__version__, result_action="return_value")
comparer = App(name="hybridsearch compare", version=__version__, result_action="return_value")
retrainer = App(name="hybridsearch benchmark", version=__version__, result_action="return_value")
WITH_SETTINGS = {"record": recorder, "compare": comparer, "benchmark": retrainer}
