"""Which settings decide the course of a search, so that a run goes on with those it began with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hybridsearch.config.run import Config

# Who trains, and where; changes no result.
MACHINERY = ("device", "workers", "pack", "pool", "cluster", "time_limit", "cache")
# What comes after a search; the log tells of it, and does not take it up with other settings.
AFTERWARDS = ("race", "retest", "record")
# When a search ends; one that goes on may be given another end.
ENDS = ("budget", "seconds", "patience")
PLACES = {"data": {"folder"}}  # files may move: their digest is compared


class Departure(NamedTuple):
    """A setting that is another than it was."""

    name: str
    before: object
    now: object


def course(config: Config) -> dict[str, object]:
    """The settings that decide the course of a search, as JSON has them."""
    free = dict.fromkeys((*MACHINERY, *AFTERWARDS), True)
    return config.model_dump(mode="json", exclude={**free, **PLACES})


def departures(before: dict[str, object], config: Config) -> list[Departure]:
    """The settings that are not what they were in `before`, made by `course`, maybe of an older
    version: what that did not know does not count.
    """
    return list(_departures("", before, course(config)))


def _departures(name: str, before: object, now: object) -> Iterator[Departure]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in filter(now.__contains__, before):
            yield from _departures(f"{name}.{key}" if name else key, before[key], now[key])
    elif before != now:
        yield Departure(name, before, now)
