"""The functions of one core unit, by key: which genome stands for each of them."""

from __future__ import annotations

from functools import cache

from hybridsearch.genome.canonical import keys
from hybridsearch.genome.text import formula
from hybridsearch.genome.units import Space, Tokens


@cache
def one_unit_index() -> dict[str, Tokens]:
    """Key -> representative, for the 6,250 one-unit genomes; built once, in half a second.

    The representative is the genome with the shortest formula, of these the first enumerated.
    """
    genomes = list(Space().enumerate())
    index: dict[str, Tokens] = {}
    lengths: dict[str, int] = {}
    for genome, key in zip(genomes, keys(genomes), strict=True):
        length = len(formula(genome))
        if length < lengths.get(key, length + 1):
            index[key], lengths[key] = genome, length
    return index


def representative(form: Tokens, key: str) -> Tokens:
    """The genome that stands for a function: the index's where one unit can do, else `form`."""
    return one_unit_index().get(key, form)
