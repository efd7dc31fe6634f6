"""From an expression tree to the smallest genome that means it.

Every node of the tree may become a core unit. `_Cover.matches` lists the ways in which one unit
b(u1(i1), u2(i2)) means a node, where i1 and i2 are x or nodes that become units in turn;
`_Cover.best` chooses. Sums and products are matched as they are written and, where that needs
fewer units, in any grouping of their terms. Equal nodes share a unit; a `beta` stands in one
token only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple, TypeVar

from hybridsearch.errors import UserError
from hybridsearch.genome.parse import EPS, ONE, ZERO, Node, Program, X, negated, wrong
from hybridsearch.genome.primitives import UNARY
from hybridsearch.genome.units import Tokens, Unit, to_tokens

MAX_UNITS = 8  # the longest genome that a formula may mean
KEPT = 6  # alternatives kept per node: enough to find shared units, small enough for milliseconds
REGROUPED = 6  # longest sum or product that is tried in every grouping (31 of them)

Terms = list[tuple[int, Node]]  # sign and term
Factors = list[tuple[Node, bool]]  # factor, and whether it divides


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
T = TypeVar("T")


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
        raise UserError(_TOO_MANY.format(len(units)))
    return to_tokens(units)


class _Cover:
    """Memory of one formula: what each of its nodes can be."""

    def __init__(self) -> None:
        self._best: dict[Node, list[Units]] = {}
        self._operands: dict[Node, list[Operand]] = {}
        self._too_many = False  # whether a way was left out for its number of units

    def best(self, node: Node) -> list[Units]:
        """Up to KEPT sets of units that give the node, small ones first; none: impossible."""
        if node.op in ("x", "unit"):
            return [{}]
        if node in self._best:
            return self._best[node]
        self._best[node] = []  # a node within itself is no way to make it
        found: list[Units] = []
        for match in self.matches(node):
            first, second = self.best(match.first.inner), self.best(match.second.inner)
            if not first or not second:
                continue
            if len(found) == KEPT and max(len(first[0]), len(second[0])) + 1 >= len(found[-1]):
                continue
            for below in product(first, second):
                units = _merged(*below, {node: match})
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
        if node.op in ("add", "sub", "neg"):
            yield from self._sums(node)
        if node.op in ("mul", "div", "neg", "pow"):
            yield from self._products(node)
        if node.op in ("max", "min"):
            yield from self._pairs(node.op, *node.args)
        if node.op == "exp":
            yield from self._kernels(node.args[0])
        # A unary alone: max(u, u) has its value and its gradient.
        for operand in self.operands(node):
            if operand.inner != node and not operand.beta:
                yield Match("max", operand, operand)

    def _pairs(self, binary: str, a: Node, b: Node, betas: tuple[int, ...] = ()) -> Iterator[Match]:
        for first, second in product(self.operands(a), self.operands(b)):
            yield Match(binary, first, second, betas)

    def _sums(self, node: Node) -> Iterator[Match]:
        terms = _terms(node)
        if node.op in ("add", "sub"):
            yield from self._pairs(node.op, *node.args)
        for one, other in _splits(terms):
            a, b = _sum_of(one), _sum_of(other)
            yield from self._pairs("add", a, b)
            yield from self._pairs("sub", a, _sum_of(_opposite(other)))
            yield from self._pairs("sub", b, _sum_of(_opposite(one)))
            for (beta, on), (rest, off) in (
                *product(_without(a, _beta), _without(b, _one_minus_beta)),
                *product(_without(b, _beta), _without(a, _one_minus_beta)),
            ):
                yield from self._pairs("blend", on, off, (beta.number, rest.args[1].number))

    def _products(self, node: Node) -> Iterator[Match]:
        sign, factors = _factors(node)
        splits = list(_splits(factors))
        if node.op == "mul":  # as it is written first
            left = _factors(node.args[0])[1]
            splits.insert(0, (left, factors[len(left) :]))
        for one, other in splits:
            for s1, s2 in ((1, 1),) if sign > 0 else ((-1, 1), (1, -1)):
                a, b = _product_of(s1, one), _product_of(s2, other)
                if a is None or b is None:
                    continue
                if a.op == "sigmoid":
                    yield from self._pairs("gate", a.args[0], b)
                yield from self._pairs("mul", a, b)
                if b.op == "sigmoid":
                    yield from self._pairs("gate", b.args[0], a)
        for i, (factor, divides) in enumerate(factors):
            above = _product_of(sign, factors[:i] + factors[i + 1 :])
            if divides and above is not None:
                yield from self._pairs("div", above, factor)

    def _kernels(self, exponent: Node) -> Iterator[Match]:
        """exp(-beta*(a-b)^2) and exp(-beta*|a-b|)."""
        for beta, rest in _without(negated(exponent), _beta):
            for root in _roots(rest):
                for a, b in _differences(root):
                    yield from self._pairs("rbf", a, b, (beta.number,))
            if rest.op == "abs":
                for a, b in _differences(rest.args[0]):
                    yield from self._pairs("laplace", a, b, (beta.number,))

    def outside(self, root: Node, columns: dict[Node, int]) -> UserError:
        """The error for a node that no units give, about the innermost part to blame."""
        if self._too_many:
            return UserError(_TOO_MANY.format("more than 8"))
        node, bad = root, root
        while bad is not None:
            node = bad
            inner = [a for a in node.args if a.op not in ("num", "eps", "beta")]
            bad = next((a for a in inner if not self.best(a)), None)
        for arg in node.args or (node,):
            if arg.op in _ONLY_IN:
                return wrong(columns[arg], _ONLY_IN[arg.op])
        if node.op == "log":
            return wrong(columns[node], "expected log(|a|+eps) or log(1+exp(a))")
        return wrong(columns[node], "expected an x in it: no core unit is a beta alone")


_TOO_MANY = "the formula needs {} core units, expected at most 8: shorten it or bind repeated parts"
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
        for root in _roots(negated(arg)):
            yield Operand("gauss", root)
    if node.op == "log":
        yield from _logarithms(arg)
    if node.op == "pow":
        yield Operand("square" if node.number == 2 else "cube", arg)
    if node.op in ("add", "sub", "neg"):
        terms = _terms(node)
        for i, (sign, term) in enumerate(terms):
            if sign > 0 and term.op == "beta" and len(terms) > 1:
                yield Operand("shift", _sum_of(terms[:i] + terms[i + 1 :]), (term.number,))
        if all(sign < 0 for sign, _ in terms):
            yield Operand("neg", _sum_of(_opposite(terms)))
    if node.op in ("mul", "div", "neg", "pow"):
        for beta, rest in _without(node, _beta):
            yield Operand("scale", rest, (beta.number,))
        for root in _roots(node):
            yield Operand("square", root)
        sign, factors = _factors(node)
        if len(factors) == 3 and factors[0] == factors[1] == factors[2] and not factors[0][1]:
            cube = Operand("cube", factors[0][0])
            yield cube if sign > 0 else Operand("neg", Node("pow", (cube.inner,), 3))
        positive = _product_of(1, factors)
        if sign < 0 and positive is not None:
            yield Operand("neg", positive)


def _logarithms(arg: Node) -> Iterator[Operand]:
    inner = _without_eps(arg)  # log(|a|) is taken for log(|a|+eps), as a/b for a/(b+eps)
    if inner.op == "abs":
        yield Operand("logabs", inner.args[0])
    if arg.op == "add" and ONE in arg.args:
        other = arg.args[1 - arg.args.index(ONE)]
        if other.op == "exp":
            yield Operand("softplus", other.args[0])


def _merged(*parts: Units) -> Units | None:
    """The union, or None where two parts make a node differently or use one beta twice."""
    units: Units = {}
    for part in parts:
        for node, match in part.items():
            if units.setdefault(node, match) != match:
                return None
    betas = [b for match in units.values() for b in match.all_betas()]
    return units if len(betas) == len(set(betas)) else None


# Sums and products as flat lists -----------------------------------------------------------------


def _terms(node: Node, sign: int = 1) -> Terms:
    if node.op in ("add", "sub"):
        left, right = node.args
        return _terms(left, sign) + _terms(right, sign if node.op == "add" else -sign)
    return _terms(node.args[0], -sign) if node.op == "neg" else [(sign, node)]


def _opposite(terms: Terms) -> Terms:
    return [(-sign, term) for sign, term in terms]


def _sum_of(terms: Terms) -> Node:
    """Left to right; a minus in front moves behind the first plus."""
    start = next((i for i, (sign, _) in enumerate(terms) if sign > 0), None)
    if start is None:
        return negated(_sum_of(_opposite(terms)))
    total = terms[start][1]
    for sign, term in terms[:start] + terms[start + 1 :]:
        total = Node("add" if sign > 0 else "sub", (total, term))
    return total


def _differences(node: Node) -> Iterator[tuple[Node, Node]]:
    """a, b with node = a-b."""
    if node.op == "sub":
        yield node.args[0], node.args[1]
    for one, other in _splits(_terms(node)):
        yield _sum_of(one), _sum_of(_opposite(other))
        yield _sum_of(other), _sum_of(_opposite(one))


def _factors(node: Node) -> tuple[int, Factors]:
    """The sign and the factors. A divisor stays whole, since its eps does."""
    if node.op == "neg":
        sign, inside = _factors(node.args[0])
        return -sign, inside
    if node.op == "mul":
        (s1, f1), (s2, f2) = map(_factors, node.args)
        return s1 * s2, f1 + f2
    if node.op == "div":
        sign, above = _factors(node.args[0])
        return sign, [*above, (_without_eps(node.args[1]), True)]
    if node.op == "pow":
        sign, base = _factors(node.args[0])
        if len(base) == 1:  # a power of a product stays whole
            return sign**node.number, base * node.number
    return 1, [(node, False)]


def _product_of(sign: int, factors: Factors) -> Node | None:
    """Left to right from the first that does not divide; None where all do."""
    start = next((i for i, (_, divides) in enumerate(factors) if not divides), None)
    if start is None:
        return None
    total = factors[start][0]
    for factor, divides in factors[:start] + factors[start + 1 :]:
        total = Node("div" if divides else "mul", (total, factor))
    return total if sign > 0 else negated(total)


def _without(node: Node, wanted: Callable[[Node], bool]) -> Iterator[tuple[Node, Node]]:
    """(factor, rest) with node = factor*rest, for the factors that are wanted."""
    sign, factors = _factors(node)
    for i, (factor, divides) in enumerate(factors):
        rest = _product_of(sign, factors[:i] + factors[i + 1 :])
        if wanted(factor) and not divides and rest is not None:
            yield factor, rest


def _beta(node: Node) -> bool:
    return node.op == "beta"


def _one_minus_beta(node: Node) -> bool:
    return node.op == "sub" and node.args[0] == ONE and node.args[1].op == "beta"


def _without_eps(node: Node) -> Node:
    if node.op == "add" and EPS in node.args:
        return node.args[1 - node.args.index(EPS)]
    return node


def _roots(node: Node) -> list[Node]:
    """The a with node = a^2."""
    found = [node.args[0]] if node.op == "pow" and node.number == 2 else []
    sign, factors = _factors(node)
    if sign > 0 and len(factors) == 2 and factors[0] == factors[1] and not factors[0][1]:
        found.append(factors[0][0])
    return found


def _splits(items: list[T]) -> Iterator[tuple[list[T], list[T]]]:
    """The ways to split a list in two, each way once, the order kept."""
    count = len(items)
    if count > REGROUPED:  # too many: only the splits of neighbours
        for cut in range(1, count):
            yield items[:cut], items[cut:]
        return
    for mask in range(1, 2 ** (count - 1)):
        yield (
            [item for i, item in enumerate(items) if not mask >> i & 1],
            [item for i, item in enumerate(items) if mask >> i & 1],
        )
