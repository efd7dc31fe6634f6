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


def await_delivery(key: Key, ask: Callable[[], None]) -> bytes:
    """What is delivered, taken out; asked for until it is there."""
    with _ARRIVED:
        while key not in _CONTENT:
            ask()
            _ARRIVED.wait(AGAIN)
        return _CONTENT.pop(key)
