"""The programs of the command line: the whole one, and those of its commands that take settings."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from hybridsearch import __version__
from hybridsearch.config import Config

EPILOGUE = """\
Every setting can stand in the config file (a key, nested by sections) or on the command line
(dotted, e.g. --controller.lr 0.01); the command line wins. Lists are given as --space.unary id
--space.unary tanh. Configs that ship: digits, fashion_mnist, cifar10_small, cifar10
and cifar10_paper (ResNet-20, for a GPU), table_digits and table_cifar10 (a search on a recorded
table, without training).

Exit status: 0 when the work is done, whatever its verdict; 2 for a mistake that you can mend,
told in one line on stderr; 130 after Ctrl-C, when nothing computed is lost. --quiet and --json keep
stdout for the answer. Colours: none where NO_COLOR is set or the output is no terminal.
"""

DEFAULTS = Config()

ConfigFile = Annotated[
    str | None, Parameter(help="YAML file with settings: a path, or the name of a packaged one.")
]

app = App(
    name="hybridsearch",
    help="Search for an activation function, and retest the winners honestly.",
    help_epilogue=EPILOGUE,
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
