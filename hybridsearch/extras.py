"""Packages that only some commands need, and the line that says how to get them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hybridsearch.errors import UserError


def need(module: str, extra: str, what: str) -> Any:
    """A module of an extra. what: what needs it, for people.

    Raises: UserError naming the command that installs the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = (error.name or package).partition(".")[0]
        raise UserError(
            f"{what} needs {missing}, which is not installed: pip install 'hybridsearch[{extra}]'"
        ) from error
