"""The one exception that is meant to be read by a person, and helps for writing it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: one line that says what was expected, what came, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


def first_line(text: object, default: str = "") -> str:
    """The first line of what something says, an exception, say; `default` where it says nothing."""
    return next(iter(str(text).strip().splitlines()), default)


def told(error: BaseException) -> str:
    """An exception of somebody else's in one line: its type and its first line."""
    return f"{type(error).__name__}: {first_line(error)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error line: the nearest known word, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
