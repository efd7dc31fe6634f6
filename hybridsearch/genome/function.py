"""A function is a genome or a named baseline, and has a key.

GELU, ELU, SELU, LReLU and PReLU are no one-unit genomes, so they are functions by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hybridsearch.errors import UserError
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BETA_START, BINARY
from hybridsearch.genome.units import normal_form

# The nine baselines of the paper's tables 4 and 5, in their order.
BASELINES = ("LReLU", "PReLU", "Softplus", "ELU", "SELU", "GELU", "ReLU", "Swish-1", "Swish")

# Functions with a name that are genomes: four baselines, and the paper's tables 1 and 2.
NAMED_GENOMES = {
    "ReLU": "max relu x relu x",
    "Softplus": "max softplus x softplus x",
    "Swish-1": "mul id x sigmoid x",
    "Swish": "gate scale x id x",
    "max(x, sigmoid(x))": "max id x sigmoid x",
    "cos(x)-x": "sub cos x id x",
    "min(x, sin(x))": "min id x sin x",
    "atan(x)^2-x": "mul atan x atan x | sub id u1 id x",
    "max(x, tanh(x))": "max id x tanh x",
    "sinc(x)+x": "add sinc x id x",
    "x*asinh(x)^2": "mul asinh x asinh x | mul id x id u1",
}
# The eight novel functions of the paper's tables 1 and 2, in their order.
PAPER_FOUND = ("Swish", *(name for name in NAMED_GENOMES if "(" in name))

# Start values of the parameters per channel of baselines that are no genomes (the same paper).
NAMED_PARAMETERS: dict[str, tuple[float, ...]] = {
    "LReLU": (),
    "PReLU": (0.25,),
    "ELU": (),
    "SELU": (),
    "GELU": (),
}


@dataclass(frozen=True)
class Function:
    """An activation function: `spec` resolves to it again, `key` identifies it, `starts` are the
    start values of its trainable parameters (one each per channel), `given` the name that it has
    been asked for by, if any.
    """

    spec: str
    key: str
    genome: Genome | None
    starts: tuple[float, ...]
    given: str = ""

    @property
    def name(self) -> str:
        """For people: as given, else the formula, which takes milliseconds to find."""
        if self.given or self.genome is None:
            return self.given
        return self.genome.formula

    @property
    def label(self) -> str:
        """The formula, led by its well-known name where it has one."""
        known = known_names().get(self.key)
        return f"{known}: {self.name}" if known and known != self.name else self.name


def from_genome(genome: Genome, name: str = "") -> Function:
    """The function of a genome."""
    live = Genome(normal_form(genome.tokens))  # betas that nobody reads are not trained
    starts = (BETA_START,) * live.betas
    return Function(str(genome), genome.key, genome, starts, name)


@cache
def _by_name() -> dict[str, Function]:
    table = {
        name: from_genome(Genome.from_text(text), name) for name, text in NAMED_GENOMES.items()
    }
    for name, starts in NAMED_PARAMETERS.items():
        table[name] = Function(name, f"named-{name.lower()}", None, starts, name)
    return {name.lower().replace(" ", ""): function for name, function in table.items()}


@cache
def known_names() -> dict[str, str]:
    """key -> name of the functions that have one."""
    table = _by_name()
    return {table[name.lower()].key: name for name in BASELINES}


def resolve(expression: str | Genome | Function) -> Function:
    """A function from a name ("GELU"), a formula ("x*sigmoid(x)"), a token text or a genome.

    Raises: UserError in one line when the text is none of them.
    """
    if isinstance(expression, Function):
        return expression
    if isinstance(expression, Genome):
        return from_genome(expression)
    text = expression.strip()
    if not text:
        raise UserError("expected an activation function such as x*sigmoid(x), got nothing")
    named = _by_name().get(text.lower().replace(" ", ""))
    if named:
        return named
    if "(" not in text and text.split()[0] in BINARY and len(text.split()) >= 5:
        return from_genome(Genome.from_text(text))
    return from_genome(Genome.parse(text))


def baselines() -> tuple[Function, ...]:
    """The nine baselines, in the paper's order."""
    return tuple(resolve(name) for name in BASELINES)
