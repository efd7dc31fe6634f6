"""A station waits for data, and asks until they come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridsearch.pools import deliveries
from hybridsearch.pools.deliveries import await_delivery, deliver, wake, withdraw

KEY = ("token", "search", "digest")


def test_what_came_before_it_was_asked_for_is_there():
    deliver(KEY, b"arrays")
    assert await_delivery(KEY, lambda: None) == b"arrays"
    assert deliveries._CONTENT == {}


def test_it_is_asked_for_until_it_comes(monkeypatch):
    monkeypatch.setattr(deliveries, "AGAIN", 0.01)
    asked = []

    def ask():
        asked.append(1)
        if len(asked) == 3:
            threading.Thread(target=deliver, args=(KEY, b"arrays")).start()

    assert await_delivery(KEY, ask) == b"arrays"
    assert len(asked) >= 3


def test_who_is_not_to_wait_any_more_is_woken():
    ended, asked = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(await_delivery, KEY, asked.set, ended.is_set)
        assert asked.wait(10.0)
        wake()  # for others
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        ended.set()
        wake()
        with pytest.raises(RuntimeError, match="nobody waits for the data"):
            waiting.result(10.0)


def test_what_nobody_wanted_is_forgotten():
    deliver(KEY, b"arrays")
    withdraw(KEY)
    withdraw(KEY)
    assert deliveries._CONTENT == {}
