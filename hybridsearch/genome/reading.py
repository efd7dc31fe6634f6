"""From the formula that people write to the smallest genome that means it."""

from __future__ import annotations

from hybridsearch.genome.canonical import value_key
from hybridsearch.genome.cover import smallest
from hybridsearch.genome.index import representative
from hybridsearch.genome.parse import read
from hybridsearch.genome.units import UNIT_LENGTH, Tokens


def parse_formula(text: str) -> Tokens:
    """The smallest genome that means a formula such as "x*sigmoid(beta*x)".

    Every `beta` is a parameter of its own (the two of beta*a+(1-beta)*b are one); to use a
    parameter or a part twice, bind it: "u1 = beta*x; u1*sigmoid(u1)".

    Raises: UserError naming the column where the formula leaves the space.
    """
    tokens = smallest(read(text))
    # One unit may do it in a way that no rewriting of the text shows; |x| for sqrt(x^2), which has
    # no slope at 0 as it stands.
    return representative(tokens, value_key(tokens)) if len(tokens) > UNIT_LENGTH else tokens
