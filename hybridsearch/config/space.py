"""Settings of the search space."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from hybridsearch.config.section import Section
from hybridsearch.errors import nearest
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import Space


def _check_tokens(value: tuple[str, ...], known: list[str], what: str) -> tuple[str, ...]:
    for token in value:
        if token not in known:
            raise ValueError(f"unknown {what} function {token!r}{nearest(token, known)}")
    if len(set(value)) != len(value):
        raise ValueError(f"a {what} function is listed twice: {', '.join(value)}")
    return value


class SpaceConfig(Section):
    """Which activation functions can be proposed; the paper varied the subsets (Ramachandran, Zoph
    and Le 2017, arXiv 1710.05941).
    """

    min_units: int = Field(1, ge=1, le=8, description="Fewest core units in a function.")
    max_units: int = Field(1, ge=1, le=8, description="Most core units in a function.")
    unary: tuple[str, ...] = Field(
        tuple(UNARY), min_length=1, description="Unary functions allowed, by token name."
    )
    binary: tuple[str, ...] = Field(
        tuple(BINARY), min_length=1, description="Binary functions allowed, by token name."
    )

    @field_validator("unary")
    @classmethod
    def _unary(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_tokens(value, list(UNARY), "unary")

    @field_validator("binary")
    @classmethod
    def _binary(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_tokens(value, list(BINARY), "binary")

    @model_validator(mode="after")
    def _ordered(self) -> SpaceConfig:
        if self.min_units > self.max_units:
            raise ValueError(
                f"space.min_units ({self.min_units}) is above space.max_units ({self.max_units})"
            )
        return self

    def space(self) -> Space:
        """The space that these settings describe."""
        return Space(self.min_units, self.max_units, self.unary, self.binary)
