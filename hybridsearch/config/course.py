"""Which settings decide the course of a search, so that a run goes on with those it began with."""

from __future__ import annotations

from typing import NamedTuple

from hybridsearch.config.run import Config

# Who trains, and where; changes no result.
MACHINERY = ("device", "workers", "pack", "pool", "cluster", "time_limit", "cache")
# What comes after a search; the log tells of it, and does not take it up with other settings.
AFTERWARDS = ("race", "retest", "record")
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


def departure(before: dict[str, object], config: Config) -> Departure | None:
    """The first setting that is not what it was in `before`, made by `course`, maybe of an older
    version: what that did not know does not count.
    """
    return _departure("", before, course(config))


def _departure(name: str, before: object, now: object) -> Departure | None:
    if isinstance(before, dict) and isinstance(now, dict):
        shared = [key for key in before if key in now]
        inner = (
            _departure(f"{name}.{key}" if name else key, before[key], now[key]) for key in shared
        )
        return next(filter(None, inner), None)
    return None if before == now else Departure(name, before, now)
