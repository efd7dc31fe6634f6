"""Sums and products as flat lists: the rewritings of an expression that `cover.py` may use.

All of them keep the value but for rounding in float64, and all are exact about eps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from hybridsearch.genome.parse import EPS, ONE, Node, negated

REGROUPED = 6  # longest sum or product that is tried in every grouping (31 of them)

Terms = list[tuple[int, Node]]  # sign and term
Factors = list[tuple[Node, bool]]  # factor, and whether it divides
T = TypeVar("T")


def terms_of(node: Node, sign: int = 1) -> Terms:
    if node.op in ("add", "sub"):
        left, right = node.args
        return terms_of(left, sign) + terms_of(right, sign if node.op == "add" else -sign)
    return terms_of(node.args[0], -sign) if node.op == "neg" else [(sign, node)]


def opposite(terms: Terms) -> Terms:
    return [(-sign, term) for sign, term in terms]


def sum_of(terms: Terms) -> Node:
    """Left to right; a minus in front moves behind the first plus."""
    start = next((i for i, (sign, _) in enumerate(terms) if sign > 0), None)
    if start is None:
        return negated(sum_of(opposite(terms)))
    total = terms[start][1]
    for sign, term in terms[:start] + terms[start + 1 :]:
        total = Node("add" if sign > 0 else "sub", (total, term))
    return total


def differences(node: Node) -> Iterator[tuple[Node, Node]]:
    """a, b with node = a-b."""
    if node.op == "sub":
        yield node.args[0], node.args[1]
    for one, other in splits(terms_of(node)):
        yield sum_of(one), sum_of(opposite(other))
        yield sum_of(other), sum_of(opposite(one))


def factors_of(node: Node) -> tuple[int, Factors]:
    """The sign and the factors. A divisor stays whole, since its eps does."""
    if node.op == "neg":
        sign, inside = factors_of(node.args[0])
        return -sign, inside
    if node.op == "mul":
        (s1, f1), (s2, f2) = map(factors_of, node.args)
        return s1 * s2, f1 + f2
    if node.op == "div":
        sign, above = factors_of(node.args[0])
        return sign, [*above, (without_eps(node.args[1]), True)]
    if node.op == "pow":
        sign, base = factors_of(node.args[0])
        if len(base) == 1:  # a power of a product stays whole
            return sign**node.number, base * node.number
    return 1, [(node, False)]


def product_of(sign: int, factors: Factors) -> Node | None:
    """Left to right from the first that does not divide; None where all do."""
    start = next((i for i, (_, divides) in enumerate(factors) if not divides), None)
    if start is None:
        return None
    total = factors[start][0]
    for factor, divides in factors[:start] + factors[start + 1 :]:
        total = Node("div" if divides else "mul", (total, factor))
    return total if sign > 0 else negated(total)


def factored(node: Node, wanted: Callable[[Node], bool]) -> Iterator[tuple[Node, Node]]:
    """(factor, rest) with node = factor*rest, for the first factor that is wanted."""
    sign, factors = factors_of(node)
    for i, (factor, divides) in enumerate(factors):
        rest = product_of(sign, factors[:i] + factors[i + 1 :])
        if wanted(factor) and not divides and rest is not None:
            yield factor, rest
            return  # the next beta of the product would do the same


def is_beta(node: Node) -> bool:
    return node.op == "beta"


def is_one_minus_beta(node: Node) -> bool:
    return node.op == "sub" and node.args[0] == ONE and node.args[1].op == "beta"


def without_eps(node: Node) -> Node:
    if node.op == "add" and EPS in node.args:
        return node.args[1 - node.args.index(EPS)]
    return node


def roots(node: Node) -> list[Node]:
    """The a with node = a^2."""
    found = [node.args[0]] if node.op == "pow" and node.number == 2 else []
    sign, factors = factors_of(node)
    if sign > 0 and len(factors) == 2 and factors[0] == factors[1] and not factors[0][1]:
        found.append(factors[0][0])
    return found


def splits(items: list[T]) -> Iterator[tuple[list[T], list[T]]]:
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
