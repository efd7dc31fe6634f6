"""A function and its derivatives as straight-line programs of elementary operations.

The gradient is the reverse-mode derivative of the value, taken once per function here instead of
once per training step by autograd. Equal subexpressions are one instruction. Conventions at kinks
are torch's: the slope of |x|, max(x, 0) and min(x, 0) at 0 is 0, a tie of max or min is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import pi, sqrt

from hybridsearch.genome.function import Function
from hybridsearch.genome.primitives import BINARY, EPS, UNARY
from hybridsearch.genome.units import Tokens, normal_form, to_units


@dataclass(frozen=True)
class Instruction:
    """One operation on the results of earlier instructions, by number.

    op: an operation (`tape.OPERATIONS` has them all; ifpos(a, g) is g where a > 0 else 0, ifneg
    alike for a < 0, ifmore(a, b, g) g where a > b, half of it where a = b, else 0, and dsinc the
    slope of sinc), "x" (the input), "g" (the gradient that arrives), "beta" (parameter
    `number`) or "const" (the value `constant`).
    """

    op: str
    args: tuple[int, ...] = ()
    number: int = 0
    constant: float = 0.0


@dataclass(frozen=True)
class Program:
    """Instructions in order, and the numbers of those that are results.

    A forward program has one result, f(x); a backward program has g*df/dx first, then g*df/dbeta
    for every beta, in the order of the betas.
    """

    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]
    betas: int

    @property
    def operations(self) -> int:
        """How many instructions compute something."""
        return sum(bool(i.args) for i in self.instructions)


@dataclass
class Builder:
    """Collects instructions, each once."""

    instructions: list[Instruction] = field(default_factory=list)
    numbers: dict[Instruction, int] = field(default_factory=dict)

    def put(self, op: str, *args: int, number: int = 0, constant: float = 0.0) -> int:
        found = Instruction(op, args, number, constant)
        if found not in self.numbers:
            self.numbers[found] = len(self.instructions)
            self.instructions.append(found)
        return self.numbers[found]

    def const(self, value: float) -> int:
        return self.put("const", constant=value)

    def program(self, results: list[int], betas: int) -> Program:
        """What the results need, and nothing else."""
        needed, stack = set(results), list(results)
        while stack:
            fresh = set(self.instructions[stack.pop()].args) - needed
            needed |= fresh
            stack += fresh
        kept = sorted(needed)
        place = {old: new for new, old in enumerate(kept)}
        moved = [self.instructions[k] for k in kept]
        return Program(
            tuple(
                Instruction(i.op, tuple(place[a] for a in i.args), i.number, i.constant)
                for i in moved
            ),
            tuple(place[r] for r in results),
            betas,
        )


def has_programs(function: Function) -> bool:
    """Whether `programs` knows the function: every genome, and PReLU; other names are one call."""
    return function.genome is not None or function.name == "PReLU"


# A search goes on to ever new functions, and comes back to the last ones only.
@lru_cache(maxsize=1024)
def programs(function: Function) -> tuple[Program, Program]:
    """The forward and the backward program of a function."""
    b = Builder()
    if function.genome is not None:
        result, betas = _genome(b, function.genome.tokens)
    else:
        result, betas = _prelu(b)
    forward = b.program([result], len(betas))

    # Reverse mode over the instructions, each of which is there once.
    slopes = {result: b.put("g")}
    for k in range(result, -1, -1):
        if k in slopes:
            for target, value in _pullback(b, k, slopes[k]):
                slopes[target] = b.put("add", slopes[target], value) if target in slopes else value
    zero = b.const(0.0)
    results = [slopes.get(b.put("x"), zero), *(slopes.get(k, zero) for k in betas)]
    return forward, b.program(results, len(betas))


def _prelu(b: Builder) -> tuple[int, list[int]]:
    x, slope = b.put("x"), b.put("beta")
    below = b.put("mul", slope, b.put("relu", b.put("neg", x)))
    return b.put("sub", b.put("relu", x), below), [slope]


def _genome(b: Builder, tokens: Tokens) -> tuple[int, list[int]]:
    """The instruction that is f(x), and those of its betas, in the order of `activation`."""
    outputs = [b.put("x")]
    betas: list[int] = []

    def beta() -> int:
        betas.append(b.put("beta", number=len(betas)))
        return betas[-1]

    for unit in to_units(normal_form(tokens)):
        sides = [
            _unary(b, name, outputs[source], beta() if UNARY[name].uses_beta else -1)
            for name, source in unit.operands
        ]
        own = beta() if BINARY[unit.binary].uses_beta else -1
        if unit.binary in ("max", "min") and sides[0] == sides[1]:
            outputs.append(sides[0])
        else:
            outputs.append(_binary(b, unit.binary, sides[0], sides[1], own))
    return outputs[-1], betas


def _unary(b: Builder, name: str, a: int, beta: int) -> int:
    """The value of a unary function at instruction a."""
    put = b.put
    match name:
        case "id":
            return a
        case "square":
            return put("mul", a, a)
        case "cube":
            return put("mul", put("mul", a, a), a)
        case "scale":
            return put("mul", beta, a)
        case "shift":
            return put("add", a, beta)
        case "logabs":
            return put("log", put("add", put("abs", a), b.const(EPS)))
        case "gauss":
            return put("exp", put("neg", put("mul", a, a)))
        case "beta":
            return beta
        case _:
            return put(name, a)


def _binary(b: Builder, name: str, v: int, w: int, beta: int) -> int:
    """The value of a binary function."""
    put = b.put
    match name:
        case "div":
            return put("div", v, put("add", w, b.const(EPS)))
        case "gate":
            return put("mul", put("sigmoid", v), w)
        case "rbf":
            gap = put("sub", v, w)
            return put("exp", put("neg", put("mul", beta, put("mul", gap, gap))))
        case "laplace":
            return put("exp", put("neg", put("mul", beta, put("abs", put("sub", v, w)))))
        case "blend":
            rest = put("sub", b.const(1.0), beta)
            return put("add", put("mul", beta, v), put("mul", rest, w))
        case _:
            return put(name, v, w)


def _pullback(b: Builder, k: int, g: int) -> list[tuple[int, int]]:
    """What instruction k hands back of the gradient g: (to which argument, how much)."""
    put, op, args = b.put, b.instructions[k].op, b.instructions[k].args
    if len(args) == 2:
        return _binary_pullback(b, k, g)
    if not args:
        return []
    (a,) = args
    one = b.const(1.0)
    match op:
        case "neg":
            value = put("neg", g)
        case "abs":
            value = put("mul", g, put("sign", a))
        case "sqrt":
            value = put("div", put("mul", b.const(0.5), g), k)
        case "exp":
            value = put("mul", g, k)
        case "log":
            value = put("div", g, a)
        case "sin":
            value = put("mul", g, put("cos", a))
        case "cos":
            value = put("neg", put("mul", g, put("sin", a)))
        case "sinh":
            value = put("mul", g, put("cosh", a))
        case "cosh":
            value = put("mul", g, put("sinh", a))
        case "tanh":
            value = put("mul", g, put("sub", one, put("mul", k, k)))
        case "asinh":
            value = put("div", g, put("sqrt", put("add", put("mul", a, a), one)))
        case "atan":
            value = put("div", g, put("add", put("mul", a, a), one))
        case "sinc":
            value = put("mul", g, put("dsinc", a))
        case "relu":
            value = put("ifpos", a, g)
        case "min0":
            value = put("ifneg", a, g)
        case "sigmoid":
            value = put("mul", g, put("mul", k, put("sub", one, k)))
        case "softplus":
            value = put("mul", g, put("sigmoid", a))
        case "erf":
            bell = put("exp", put("neg", put("mul", a, a)))
            value = put("mul", g, put("mul", b.const(2 / sqrt(pi)), bell))
        case _:
            raise AssertionError(op)
    return [(a, value)]


def _binary_pullback(b: Builder, k: int, g: int) -> list[tuple[int, int]]:
    put, op, (v, w) = b.put, b.instructions[k].op, b.instructions[k].args
    match op:
        case "add":
            return [(v, g), (w, g)]
        case "sub":
            return [(v, g), (w, put("neg", g))]
        case "mul":
            return [(v, put("mul", g, w)), (w, put("mul", g, v))]
        case "div":
            share = put("div", g, w)
            return [(v, share), (w, put("neg", put("mul", share, k)))]
        case "max":
            # The rest is all, half or nothing: exact. Of an infinite g it is nan where torch has 0:
            # a second selection would take a fifth longer.
            share = put("ifmore", v, w, g)
            return [(v, share), (w, put("sub", g, share))]
        case "min":
            share = put("ifmore", w, v, g)
            return [(v, share), (w, put("sub", g, share))]
        case _:
            raise AssertionError(op)
