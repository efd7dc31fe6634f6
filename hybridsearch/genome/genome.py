"""Genome: the immutable token tuple, the only representation; all else is a view made from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hybridsearch.genome import canonical, reading, text, units


@dataclass(frozen=True)
class Genome:
    """One program of the search space, `b(u1(i1), u2(i2))` repeated.

    `tokens` are 5 per core unit in prefix order, for instance ("gate", "scale", "x", "id", "x")
    for x*sigmoid(beta*x). Two genomes are equal when their tokens are; they mean the same function
    when their `key`s are equal.

    Raises: UserError when the tokens are no genome, naming the first wrong one.
    """

    tokens: units.Tokens

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        units.to_units(self.tokens)

    @classmethod
    def parse(cls, formula: str) -> Genome:
        """The smallest genome that means a formula such as "x*sigmoid(beta*x)".

        Raises: UserError naming the position where the formula leaves the space.
        """
        return cls(reading.parse_formula(formula))

    @classmethod
    def from_text(cls, line: str) -> Genome:
        """The inverse of `str`: a genome from its token text."""
        return cls(text.from_token_text(line))

    def __str__(self) -> str:
        """The token text, lossless: "gate scale x id x", units apart by " | "."""
        return text.token_text(self.tokens)

    @cached_property
    def units(self) -> tuple[units.Unit, ...]:
        return units.to_units(self.tokens)

    @cached_property
    def formula(self) -> str:
        """The text that people write; parsing it gives the same function (see `text.formula`)."""
        return text.formula(self.tokens)

    @cached_property
    def latex(self) -> str:
        return text.latex(self.tokens)

    @cached_property
    def key(self) -> str:
        """32 hex digits that equal functions share (see `canonical`)."""
        return canonical.key(self.tokens)

    @property
    def betas(self) -> int:
        """How many trainable parameters it has per channel."""
        return sum(unit.betas() for unit in self.units)
