"""Data on their way to the station of this process: brought by one thread, awaited by another."""

from __future__ import annotations

import threading
from collections.abc import Callable

Key = tuple[str, str, str]  # the driver's token, and the good's name and digest

AGAIN = 30.0  # seconds after which it is asked for again: the driver may have been away
_CONTENT: dict[Key, bytes] = {}
_ARRIVED = threading.Condition()


def deliver(key: Key, content: bytes) -> None:
    """Bring what a station may be waiting for, or may yet ask for."""
    with _ARRIVED:
        _CONTENT[key] = content
        _ARRIVED.notify_all()


def withdraw(key: Key) -> None:
    """Forget what was not asked for."""
    with _ARRIVED:
        _CONTENT.pop(key, None)


def wake() -> None:
    """Have all who wait look whether they still should."""
    with _ARRIVED:
        _ARRIVED.notify_all()


def await_delivery(
    key: Key, ask: Callable[[], None], ended: Callable[[], bool] = lambda: False
) -> bytes:
    """What is delivered, taken out; asked for until it is there. ended: whether nobody wants it any
    more, looked at whenever it is asked for, and after `wake`.

    Raises: RuntimeError when that is so: a thread that waited for ever could never be used again.
    """
    with _ARRIVED:
        while not ended():
            if key in _CONTENT:
                return _CONTENT.pop(key)
            ask()
            _ARRIVED.wait(AGAIN)
    raise RuntimeError(f"nobody waits for the data {key[1]!r} any more")
