"""The structure of a genome: tokens <-> core units; counting, enumerating, sampling.

A core unit is `b(u1(i1), u2(i2))`. Its five tokens stand in prefix order, `b u1 i1 u2 i2`, and a
genome is the units' tokens one after the other; the last unit's output is the function's value.
An input is `x` or `uK`, the output of the K-th unit before this one (counted from 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from hybridsearch.errors import UserError
from hybridsearch.genome.primitives import BINARY, UNARY

Tokens = tuple[str, ...]
UNIT_LENGTH = 5
INPUT_X = 0  # input number 0 is x; number k is the output of unit k


class Unit(NamedTuple):
    """One core unit; inputs are numbers (0 is x, k is the output of unit k)."""

    binary: str
    unary1: str
    input1: int
    unary2: str
    input2: int

    @property
    def operands(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return (self.unary1, self.input1), (self.unary2, self.input2)

    def reads(self) -> set[int]:
        """The inputs whose values matter (`beta` ignores its input)."""
        return {i for u, i in self.operands if UNARY[u].reads_input}

    def betas(self) -> int:
        """How many trainable parameters this unit has."""
        return (
            UNARY[self.unary1].uses_beta
            + UNARY[self.unary2].uses_beta
            + BINARY[self.binary].uses_beta
        )


def input_token(number: int) -> str:
    return "x" if number == INPUT_X else f"u{number}"


def to_tokens(units: Sequence[Unit]) -> Tokens:
    """Units -> flat token tuple."""
    flat: list[str] = []
    for u in units:
        flat += [u.binary, u.unary1, input_token(u.input1), u.unary2, input_token(u.input2)]
    return tuple(flat)


def to_units(tokens: Sequence[str]) -> tuple[Unit, ...]:
    """Flat tokens -> units.

    Raises: UserError naming the position of the first token that does not fit.
    """
    if not tokens or len(tokens) % UNIT_LENGTH:
        raise UserError(
            "a genome has 5 tokens per core unit (binary unary input unary input), "
            f"got {len(tokens)}"
        )
    units = []
    for number, start in enumerate(range(0, len(tokens), UNIT_LENGTH), start=1):
        b, u1, i1, u2, i2 = tokens[start : start + UNIT_LENGTH]
        inputs = _inputs(number)
        if not (b in BINARY and u1 in UNARY and i1 in inputs and u2 in UNARY and i2 in inputs):
            raise _misfit(tokens, start, inputs)
        units.append(Unit(b, u1, inputs[i1], u2, inputs[i2]))
    return tuple(units)


@cache
def _inputs(number: int) -> dict[str, int]:
    """What unit `number` (from 1) may read: token -> number."""
    return {input_token(k): k for k in range(number)}


def _misfit(tokens: Sequence[str], start: int, inputs: Collection[str]) -> UserError:
    """What to say of the first token that does not fit in the unit that begins at `start`."""
    choices: tuple[Collection[str], ...] = (BINARY, UNARY, inputs, UNARY, inputs)
    offset = next(k for k, known in enumerate(choices) if tokens[start + k] not in known)
    whats = ("a binary function", "a unary function", "an input")
    return UserError(
        f"token {start + offset + 1} of the genome must be {whats[min(offset, 2 - offset % 2)]} "
        f"({', '.join(choices[offset])}), got {tokens[start + offset]!r}"
    )


@dataclass(frozen=True)
class Space:
    """A set of genomes: min_units to max_units core units over the given functions."""

    min_units: int = 1
    max_units: int = 1
    unary: tuple[str, ...] = tuple(UNARY)
    binary: tuple[str, ...] = tuple(BINARY)

    def count(self) -> int:
        """The number of genomes: the sum over n of the product over k <= n of |B| (k |U|)^2."""
        total, programs = 0, 1
        for k in range(1, self.max_units + 1):
            programs *= len(self.binary) * (k * len(self.unary)) ** 2
            total += programs if k >= self.min_units else 0
        return total

    def enumerate(self) -> Iterator[Tokens]:
        """Every genome once, short ones first, in a fixed order."""
        for n in range(self.min_units, self.max_units + 1):
            choices: list[Sequence[str]] = []
            for k in range(1, n + 1):
                inputs = [input_token(i) for i in range(k)]
                choices += [self.binary, self.unary, inputs, self.unary, inputs]
            yield from product(*choices)

    def nth(self, index: int) -> Tokens:
        """The genome at a place of `enumerate`, from 0, without walking there.

        Raises: IndexError when there is none.
        """
        left, programs = index, 1
        for n in range(1, self.max_units + 1):
            programs *= len(self.binary) * (n * len(self.unary)) ** 2
            if n >= self.min_units:
                if 0 <= left < programs:
                    return self._decode(left, n)
                left -= programs
        raise IndexError(f"the space has {self.count()} genomes, there is no number {index}")

    def _decode(self, index: int, units: int) -> Tokens:
        """A number in mixed radix, the last token changing fastest."""
        flat: list[str] = []
        for k in range(units, 0, -1):
            inputs = [input_token(i) for i in range(k)]
            for choices in (inputs, self.unary, inputs, self.unary, self.binary):
                index, digit = divmod(index, len(choices))
                flat.append(choices[digit])
        return tuple(reversed(flat))

    def sample(self, rng: np.random.Generator) -> Tokens:
        """One genome: the number of units uniform, then every token uniform."""
        flat: list[str] = []
        for k in range(1, int(rng.integers(self.min_units, self.max_units + 1)) + 1):
            flat.append(self.binary[rng.integers(len(self.binary))])
            for _ in range(2):
                flat.append(self.unary[rng.integers(len(self.unary))])
                flat.append(input_token(int(rng.integers(k))))
        return tuple(flat)

    def __contains__(self, tokens: object) -> bool:
        try:
            units = to_units(tokens)  # type: ignore[arg-type]
        except (UserError, TypeError):
            return False
        return self.min_units <= len(units) <= self.max_units and all(
            u.binary in self.binary and u.unary1 in self.unary and u.unary2 in self.unary
            for u in units
        )


def normal_form(tokens: Tokens) -> Tokens:
    """The algebraic normal form: same function, same parameters, unused parts removed.

    Drops units that nobody reads, points the ignored input of `beta` at x, sorts the operands of
    commuting functions, and numbers the units in the order in which the result needs them.
    """
    units = to_units(tokens)
    shapes: dict[int, str] = {INPUT_X: "x"}
    sorted_units: dict[int, Unit] = {}
    for number, unit in enumerate(units, start=1):
        operands = [(u, i if UNARY[u].reads_input else INPUT_X) for u, i in unit.operands]
        if BINARY[unit.binary].commutes:
            operands.sort(key=lambda o: (o[0], shapes[o[1]], o[1]))
        (u1, i1), (u2, i2) = operands
        sorted_units[number] = Unit(unit.binary, u1, i1, u2, i2)
        shapes[number] = f"({unit.binary} {u1} {shapes[i1]} {u2} {shapes[i2]})"

    def alike(unit: Unit) -> bool:
        return unit.unary1 == unit.unary2 and shapes[unit.input1] == shapes[unit.input2]

    order: dict[int, int] = {INPUT_X: INPUT_X}  # old number -> new number
    kept: list[Unit] = []

    def place(number: int) -> None:
        if number in order:
            return
        unit = sorted_units[number]
        place(unit.input1)
        place(unit.input2)
        first, second = order[unit.input1], order[unit.input2]
        # A unit that was placed before may have needed the second of two operands alike first.
        if first > second and BINARY[unit.binary].commutes and alike(unit):
            first, second = second, first
        kept.append(Unit(unit.binary, unit.unary1, first, unit.unary2, second))
        order[number] = len(kept)

    place(len(units))
    return to_tokens(kept)
