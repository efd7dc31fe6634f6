"""Edits of genomes for evolution and local search, valid by construction within a space.

An edit takes and gives a genome of the space: the number of units stays within its limits, tokens
come from its subsets, and a unit reads earlier ones only. Units that nothing reads are dropped
where the space allows fewer. All draws are from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from hybridsearch.genome.units import INPUT_X, Space, Tokens, Unit, to_tokens, to_units

T = TypeVar("T")
Units = tuple[Unit, ...]
Edit = Callable[[Units, Space, np.random.Generator], Units | None]
_FUNCTIONS = (0, 1, 3)  # fields of a Unit
_INPUTS = (2, 4)


# Structure -------------------------------------------------------------------------------------


def subtree(units: Units, number: int) -> Units:
    """The units that unit `number` (from 1) needs, itself last, numbered anew."""
    needed: set[int] = set()
    waiting = [number]
    while waiting:
        k = waiting.pop()
        if k != INPUT_X and k not in needed:
            needed.add(k)
            waiting += units[k - 1].reads()
    new = {INPUT_X: INPUT_X} | {old: place for place, old in enumerate(sorted(needed), start=1)}
    # The ignored input of `beta` may be a unit that is not needed: then it becomes x.
    return tuple(
        u._replace(input1=new.get(u.input1, INPUT_X), input2=new.get(u.input2, INPUT_X))
        for u in (units[k - 1] for k in sorted(needed))
    )


def _shift(unit: Unit, new: Callable[[int], int]) -> Unit:
    return unit._replace(input1=new(unit.input1), input2=new(unit.input2))


def _remove(units: Units, number: int, instead: int) -> Units:
    """Without unit `number`; who read it reads `instead`, an earlier one."""
    kept = units[: number - 1] + units[number:]
    return tuple(_shift(u, lambda i: instead if i == number else i - (i > number)) for u in kept)


def _tidy(units: Units, space: Space) -> Units:
    """Without the units that the result does not need, as far as the space allows."""
    needed = subtree(units, len(units))
    if len(needed) >= space.min_units:
        return needed
    while len(units) > space.min_units:
        read = set().union(*(u.reads() for u in units))
        dead = [k for k in range(1, len(units)) if k not in read]
        if not dead:
            break
        units = _remove(units, dead[-1], INPUT_X)
    return units


def _put(unit: Unit, field: int, value: Any) -> Unit:
    parts: list[Any] = list(unit)
    parts[field] = value
    return Unit(*parts)


def _replace(units: Units, number: int, unit: Unit) -> Units:
    return (*units[: number - 1], unit, *units[number:])


def _wrap(units: Units, reader: int, field: int, binary: str, operands: Sequence[str]) -> Units:
    """A new unit between a reader and what it reads: binary(first(value), second(x)).

    reader: number of a unit whose input `field` is wrapped, or one more than the last unit: then
    the result is. The new unit has that number.
    """
    value = len(units) if reader > len(units) else units[reader - 1][field]
    new = Unit(binary, operands[0], int(value), operands[1], INPUT_X)
    after = [_shift(u, lambda i: i + (i >= reader)) for u in units[reader - 1 :]]
    if after:
        after[0] = _put(after[0], field, reader)
    return (*units[: reader - 1], new, *after)


def _turned(units: Units, number: int) -> Units:
    """The operands of a unit change sides."""
    binary, unary1, input1, unary2, input2 = units[number - 1]
    return _replace(units, number, Unit(binary, unary2, input2, unary1, input1))


def _wrappable(units: Units) -> list[tuple[int, int]]:
    """Every (reader, field) of `_wrap`; the result has no field."""
    inner = [(k, field) for k in range(1, len(units) + 1) for field in _INPUTS]
    return [*inner, (len(units) + 1, -1)]


# Mutations: None where one does not apply ---------------------------------------------------------


def change_function(units: Units, space: Space, rng: np.random.Generator) -> Units | None:
    """One unary or binary function becomes another of the space."""
    fields = [f for f in _FUNCTIONS if len(_choices(f, 1, space)) > 1]
    if not fields:
        return None
    return _change(units, int(rng.integers(len(units))) + 1, _pick(fields, rng), space, rng)


def change_input(units: Units, space: Space, rng: np.random.Generator) -> Units | None:
    """One unit reads another earlier one, or x."""
    if len(units) < 2:
        return None
    return _change(units, int(rng.integers(1, len(units))) + 1, _pick(_INPUTS, rng), space, rng)


def insert_unit(units: Units, space: Space, rng: np.random.Generator) -> Units | None:
    """A new unit between a unit and one of its inputs, or after the last."""
    if len(units) >= space.max_units:
        return None
    reader, field = _pick(_wrappable(units), rng)
    operands = (_pick(space.unary, rng), _pick(space.unary, rng))
    longer = _wrap(units, reader, field, _pick(space.binary, rng), operands)
    second = _put(longer[reader - 1], _INPUTS[1], int(rng.integers(reader)))
    longer = _replace(longer, reader, second)
    return _turned(longer, reader) if rng.random() < 0.5 else longer


def remove_unit(units: Units, space: Space, rng: np.random.Generator) -> Units | None:
    """A unit goes; its readers read one of its inputs, or the unit before it becomes the last."""
    if len(units) <= space.min_units:
        return None
    number = int(rng.integers(len(units))) + 1
    gone = units[number - 1]
    if number == len(units):
        return units[:-1]
    return _remove(units, number, _pick((gone.input1, gone.input2), rng))


def hoist(units: Units, space: Space, rng: np.random.Generator) -> Units | None:
    """The subtree of an earlier unit becomes the whole function."""
    if len(units) <= space.min_units:
        return None
    return units[: int(rng.integers(space.min_units, len(units)))]


MUTATIONS: tuple[Edit, ...] = (change_function, change_input, insert_unit, remove_unit, hoist)


def mutate(tokens: Tokens, space: Space, rng: np.random.Generator) -> Tokens:
    """One mutation, drawn from those that apply; in a space of one genome, the genome itself."""
    units = to_units(tokens)
    for k in rng.permutation(len(MUTATIONS)).tolist():
        edited = MUTATIONS[k](units, space, rng)
        if edited is not None:
            return to_tokens(_tidy(edited, space))
    return tokens


def _pick(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]


def _choices(field: int, number: int, space: Space) -> Sequence[str] | Sequence[int]:
    """What a field of unit `number` can hold."""
    if field in _INPUTS:
        return range(number)
    return space.binary if field == 0 else space.unary


def _change(units: Units, number: int, field: int, space: Space, rng: np.random.Generator) -> Units:
    unit = units[number - 1]
    others = [c for c in _choices(field, number, space) if c != unit[field]]
    return _replace(units, number, _put(unit, field, others[int(rng.integers(len(others)))]))


# Crossover ----------------------------------------------------------------------------------------


def crossover(
    a: Tokens, b: Tokens, space: Space, rng: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Two children: subtrees of a unit each are exchanged, or functions of a unit each.

    Exchanging whole units of two one-unit genomes would only swap them, so there it is functions.
    """
    one, two = to_units(a), to_units(b)
    p, q = int(rng.integers(len(one))) + 1, int(rng.integers(len(two))) + 1
    subtrees, mask = rng.random() < 0.5, int(rng.integers(1, 7))  # neither none nor all three
    if max(len(one), len(two)) > 1 and subtrees:
        children = _graft(one, p, two, q, space), _graft(two, q, one, p, space)
        if all(len(child) <= space.max_units for child in children):
            return to_tokens(children[0]), to_tokens(children[1])
    unit1, unit2 = one[p - 1], two[q - 1]
    for bit, field in enumerate(_FUNCTIONS):
        if mask >> bit & 1:
            first, second = unit1[field], unit2[field]
            unit1, unit2 = _put(unit1, field, second), _put(unit2, field, first)
    children = _replace(one, p, unit1), _replace(two, q, unit2)
    return to_tokens(_tidy(children[0], space)), to_tokens(_tidy(children[1], space))


def _graft(host: Units, p: int, donor: Units, q: int, space: Space) -> Units:
    """`host` with its unit p replaced by the donor's subtree of unit q; it may be too long."""
    branch = subtree(donor, q)
    moved = [_shift(u, lambda i: i and i + p - 1) for u in branch]
    more = len(branch) - 1
    rest = [_shift(u, lambda i: i + more * (i >= p)) for u in host[p:]]
    return _tidy((*host[: p - 1], *moved, *rest), space)


# Neighbours ---------------------------------------------------------------------------------------


def neighbours(tokens: Tokens, space: Space) -> list[Tokens]:
    """All genomes one step away, each once, in a fixed order, without the genome itself.

    A step: one token changes; a unit goes; or a plain unit comes in, binary(value, x) or
    binary(x, value) with the identity (or the space's first function) inside.
    """
    units = to_units(tokens)
    steps = (to_tokens(_tidy(step, space)) for step in _steps(units, space))
    return [step for step in dict.fromkeys(steps) if step != tokens]


def _steps(units: Units, space: Space) -> Iterator[Units]:
    for number, unit in enumerate(units, start=1):
        for field in (*_FUNCTIONS, *_INPUTS):
            for choice in _choices(field, number, space):
                yield _replace(units, number, _put(unit, field, choice))
    if len(units) > space.min_units:
        yield units[:-1]
        for number, unit in enumerate(units[:-1], start=1):
            yield from (_remove(units, number, i) for i in (unit.input1, unit.input2))
    if len(units) < space.max_units:
        plain = "id" if "id" in space.unary else space.unary[0]
        for reader, field in _wrappable(units):
            for binary in space.binary:
                longer = _wrap(units, reader, field, binary, (plain, plain))
                yield from (longer, _turned(longer, reader))
