"""The command line: `python -m hybridsearch [options]`, and commands beside the search.

Errors that a user can mend end in one line and exit status 2, Ctrl-C in 130 with the line that
continues the run, if there is one.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
import warnings

import cyclopts
from cyclopts import App
from cyclopts.config import Dict
from cyclopts.help.formatters import DefaultFormatter
from pydantic import ValidationError

from hybridsearch.cli import looking, shell, taking, training  # noqa: F401  (they add their commands)
from hybridsearch.cli.apps import WITH_SETTINGS, app, searcher
from hybridsearch.cli.helping import ALL, ASKED, Brief, epilogue
from hybridsearch.cli.watching import STOPPED
from hybridsearch.config import explain, read_settings
from hybridsearch.errors import UserError, nearest

# What a disk answers that takes no more, also where a library that draws a picture does not say of
# which file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
COMMANDS = tuple(name for name in app if not name.startswith("-"))


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn every mendable error into one line; returns the exit status."""
    words = [_full_name(w) for w in (sys.argv[1:] if arguments is None else arguments)]
    usual, warnings.formatwarning = warnings.formatwarning, _brief
    try:
        if asked := {*ASKED} & set(words):
            return _help([w for w in words if w not in ASKED], ALL in asked)
        _expect_places(words)
        name = _config_file(words)
        chosen, rest = _app(words)
        given = (Dict(read_settings(name), source=name),) if name is not None else ()
        for one in (searcher, *WITH_SETTINGS.values()):
            one.config = given
        result = chosen(rest, exit_on_error=False, print_error=False)
        return result if isinstance(result, int) else 0
    except cyclopts.ValidationError as error:
        cause = error.__cause__
        return _fail(explain(cause) if isinstance(cause, ValidationError) else str(error))
    except cyclopts.UnusedCliTokensError as error:
        word = (error.unused_tokens or [""])[0]
        return _fail(f"unexpected {word!r}{nearest(word, COMMANDS)}")
    except (cyclopts.CycloptsError, UserError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.filename is not None:
            return _fail(f"{error.filename}: {(error.strerror or str(error)).lower()}")
        if error.errno not in FULL:  # no path that somebody gave, and nothing that they can mend
            raise
        return _fail(
            f"a file cannot be written: {os.strerror(error.errno)}; what was finished is kept, so "
            "mend that and go on"
        )
    except KeyboardInterrupt:  # where no command says how to go on
        print("\nhybridsearch: stopped; the same command begins again", file=sys.stderr)
        return STOPPED
    finally:
        warnings.formatwarning = usual


def _brief(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning as one line; where in the source it was raised is of no use to who runs this."""
    return f"hybridsearch: {message}\n"


def _app(words: list[str]) -> tuple[App, list[str]]:
    """The program for some words of a command line, and the words that are for it."""
    if words and words[0] in WITH_SETTINGS:
        return WITH_SETTINGS[words[0]], words[1:]
    return (app if set(words[:1]) & {*COMMANDS} else searcher), words


def _help(words: list[str], everything: bool) -> int:
    """Print the help of the program or of a command; everything: with all settings."""
    command = next((word for word in words if word in COMMANDS), "")
    settings = not command or command in WITH_SETTINGS
    app.help_formatter = Brief() if settings and not everything else DefaultFormatter()
    app.help_epilogue = epilogue(command, settings, everything)
    app.help_print([command] if command else [])
    return 0


def _full_name(word: str) -> str:
    """`--data digits` is short for `--data.name digits`, as in a config file."""
    option, equals, value = word.partition("=")
    return (
        f"{option}.name{equals}{value}" if option in ("--data", "--network", "--metric") else word
    )


def _expect_places(words: list[str]) -> None:
    """Raises: UserError for an --out that is empty, as an unset variable of a shell makes it: it
    would mean the working directory.
    """
    if "--out=" in words or ("--out", "") in itertools.pairwise(words):
        raise UserError("--out: expected a folder or a file, got nothing; . is the one you are in")


def _config_file(words: list[str]) -> str | None:
    """The value of --config, needed before the other options are read."""
    for place, word in enumerate(words):
        if word.startswith("--config="):
            return word.removeprefix("--config=")
        if word == "--config":
            if place + 1 == len(words):
                raise UserError("--config: expected a file or the name of a packaged config")
            return words[place + 1]
    return None


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"hybridsearch: {line}", file=sys.stderr)
    return 2
