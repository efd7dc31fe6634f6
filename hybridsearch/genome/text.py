"""Genomes as text: the token text that logs store, and the formula that people write."""

from __future__ import annotations

from hybridsearch.genome.units import UNIT_LENGTH, Tokens


def token_text(tokens: Tokens) -> str:
    """Tokens apart by spaces, units apart by " | "; lossless."""
    parts = [tokens[i : i + UNIT_LENGTH] for i in range(0, len(tokens), UNIT_LENGTH)]
    return " | ".join(" ".join(part) for part in parts)


def from_token_text(line: str) -> Tokens:
    """The inverse of `token_text`; validity is checked where the genome is made."""
    return tuple(line.replace("|", " ").split())


def formula(tokens: Tokens) -> str:
    return token_text(tokens)


def latex(tokens: Tokens) -> str:
    return token_text(tokens)


def parse_formula(formula: str) -> Tokens:
    return from_token_text(formula)
