"""From an expression tree to the smallest genome that means it.

Every node of the tree may become a core unit. `_Cover.matches` lists the ways in which one unit
b(u1(i1), u2(i2)) means a node, where i1 and i2 are x or nodes that become units in turn;
`_Cover.best` chooses. Sums and products are matched as they are written and, where that needs
fewer units, in any grouping of their terms. Equal nodes share a unit; a `beta` stands in one
token only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import inf
from typing import NamedTuple

from hybridsearch.errors import UserError
from hybridsearch.genome.algebra import (
    differences,
    factored,
    factors_of,
    is_beta,
    is_one_minus_beta,
    opposite,
    product_of,
    roots,
    splits,
    sum_of,
    terms_of,
    without_eps,
)
from hybridsearch.genome.parse import ONE, ZERO, Node, Program, X, negated, wrong
from hybridsearch.genome.primitives import UNARY
from hybridsearch.genome.units import Tokens, Unit, to_tokens

MAX_UNITS = 8  # the longest genome that a formula may mean
KEPT = 6  # alternatives kept per node: enough to find shared units, small enough for milliseconds


LONGEST_SEARCH = 20_000  # candidate units looked at, a second; random genomes of 8 units need 200


class Operand(NamedTuple):
    """A unary function of x, of a bound unit, or of a node that becomes a unit."""

    unary: str
    inner: Node
    beta: tuple[int, ...] = ()  # the textual beta it holds


class Match(NamedTuple):
    """One core unit; `betas` are the textual betas of its binary function."""

    binary: str
    first: Operand
    second: Operand
    betas: tuple[int, ...] = ()

    def all_betas(self) -> tuple[int, ...]:
        return self.first.beta + self.second.beta + self.betas


Units = dict[Node, Match]


def smallest(program: Program) -> Tokens:
    """The tokens of the smallest genome found.

    Raises: UserError naming the column of what is outside the space.
    """
    cover = _Cover()
    if program.result == X:
        return to_tokens([Unit("max", "id", 0, "id", 0)])
    chosen: Units = {}
    for root in (*program.bound, program.result):
        if root.op != "unit":
            found = cover.best(root)
            if not found:
                raise cover.outside(root, program.columns)
            chosen = {**found[0], **chosen}
    units: list[Unit] = []
    places: dict[Node, int] = {X: 0}

    def place(node: Node) -> int:
        if node.op == "unit":
            return place(program.bound[node.number - 1])
        if node not in places:
            m = chosen[node]
            first, second = place(m.first.inner), place(m.second.inner)
            units.append(Unit(m.binary, m.first.unary, first, m.second.unary, second))
            places[node] = len(units)
        return places[node]

    place(program.result)
    if len(units) > MAX_UNITS:
        raise UserError(_TOO_MANY.format(len(units), MAX_UNITS))
    return to_tokens(units)


class _Cover:
    """Memory of one formula: what each of its nodes can be."""

    def __init__(self) -> None:
        self._best: dict[Node, list[Units]] = {}
        self._operands: dict[Node, list[Operand]] = {}
        self._too_many = False  # whether a way was left out for its number of units
        self._looked_at = 0

    def best(self, node: Node) -> list[Units]:
        """Up to KEPT sets of units that give the node, small ones first; none: impossible."""
        if node.op in ("x", "unit"):
            return [{}]
        if node in self._best:
            return self._best[node]
        self._best[node] = []  # a node within itself is no way to make it
        found: list[Units] = []
        for match in self.matches(node):
            self._looked_at += 1
            if self._looked_at > LONGEST_SEARCH:
                raise UserError(_TOO_LONG)
            first, second = self.best(match.first.inner), self.best(match.second.inner)
            if not first or not second:
                continue
            longest = len(found[-1]) if len(found) == KEPT else inf
            for one, other in product(first, second):
                if max(len(one), len(other)) + 1 >= longest:
                    continue  # it would be cut off below
                units = _merged(one, other, node, match)
                if units is None or units in found:
                    continue
                if len(units) <= MAX_UNITS:
                    found.append(units)
                else:
                    self._too_many = True
            found = sorted(found, key=len)[:KEPT]  # stable: what was found first stays first
        self._best[node] = found
        return found

    def operands(self, node: Node) -> list[Operand]:
        """The ways to see a node as a unary function of something, as it stands first."""
        if node not in self._operands:
            self._operands[node] = list(dict.fromkeys(_operands(node)))
        return self._operands[node]

    def matches(self, node: Node) -> Iterator[Match]:
        """The ways to make a node with one unit on top."""
        # A unary alone: max(u, u) has its value and its gradient.
        alone = [
            Match("max", operand, operand)
            for operand in self.operands(node)
            if operand.inner != node and not operand.beta
        ]
        if node.op == "pow":  # x^2 rather than x*x
            yield from alone
        if node.op in ("add", "sub", "neg"):
            yield from self._sums(node)
        if node.op in ("mul", "div", "neg", "pow"):
            yield from self._products(node)
        if node.op in ("max", "min"):
            yield from self._pairs(node.op, node.args[0], node.args[1])
        if node.op == "exp":
            yield from self._kernels(node.args[0])
        yield from alone

    def _pairs(self, binary: str, a: Node, b: Node, betas: tuple[int, ...] = ()) -> Iterator[Match]:
        for first, second in product(self.operands(a), self.operands(b)):
            yield Match(binary, first, second, betas)

    def _sums(self, node: Node) -> Iterator[Match]:
        terms = terms_of(node)
        if node.op in ("add", "sub"):
            yield from self._pairs(node.op, node.args[0], node.args[1])
        for one, other in splits(terms):
            a, b = sum_of(one), sum_of(other)
            yield from self._pairs("add", a, b)
            yield from self._pairs("sub", a, sum_of(opposite(other)))
            yield from self._pairs("sub", b, sum_of(opposite(one)))
            for (beta, on), (rest, off) in (
                *product(factored(a, is_beta), factored(b, is_one_minus_beta)),
                *product(factored(b, is_beta), factored(a, is_one_minus_beta)),
            ):
                yield from self._pairs("blend", on, off, (beta.number, rest.args[1].number))

    def _products(self, node: Node) -> Iterator[Match]:
        sign, factors = factors_of(node)
        for i, (factor, divides) in reversed([*enumerate(factors)]):  # the last as it is written
            above = product_of(sign, factors[:i] + factors[i + 1 :])
            if divides and above is not None:
                yield from self._pairs("div", above, factor)
        groups = list(splits(factors))
        if node.op == "mul":  # as it is written first
            left = factors_of(node.args[0])[1]
            groups.insert(0, (left, factors[len(left) :]))
        for one, other in groups:
            for s1, s2 in ((1, 1),) if sign > 0 else ((-1, 1), (1, -1)):
                a, b = product_of(s1, one), product_of(s2, other)
                if a is None or b is None:
                    continue
                if a.op == "sigmoid":
                    yield from self._pairs("gate", a.args[0], b)
                yield from self._pairs("mul", a, b)
                if b.op == "sigmoid":
                    yield from self._pairs("gate", b.args[0], a)

    def _kernels(self, exponent: Node) -> Iterator[Match]:
        """exp(-beta*(a-b)^2) and exp(-beta*|a-b|)."""
        for beta, rest in factored(negated(exponent), is_beta):
            for root in roots(rest):
                for a, b in differences(root):
                    yield from self._pairs("rbf", a, b, (beta.number,))
            if rest.op == "abs":
                for a, b in differences(rest.args[0]):
                    yield from self._pairs("laplace", a, b, (beta.number,))

    def outside(self, root: Node, columns: dict[Node, int]) -> UserError:
        """The error for a node that no units give, about the innermost part to blame."""
        if self._too_many:
            return UserError(_TOO_MANY.format(f"more than {MAX_UNITS}", MAX_UNITS))
        node = root
        while inner := [
            a for a in node.args if a.op not in ("num", "eps", "beta") and not self.best(a)
        ]:
            node = inner[0]
        for arg in node.args or (node,):
            if arg.op in _ONLY_IN:
                return wrong(columns[arg], _ONLY_IN[arg.op])
        if node.op == "log":
            return wrong(columns[node], "expected log(|a|+eps) or log(1+exp(a))")
        return wrong(columns[node], "expected an x in it: no core unit is a beta alone")


_TOO_MANY = (
    "the formula needs {} core units, expected at most {}: shorten it or bind repeated parts"
)
_TOO_LONG = "the formula has too many groupings to search, expected fewer terms: bind parts of it"
_ONLY_IN = {
    "num": "a number stands only in max(a, 0), min(a, 0), a^2, a^3, log(1+exp(a)) and "
    "beta*a+(1-beta)*b",
    "eps": "eps stands only in log(|a|+eps) and a/(b+eps)",
}


def _operands(node: Node) -> Iterator[Operand]:
    """What one unary function of one thing a node is; as the node itself first."""
    if node.op == "beta":
        yield Operand("beta", X, (node.number,))
        return
    if node.op in ("num", "eps"):
        return
    arg = node.args[0] if node.args else X
    if node.op == "relu" or (node.op == "max" and ZERO in node.args):
        yield Operand("relu", node.args[1] if arg == ZERO else arg)
    elif node.op == "min" and ZERO in node.args:
        yield Operand("min0", node.args[1] if arg == ZERO else arg)
    elif node.op in UNARY:  # named alike: abs, exp, sin, ...
        yield Operand(node.op, arg)
    yield Operand("id", node)
    if node.op == "exp":
        for root in roots(negated(arg)):
            yield Operand("gauss", root)
    if node.op == "log":
        yield from _logarithms(arg)
    if node.op == "pow":
        yield Operand("square" if node.number == 2 else "cube", arg)
    if node.op in ("add", "sub", "neg"):
        terms = terms_of(node)
        for i, (sign, term) in enumerate(terms):
            if sign > 0 and term.op == "beta" and len(terms) > 1:
                yield Operand("shift", sum_of(terms[:i] + terms[i + 1 :]), (term.number,))
                break  # another beta of the sum would do the same
        if all(sign < 0 for sign, _ in terms):
            yield Operand("neg", sum_of(opposite(terms)))
    if node.op in ("mul", "div", "neg", "pow"):
        for beta, rest in factored(node, is_beta):
            yield Operand("scale", rest, (beta.number,))
        for root in roots(node):
            yield Operand("square", root)
        sign, factors = factors_of(node)
        if len(factors) == 3 and factors[0] == factors[1] == factors[2] and not factors[0][1]:
            cube = Operand("cube", factors[0][0])
            yield cube if sign > 0 else Operand("neg", Node("pow", (cube.inner,), 3))
        positive = product_of(1, factors)
        if sign < 0 and positive is not None:
            yield Operand("neg", positive)


def _logarithms(arg: Node) -> Iterator[Operand]:
    inner = without_eps(arg)  # log(|a|) is taken for log(|a|+eps), as a/b for a/(b+eps)
    if inner.op == "abs":
        yield Operand("logabs", inner.args[0])
    if arg.op == "add" and ONE in arg.args:
        other = arg.args[1 - arg.args.index(ONE)]
        if other.op == "exp":
            yield Operand("softplus", other.args[0])


def _merged(one: Units, other: Units, node: Node, match: Match) -> Units | None:
    """The union and one node more, or None where two ways to make a node or one beta meet."""
    units = {**one, **other}
    if len(units) < len(one) + len(other) and any(units[n] != made for n, made in one.items()):
        return None
    if units.setdefault(node, match) != match:
        return None
    betas = [b for made in units.values() for b in made.all_betas()]
    return units if len(betas) == len(set(betas)) else None
