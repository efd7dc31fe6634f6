"""A failure as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A job that its machine did not finish, twice; `timeout` says that it overran its limit."""

    message: str
    timeout: bool
