"""From the text that people write to an expression tree: a recursive-descent parser.

    text    = { unit "=" sum ";" } sum
    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/") signed }
    signed  = "-" signed | power
    power   = atom [ ("^" | "**") ("2" | "3") ]
    atom    = number | name | function "(" sum ["," sum] ")" | "(" sum ")" | "|" sum "|"

`cover.py` then finds the units that mean the tree.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hybridsearch.errors import UserError, nearest

MAX_LENGTH = 1000  # characters; the longest formula of eight units has half of that
MAX_DEPTH = 60  # nested parentheses
MAX_ATOMS = 100  # numbers and names; a formula of eight units has at most half of that

# What may be called: the name people write -> the name in the tree (`cover.py` reads it).
FUNCTIONS = {
    **{f: f for f in ("abs", "sqrt", "log", "exp", "sin", "cos", "sinh", "cosh", "tanh", "asinh")},
    **{f: f for f in ("atan", "sinc", "sigmoid", "erf", "softplus", "relu", "max", "min")},
    "arcsinh": "asinh",
    "arctan": "atan",
    "σ": "sigmoid",
}
TWO_ARGUMENTS = ("max", "min")

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|([^\W\d]\w*)|(\*\*|[-+*/^()|,;=]))")
_UNIT = re.compile(r"u[1-9]\d*")


class Node(NamedTuple):
    """One node of an expression.

    op: add, sub, mul, div, neg, pow (`number` is the exponent), a function's name, or a leaf: x,
    num (`number` is its value), eps, beta (`number` tells the occurrences apart) or unit
    (`number` is that of the binding).
    """

    op: str
    args: tuple[Node, ...] = ()
    number: int = 0


X, ONE, ZERO, EPS = Node("x"), Node("num", number=1), Node("num"), Node("eps")


def negated(node: Node) -> Node:
    """-node, without a double sign."""
    return node.args[0] if node.op == "neg" else Node("neg", (node,))


class Program(NamedTuple):
    """A parsed text. bound: what u1, u2, ... stand for; columns: where each node first stood."""

    bound: tuple[Node, ...]
    result: Node
    columns: dict[Node, int]


class _Token(NamedTuple):
    kind: str  # number, name, or the operator itself; "end" after the last
    text: str
    column: int


def read(text: str) -> Program:
    """The tree of a text.

    Raises: UserError naming the column (from 1) where the text leaves the grammar.
    """
    return _Reader(text).program()


def wrong(column: int, message: str) -> UserError:
    return UserError(f"column {column} of the formula: {message}")


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        raise wrong(MAX_LENGTH + 1, f"a formula has at most {MAX_LENGTH} characters")
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if not found:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise wrong(at + 1, f"expected a number, a name or an operator, got {text[at]!r}")
        number, name, operator = found.groups()
        column = found.end() - len(number or name or operator) + 1
        if number:
            tokens.append(_Token("number", number, column))
        elif name:
            tokens.append(_Token("name", name, column))
        else:
            operator = "^" if operator == "**" else operator
            tokens.append(_Token(operator, operator, column))
        at = found.end()
    return [*tokens, _Token("end", "the end", end + 1)]


class _Reader:
    """The parser's state: the tokens, the next one's place, and what is known so far."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.atoms = 0
        self.betas = 0
        self.names: dict[str, Node] = {}
        self.unread: dict[str, int] = {}  # bound but not read yet: name -> column
        self.columns: dict[Node, int] = {}

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> _Token | None:
        """The next token if it is one of these."""
        token = self.next
        if token.kind not in kinds:
            return None
        self.at += 1
        return token

    def expect(self, kind: str, why: str) -> _Token:
        token = self.take(kind)
        if token is None:
            raise wrong(self.next.column, f"expected {kind!r} {why}, got {self.next.text!r}")
        return token

    def node(self, column: int, op: str, *args: Node, number: int = 0) -> Node:
        node = Node(op, args, number)
        self.columns.setdefault(node, column)
        return node

    def program(self) -> Program:
        bound: list[Node] = []
        while self.next.kind == "name" and self.tokens[self.at + 1].kind == "=":
            name = self.next
            if not _UNIT.fullmatch(name.text) or name.text in self.names:
                raise wrong(name.column, f"expected a new unit name such as u1, got {name.text!r}")
            self.at += 2
            value = self.sum()
            self.expect(";", "after the unit")
            if value.op not in ("x", "unit"):  # u1 = x is x itself
                bound.append(value)
                value = Node("unit", number=len(bound))
            self.names[name.text] = value
            self.unread[name.text] = name.column
        result = self.sum()
        if self.next.kind != "end":
            raise wrong(
                self.next.column, f"expected an operator or the end, got {self.next.text!r}"
            )
        for unread, column in self.unread.items():
            raise wrong(column, f"the unit {unread!r} is bound but never read")
        return Program(tuple(bound), result, self.columns)

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise wrong(self.next.column, f"expected at most {MAX_DEPTH} nested parentheses")
        left = self.product()
        while sign := self.take("+", "-"):
            op = "add" if sign.kind == "+" else "sub"
            left = self.node(sign.column, op, left, self.product())
        self.depth -= 1
        return left

    def product(self) -> Node:
        left = self.signed()
        while sign := self.take("*", "/"):
            right = self.signed()
            exponent = _one_plus_exp(right) if sign.kind == "/" else None
            if exponent is not None:  # a/(1+exp(-b)) is how people write a*sigmoid(b)
                minus = negated(exponent)
                self.columns.setdefault(minus, sign.column)
                right = self.node(sign.column, "sigmoid", minus)
                left = right if left == ONE else self.node(sign.column, "mul", left, right)
            else:
                op = "mul" if sign.kind == "*" else "div"
                left = self.node(sign.column, op, left, right)
        return left

    def signed(self) -> Node:
        minuses = []
        while sign := self.take("-"):
            minuses.append(sign)
        node = self.power()
        for sign in minuses:
            node = negated(node)
            self.columns.setdefault(node, sign.column)
        return node

    def power(self) -> Node:
        base = self.atom()
        sign = self.take("^")
        if sign is None:
            return base
        exponent = self.next
        if exponent.text not in ("2", "3"):
            raise wrong(exponent.column, f"expected the exponent 2 or 3, got {exponent.text!r}")
        self.at += 1
        return self.node(sign.column, "pow", base, number=int(exponent.text))

    def atom(self) -> Node:
        token = self.next
        if token.kind not in ("number", "name", "(", "|"):
            raise wrong(token.column, f"expected a number, a name or '(', got {token.text!r}")
        self.at += 1
        self.atoms += 1
        if self.atoms > MAX_ATOMS:
            raise wrong(token.column, f"expected at most {MAX_ATOMS} numbers and names")
        if token.kind == "(":
            inner = self.sum()
            self.expect(")", f"for the '(' in column {token.column}")
            return inner
        if token.kind == "|":
            inner = self.sum()
            self.expect("|", f"for the '|' in column {token.column}")
            return self.node(token.column, "abs", inner)
        if token.kind == "number":
            if token.text not in ("0", "1", "2", "3"):
                raise wrong(token.column, f"expected 0, 1, 2 or 3, got {token.text!r}")
            return self.node(token.column, "num", number=int(token.text))
        return self.named(token)

    def named(self, token: _Token) -> Node:
        name = token.text
        if name in FUNCTIONS:
            self.expect("(", f"after {name}")
            arguments = [self.sum()]
            if FUNCTIONS[name] in TWO_ARGUMENTS:
                self.expect(",", f"and a second argument of {name}")
                arguments.append(self.sum())
            self.expect(")", f"for the '(' of {name} in column {token.column}")
            return self.node(token.column, FUNCTIONS[name], *arguments)
        if name == "x":
            return self.node(token.column, "x")
        if name == "eps":
            return self.node(token.column, "eps")
        if name in ("beta", "β"):
            self.betas += 1
            return self.node(token.column, "beta", number=self.betas)
        if name in self.names:
            self.unread.pop(name, None)
            return self.names[name]
        if _UNIT.fullmatch(name):
            raise wrong(
                token.column, f"expected {name!r} to be bound before, as in '{name} = ...;'"
            )
        what = "function" if self.next.kind == "(" else "name"
        known = [*FUNCTIONS, "x", "beta", "eps"] if what == "name" else FUNCTIONS
        raise wrong(token.column, f"unknown {what} {name!r}{nearest(name, known)}")


def _one_plus_exp(node: Node) -> Node | None:
    """a, where the node is 1+exp(a)."""
    if node.op == "add" and ONE in node.args:
        other = node.args[1 - node.args.index(ONE)]
        if other.op == "exp":
            return other.args[0]
    return None
