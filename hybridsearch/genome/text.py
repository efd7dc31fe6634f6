"""Genomes as text: the token text that logs store, the formula that people write, and LaTeX."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hybridsearch.errors import UserError
from hybridsearch.genome import canonical
from hybridsearch.genome.cover import MAX_UNITS, smallest
from hybridsearch.genome.parse import read
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import UNIT_LENGTH, Tokens, Unit, normal_form, to_units

# How tightly a text holds together, from a sum to what never needs parentheses.
SUM, MINUS, PRODUCT, POWER, ATOM = range(5)
Piece = tuple[str, int]  # a text and how tightly it holds


def token_text(tokens: Tokens) -> str:
    """Tokens apart by spaces, units apart by " | "; lossless."""
    parts = [tokens[i : i + UNIT_LENGTH] for i in range(0, len(tokens), UNIT_LENGTH)]
    return " | ".join(" ".join(part) for part in parts)


def from_token_text(line: str) -> Tokens:
    """The inverse of `token_text`; validity is checked where the genome is made."""
    return tuple(map(sys.intern, line.replace("|", " ").split()))


# A policy repeats itself, and formulas of several units take a millisecond.
@lru_cache(maxsize=4096)
def formula(tokens: Tokens) -> str:
    """The text that people write; `reading.parse_formula` gives back a genome with the same key, or
    one unit that has the slopes that this spelling lacks.

    Units read once stand in place; those read more often are bound: "u1=tanh(x); u1*u1".
    """
    form = normal_form(tokens)
    text = _render(form, _PLAIN)
    if len(form) == UNIT_LENGTH or len(form) > UNIT_LENGTH * MAX_UNITS:
        return text
    # The reader may find a genome that is as good but numbers several betas in another order, or
    # one of a function that is nowhere defined. Then every unit is bound, which keeps them apart,
    # and at last nothing is shortened either.
    key = canonical.key(form)
    for candidate in (text, _render(form, _PLAIN, bind_all=True)):
        if _means(candidate, key):
            return candidate
    return _render(form, _PLAIN, bind_all=True, literal=True)


def _means(text: str, key: str) -> bool:
    """Whether the reader makes of a text a genome with the key."""
    try:
        return canonical.key(smallest(read(text))) == key
    except UserError:  # too many groupings to search
        return False


def latex(tokens: Tokens) -> str:
    """The formula in LaTeX's mathematical notation; several betas are numbered in the order of
    `batch`, for there two of one name would be one parameter.
    """
    return _render(normal_form(tokens), _LATEX)


@dataclass(frozen=True)
class _Style:
    """A notation. `unary` and `binary` tell for a token what its template in the table of
    primitives needs of its operands, one after the other, and at last what the whole gives.
    """

    templates: dict[str, str]
    unary: dict[str, tuple[int, int]]
    binary: dict[str, tuple[int, int, int]]
    beta: str
    number: str  # what the name of one of several betas has behind it
    times: str
    unit: str
    gap: str
    brackets: tuple[str, str]

    def betas(self, units: Sequence[Unit]) -> Iterator[str]:
        """The names of the betas, in the order of `batch`."""
        count = sum(unit.betas() for unit in units)
        if count == 1:
            return iter([self.beta])
        return (self.beta + self.number.format(k) for k in range(1, count + 1))

    def at(self, piece: Piece, level: int) -> str:
        """The text, in parentheses where it holds less tightly than the level."""
        return piece[0] if piece[1] >= level else self.brackets[0] + piece[0] + self.brackets[1]


_UNARY_LEVELS = {  # the others have brackets of their own
    "id": (SUM, ATOM),
    "neg": (PRODUCT, MINUS),
    "square": (ATOM, POWER),
    "cube": (ATOM, POWER),
    "scale": (PRODUCT, PRODUCT),
    "shift": (SUM, SUM),
    "gauss": (ATOM, ATOM),
}
_PLAIN = _Style(
    templates={u.token: u.text for u in UNARY.values()}
    | {b.token: b.text for b in BINARY.values()},
    unary={u: _UNARY_LEVELS.get(u, (SUM, ATOM)) for u in UNARY},
    binary={
        "div": (PRODUCT, SUM, PRODUCT),
        "max": (SUM, SUM, ATOM),
        "min": (SUM, SUM, ATOM),
        "rbf": (SUM, PRODUCT, ATOM),
        "laplace": (SUM, PRODUCT, ATOM),
        "blend": (PRODUCT, PRODUCT, SUM),
    },
    beta="beta",
    number="",  # to the reader, each is one of its own
    times="*",
    unit="u{}",
    gap="; ",
    brackets=("(", ")"),
)
_LATEX = _Style(
    templates={u.token: u.latex for u in UNARY.values()}
    | {b.token: b.latex for b in BINARY.values()},
    # An exponent after f(x) would read as one of f, and e^a^2 is no LaTeX: both need brackets.
    unary={
        u: (need, gives if u in {*_UNARY_LEVELS, "abs", "sqrt", "beta"} - {"gauss"} else POWER)
        for u, (need, gives) in _PLAIN.unary.items()
    },
    binary={
        "div": (SUM, SUM, POWER),
        "max": (SUM, SUM, POWER),
        "min": (SUM, SUM, POWER),
        "rbf": (SUM, PRODUCT, POWER),
        "laplace": (SUM, PRODUCT, POWER),
        "blend": (PRODUCT, PRODUCT, SUM),
    },
    beta=r"\beta",
    number="_{{{}}}",
    times=r"\cdot ",
    unit="u_{{{}}}",
    gap=r",\quad ",
    brackets=(r"\left(", r"\right)"),
)

# In which order people write the operands of a sum and of a product; 3 for the unlisted.
_IN_SUM = {"id": 0, "scale": 1, "square": 2, "cube": 2, "shift": 4, "neg": 5, "beta": 6}
_IN_PRODUCT = {"beta": 0, "scale": 1, "neg": 1, "id": 2, "square": 2, "cube": 2}


def _render(form: Tokens, style: _Style, bind_all: bool = False, literal: bool = False) -> str:
    """A normal form in a notation.

    bind_all: bind units that are read once, too. literal: keep the order of operands, every sign
    and every max(u, u).
    """
    units = to_units(form)
    reads = [0] * (len(units) + 1)
    for unit in units:
        operands = unit.operands[:1] if _repeats(unit) and not literal else unit.operands
        for unary, source in operands:
            reads[source] += UNARY[unary].reads_input
    pieces: list[Piece] = [("x", ATOM)]
    betas = style.betas(units)
    names = {"x"}
    bound = []
    for number, unit in enumerate(units[:-1], start=1):
        piece = _unit(unit, pieces, betas, style, literal)
        if piece[0] not in names and (bind_all or reads[number] > 1):
            name = style.unit.format(len(names))
            names.add(name)
            bound.append(f"{name}={piece[0]}{style.gap}")
            piece = name, ATOM
        pieces.append(piece)
    return "".join(bound) + _unit(units[-1], pieces, betas, style, literal)[0]


def _repeats(unit: Unit) -> bool:
    """Whether a unit is max(u, u) or min(u, u) of one function, and so that function itself."""
    first, second = unit.operands
    return unit.binary in ("max", "min") and first == second and not unit.betas()


def _unit(
    unit: Unit, pieces: list[Piece], betas: Iterator[str], style: _Style, literal: bool
) -> Piece:
    """One unit, where `pieces` are the texts of its possible inputs; it takes its betas' names."""
    operands = [(u, i, next(betas) if UNARY[u].uses_beta else "") for u, i in unit.operands]
    beta = next(betas) if BINARY[unit.binary].uses_beta else ""
    if _repeats(unit) and not literal:
        return _unary(*operands[0], pieces, style)
    if unit.binary == "add" and not literal:
        operands.sort(key=lambda o: (_IN_SUM.get(o[0], 3), o[1] > 0))
    if unit.binary == "mul" and not literal:
        operands.sort(key=lambda o: (_IN_PRODUCT.get(o[0], 3), o[1] > 0))
    a, b = (_unary(*operand, pieces, style) for operand in operands)
    if unit.binary in ("add", "sub"):
        return _sum(a, b, unit.binary == "sub", style, literal), SUM
    if unit.binary == "gate":
        a = style.templates["sigmoid"].format(x=a[0]), ATOM
        a, b = (a, b) if literal else (b, a)
    if unit.binary in ("mul", "gate"):
        text = style.at(a, MINUS) + style.times + style.at(b, POWER if literal else PRODUCT)
        return text, MINUS if a[1] == MINUS else PRODUCT
    need1, need2, gives = style.binary[unit.binary]
    template = style.templates[unit.binary]
    if unit.binary in ("rbf", "laplace"):
        gap = _sum(a, b, True, style, literal)
        return template.replace("{x1}-{x2}", "{gap}").format(gap=gap, b=beta), gives
    return template.format(x1=style.at(a, need1), x2=style.at(b, need2), b=beta), gives


def _unary(unary: str, source: int, beta: str, pieces: list[Piece], style: _Style) -> Piece:
    if unary == "id":
        return pieces[source]
    need, gives = style.unary[unary]
    return style.templates[unary].format(x=style.at(pieces[source], need), b=beta), gives


def _sum(a: Piece, b: Piece, minus: bool, style: _Style, literal: bool) -> str:
    """a+b or a-b; a minus in front of b becomes the operator, or cancels it."""
    if literal:
        return a[0] + ("-" if minus else "+") + style.at(b, PRODUCT)
    if not minus:
        return a[0] + ("" if b[0].startswith("-") else "+") + b[0]
    return a[0] + ("+" + b[0][1:] if b[1] == MINUS else "-" + style.at(b, PRODUCT))
