"""Programs -> readable expressions of a programming language.

An operation used once stands where it is used; one used more often, or too long for a line, gets a
name. No operation is regrouped, so that what is written rounds as the evaluator does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hybridsearch.genome.primitives import EPS
from hybridsearch.kernels.program import Program

SUM, PRODUCT, SIGN, ATOM = range(4)  # how tightly a text holds together
LONG = 56  # characters: a longer part of an expression gets a name
Piece = tuple[str, int]


@dataclass(frozen=True)
class Dialect:
    """How a language writes operations. calls: operation -> template of its arguments, with
    brackets of its own; without "min0", that is written as -max(-x, 0). square: template of
    a*a where a is no name, how tightly it needs a to hold together, and how tightly it does.
    eps: the constant of that name.
    """

    calls: Mapping[str, str]
    square: tuple[str, int, int]
    eps: str = f"{EPS:g}"


@dataclass(frozen=True)
class Code:
    """An expression. bound: (name, text) of the parts with a name, in order. result: the text of
    the whole. operations: those it uses. reads_input: whether x is in it at all.
    """

    bound: tuple[tuple[str, str], ...]
    result: str
    operations: frozenset[str]
    reads_input: bool


def beta_names(count: int) -> tuple[str, ...]:
    """What the parameters of a function are called in all that is written."""
    return ("beta",) if count == 1 else tuple(f"beta_{k}" for k in range(1, count + 1))


def write(program: Program, dialect: Dialect) -> Code:
    """A forward program in a language."""
    uses = Counter(a for i in program.instructions for a in set(i.args))
    names = beta_names(program.betas)
    pieces: list[Piece] = []
    bound: list[tuple[str, str]] = []
    for number, step in enumerate(program.instructions):
        match step.op:
            case "x":
                piece: Piece = "x", ATOM
            case "beta":
                piece = names[step.number], ATOM
            case "const":
                piece = dialect.eps if step.constant == EPS else f"{step.constant:g}", ATOM
            case _:
                piece = _operation(step.op, [pieces[a] for a in step.args], dialect)
                last = number == program.results[0]
                if not last and (uses[number] > 1 or len(piece[0]) > LONG):
                    bound.append((f"u{len(bound) + 1}", piece[0]))
                    piece = bound[-1][0], ATOM
        pieces.append(piece)
    operations = {i.op for i in program.instructions}
    result = pieces[program.results[0]][0]
    return Code(tuple(bound), result, frozenset(operations), "x" in operations)


def at(piece: Piece, level: int) -> str:
    """The text, in parentheses where it holds less tightly than the level."""
    return piece[0] if piece[1] >= level else f"({piece[0]})"


def _operation(op: str, args: list[Piece], dialect: Dialect) -> Piece:
    match op:
        case "neg":
            return _minus(args[0])
        case "min0" if op not in dialect.calls:
            return _minus((dialect.calls["relu"].format(_minus(args[0])[0]), ATOM))
        case "add" | "sub":
            return _sum(args[0], args[1], op == "sub")
        case "mul":
            return _product(args[0], args[1], dialect)
        case "div":
            return f"{at(args[0], PRODUCT)} / {at(args[1], SIGN)}", PRODUCT
        case _:
            return dialect.calls[op].format(*(text for text, _ in args)), ATOM


def _minus(a: Piece) -> Piece:
    """-a; a sign may be taken through a product, which rounds the same."""
    if a[0].startswith("-") and a[1] >= PRODUCT:
        return a[0][1:], a[1]
    return (f"-{a[0]}", PRODUCT) if a[1] == PRODUCT else (f"-{at(a, SIGN)}", SIGN)


def _sum(a: Piece, b: Piece, minus: bool) -> Piece:
    if b[0].startswith("-") and b[1] >= PRODUCT:  # a + -b is a - b
        minus, b = not minus, _minus(b)
    elif a[0].startswith("-") and a[1] >= PRODUCT and not minus:  # -a + b is b - a
        minus, a, b = True, b, _minus(a)
    return f"{a[0]} {'-' if minus else '+'} {at(b, PRODUCT)}", SUM


def _product(a: Piece, b: Piece, dialect: Dialect) -> Piece:
    if a == b and not a[0].isidentifier():
        template, needs, gives = dialect.square
        return template.format(at(a, needs)), gives
    if _first(b) > _first(a):
        a, b = b, a
    return f"{at(a, PRODUCT)} * {at(b, SIGN)}", PRODUCT


def _first(factor: Piece) -> int:
    """Which of two factors people write first: signs, betas, products (saves brackets), names."""
    text, level = factor
    if text.startswith(("-", "beta")):
        return 4 if text[0] == "-" else 3
    return 2 if level == PRODUCT else text.isidentifier()
