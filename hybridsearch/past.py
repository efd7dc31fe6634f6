"""Which recorded tables a search has for experience, and what they teach.

In the config of a run every table stands with its digest, so that a run is never continued, and a
comparison never mixed, with another experience than it began with.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.surrogate.experience import Experience, Past
from hybridsearch.tables.table import Table, load_table, packaged_tables

DIGITS = 8  # of a table's digest


def settled(config: Config) -> Config:
    """The config with its experience spelled out: NAME@DIGEST with commas between.

    Raises: UserError when a table is missing, or is another one than the config says.
    """
    if not config.screened:
        return config
    names = ",".join(f"{name}@{table.digest[:DIGITS]}" for name, table in _tables(config).items())
    if not names:
        return config
    screen = config.screen.model_copy(update={"experience": names})
    return config.model_copy(update={"screen": screen})


def experience_of(config: Config) -> Experience:
    """What the tables of a config teach. Raises: UserError as `settled` does."""
    return _experience(tuple(_tables(config)))


@lru_cache(maxsize=4)
def _experience(names: tuple[str, ...]) -> Experience:
    return Experience([_past(_loaded(name)) for name in names])


def _past(table: Table) -> Past:
    """The mean validation score of every function that a search can propose."""
    genomes = table.genomes
    scores = np.nanmean(table.scores("validation")[list(genomes), :, -1], axis=1)
    return Past(list(genomes.values()), scores)


def _tables(config: Config) -> dict[str, Table]:
    """Name or file -> table."""
    asked = config.screen.experience
    if asked == "none":
        return {}
    if asked == "auto":
        shipped = {p.stem: _loaded(p.stem) for p in sorted(packaged_tables().glob("*.safetensors"))}
        return {n: t for n, t in shipped.items() if t.config.data.name != config.data.name}
    found = {}
    for text in filter(None, map(str.strip, asked.split(","))):
        name, at, digest = text.rpartition("@")
        if not at or len(digest) != DIGITS:
            name, digest = text, ""
        try:
            table = _loaded(name)
        except UserError as error:
            raise UserError(f"screen.experience: {error}") from error
        if not table.digest.startswith(digest):
            raise UserError(
                f"screen.experience: expected the table {name} with digest {digest}, found "
                f"{table.digest[:DIGITS]}; it has changed since, so begin a new run"
            )
        found[name] = table
    return found


@lru_cache(maxsize=4)
def _loaded(name: str) -> Table:
    return load_table(name)
