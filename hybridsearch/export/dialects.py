"""How PyTorch, JAX and SymPy write the operations, and the baselines that are no genomes.

The forms are those of `genome/torch_ops.py`: stable, and with its slopes at kinks.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybridsearch.export.expression import ATOM, SIGN, SUM, Code, Dialect, write
from hybridsearch.genome.function import Function
from hybridsearch.kernels.program import has_programs, programs

_SAME = ("abs", "sqrt", "exp", "sin", "cos", "sinh", "cosh", "tanh")  # the name is the operation
_OWN = {"sinc": "sinc({})"}  # a function in the file

TORCH = Dialect(
    {op: f"torch.{op}({{}})" for op in (*_SAME, "log", "asinh", "atan", "relu", "sigmoid", "erf")}
    | {"softplus": "F.softplus({}, threshold=40.0)"}  # linear from where float64 is
    | {"max": "torch.maximum({}, {})", "min": "torch.minimum({}, {})"}
    | _OWN,
    ("torch.square({})", SUM, ATOM),
)
JAX = Dialect(
    {op: f"jnp.{op}({{}})" for op in (*_SAME, "log")}
    | {"abs": "absolute({})"}  # a function in the file
    | {"asinh": "jnp.arcsinh({})", "atan": "jnp.arctan({})"}
    | {op: f"jax.nn.{op}({{}})" for op in ("relu", "sigmoid", "softplus")}
    | {"erf": "jax.scipy.special.erf({})"}
    | {"max": "jnp.maximum({}, {})", "min": "jnp.minimum({}, {})"}
    | _OWN,
    ("jnp.square({})", SUM, ATOM),
)
SYMPY = Dialect(
    {op: f"{op}({{}})" for op in (*_SAME, "log", "asinh", "atan", "sinc", "erf", "sigmoid")}
    | {"abs": "Abs({})", "softplus": "log(1 + exp({}))"}
    | {"relu": "Max({}, 0)", "min0": "Min({}, 0)", "max": "Max({}, {})", "min": "Min({}, {})"},
    ("{}**2", ATOM, SIGN),
    "EPS",  # a Rational, which the file defines
)


@dataclass(frozen=True)
class Named:
    """A baseline that is no genome: what is written of it. SELU's constants are those of its paper
    (Klambauer et al. 2017), as in torch.
    """

    formula: str
    latex: str
    torch: str
    jax: str
    sympy: str


NAMED = {
    "LReLU": Named(
        "max(x, 0)+0.01*min(x, 0)",
        r"\max\left(x,0\right)+0.01\,\min\left(x,0\right)",
        "F.leaky_relu(x, 0.01)",
        "jnp.where(x > 0, x, 0.01 * x)",
        "Max(x, 0) + Min(x, 0) / 100",
    ),
    "PReLU": Named(
        "max(x, 0)-beta*max(-x, 0)",
        r"\max\left(x,0\right)-\beta\,\max\left(-x,0\right)",
        "",
        "",
        "",
    ),
    "ELU": Named(
        "max(x, 0)+min(exp(x)-1, 0)",
        r"\max\left(x,0\right)+\min\left(e^{x}-1,0\right)",
        "F.elu(x)",
        "jax.nn.elu(x)",
        "Max(x, 0) + Min(exp(x) - 1, 0)",
    ),
    "SELU": Named(
        "1.0507*(max(x, 0)+1.6733*min(exp(x)-1, 0))",
        r"1.0507\,\left(\max\left(x,0\right)+1.6733\,\min\left(e^{x}-1,0\right)\right)",
        "F.selu(x)",
        "jax.nn.selu(x)",
        'Float("1.0507009873554804934193349852946") * (\n'
        '    Max(x, 0) + Float("1.6732632423543772848170429916717") * Min(exp(x) - 1, 0)\n)',
    ),
    "GELU": Named(
        "x*(1+erf(x/sqrt(2)))/2",
        r"\frac{x}{2}\left(1+\mathrm{erf}\left(\frac{x}{\sqrt{2}}\right)\right)",
        "F.gelu(x)",
        "jax.nn.gelu(x, approximate=False)",
        "x * (1 + erf(x / sqrt(2))) / 2",
    ),
}


def formula(function: Function) -> str:
    """The formula that people write."""
    return function.genome.formula if function.genome else NAMED[function.name].formula


def latex(function: Function) -> str:
    """The formula in LaTeX's mathematical notation."""
    return function.genome.latex if function.genome else NAMED[function.name].latex


def code(function: Function, language: str) -> Code:
    """The expression of a function in "torch", "jax" or "sympy"."""
    if has_programs(function):
        dialect = {"torch": TORCH, "jax": JAX, "sympy": SYMPY}[language]
        return write(programs(function)[0], dialect)
    text: str = getattr(NAMED[function.name], language)
    return Code((), text, frozenset(), True)
