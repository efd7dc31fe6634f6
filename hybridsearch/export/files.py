"""The text of the files that are written; templates lie beside this module.

Into a template goes what the table of primitives, numbers and `plain` make, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from textwrap import fill, indent

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from hybridsearch import __version__
from hybridsearch.export.dialects import code, formula, latex
from hybridsearch.export.expression import Code, beta_names
from hybridsearch.export.origin import Origin
from hybridsearch.export.trained import Betas
from hybridsearch.genome.activation import Activation, is_exact
from hybridsearch.genome.function import Function, known_names
from hybridsearch.genome.primitives import EPS

WIDTH = 96
AXES = {"torch": 1, "onnx": 1, "jax": -1}  # where a framework has its channels
_TORCH = """\
This file needs only PyTorch. In a network, where a ReLU would stand:

    nn.Conv2d(3, 16, 3), {name}(16)  # channels on axis 1
    nn.Linear(64, 32), {name}(32, axis=-1)  # on the last axis
"""
_DECAY = """
Train the betas without weight decay, which would pull them to 0:

    betas = [p for name, p in net.named_parameters() if name.endswith("betas")]
    rest = [p for name, p in net.named_parameters() if not name.endswith("betas")]
    torch.optim.AdamW([{"params": rest}, {"params": betas, "weight_decay": 0.0}])
"""
_JAX = """\
This file needs only JAX; it works under jit, grad and vmap:

    betas = init_betas(32)  # trainable, beside the network's other parameters
    y = activation(x, betas)  # channels on the last axis; axis=1 where they come first
"""
_JAX_DECAY = "\nTrain the betas without weight decay, which would pull them to 0.\n"
_SYMPY = """\
This file needs only SymPy:

    from sympy import diff, latex, simplify

    simplify(diff(expression, x))  # its slope; the symbols are x{betas}
"""


@dataclass(frozen=True)
class Wish:
    """What to write. channels, axis: defaults of what is written; None where nothing is said.
    trained: betas [number, channels] to begin with instead of the start values.
    """

    origin: Origin
    channels: int | None = None
    axis: int | None = None
    trained: Betas | None = None

    @property
    def function(self) -> Function:
        return self.origin.function

    @property
    def width(self) -> int | None:
        """How many channels it is for; None where that is left to whoever uses it."""
        return self.channels if self.trained is None else self.trained.shape[1]

    def axis_for(self, format: str) -> int:
        return AXES[format] if self.axis is None else self.axis


def class_name(function: Function) -> str:
    """What the class of a function is called: a baseline's name, or Activation."""
    return re.sub(r"\W", "", known_names().get(function.key, "Activation"))


def torch_file(wish: Wish) -> str:
    """A Python file that needs only torch."""
    name = class_name(wish.function)
    use = _TORCH.format(name=name) + (_DECAY if wish.function.starts else "")
    # Half precision needs no detour where nothing rounds, or torch makes it itself.
    return _code_file(wish, "torch", use, Activation(wish.function, 1, 1).exact, name=name)


def jax_file(wish: Wish) -> str:
    """A Python file that needs only JAX."""
    use = _JAX + (_JAX_DECAY if wish.function.starts else "")
    return _code_file(wish, "jax", use, is_exact(wish.function))


def sympy_file(wish: Wish) -> str:
    """A Python file that needs only SymPy."""
    found = code(wish.function, "sympy")
    body = "".join(f"{name} = {text}\n" for name, text in found.bound)
    body += f"expression = {found.result}"
    betas = beta_names(len(wish.function.starts))
    sigmoid = "sigmoid" in found.operations
    called = set(re.findall(r"\b(\w+)\(", body))
    used = (called - {"sigmoid"}) | {"Symbol"}
    used |= ({"Rational"} if "EPS" in body else set()) | ({"exp"} if sigmoid else set())
    use = _SYMPY.format(betas="".join(f", {b}" for b in betas))
    return _template("sympy").render(
        about=_about(wish, use),
        imports=", ".join(sorted(used)),
        betas=betas,
        eps=EPS if "EPS" in body else None,
        sigmoid=sigmoid,
        body=body,
    )


def _code_file(wish: Wish, language: str, use: str, exact: bool, **more: str) -> str:
    found, count = code(wish.function, language), len(wish.function.starts)
    names = beta_names(count)

    def arguments(kind: str) -> str:
        return ", ".join(f"{name}: {kind}" if kind else name for name in ("x", *names))

    return _template(language).render(
        about=_about(wish, use),
        body=indent(_body(found, language), " " * 4),
        count=count,
        parts=", ".join(f"betas[{k}]" for k in range(count)),
        arguments=arguments,
        starts=list(wish.function.starts),
        channels=wish.width,
        default="" if wish.width is None else f" = {wish.width}",
        axis=wish.axis_for(language),
        trained=None if wish.trained is None else _numbers(wish.trained),
        exact=exact,
        sinc="sinc" in found.operations,
        absolute="abs" in found.operations,
        **more,
    )


def _body(found: Code, language: str) -> str:
    result = found.result
    if not found.reads_input:  # only betas, yet one value for every element of x
        whole = {"torch": "({}).expand_as(x)", "jax": "jnp.broadcast_to({}, x.shape)"}[language]
        result = whole.format(result)
    return "".join(f"{name} = {text}\n" for name, text in found.bound) + f"return {result}"


def _about(wish: Wish, use: str) -> str:
    """The docstring of a file: what it is, where it comes from, how it is used."""
    function, betas = wish.function, len(wish.function.starts)
    parts = [
        _headline(function),
        indent(fill(f"f(x) = {formula(function)}", WIDTH - 4), " " * 4),
        indent(fill(f"LaTeX: {latex(function)}", WIDTH - 4, break_long_words=False), " " * 4),
        *([f"Every beta is a parameter of its own, {_listed(betas)} in the code."] * (betas > 1)),
        fill(_story(wish), WIDTH),
        use.rstrip(),
    ]
    return "\n\n".join(parts)


def summary(wish: Wish) -> str:
    """What a model says of itself, in one line."""
    return f"{_headline(wish.function)} f(x) = {formula(wish.function)}; {_story(wish)}"


def _headline(function: Function) -> str:
    betas = len(function.starts)
    kind = "no parameters" if not betas else "a trainable beta per channel"
    if betas > 1:
        kind = f"{betas} trainable betas per channel"
    return f"{class_name(function)}: an activation function with {kind}."


def _story(wish: Wish) -> str:
    story = list(wish.origin.story)
    if wish.trained is not None:
        story.append(f"Its betas begin at trained values, for {wish.trained.shape[1]} channels.")
    story.append(f"Written by hybridsearch {__version__}, and compared with its evaluator.")
    return " ".join(story)


def _listed(betas: int) -> str:
    names = beta_names(betas)
    return f"{names[0]} to {names[-1]}" if betas > 2 else " and ".join(names)


def _numbers(trained: Betas) -> str:
    """The betas as a constant; the shortest texts that give the same float32 back."""
    rows = [fill(", ".join(map(str, row)) + ",", WIDTH - 8) for row in trained]
    inner = "".join(f"    [\n{indent(row, ' ' * 8)}\n    ],\n" for row in rows)
    return f"TRAINED = [\n{inner}]"


@cache
def _template(language: str) -> Template:
    environment = Environment(
        loader=PackageLoader("hybridsearch.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the text is Python, and holds nothing from outside (see above)
    )
    return environment.get_template(f"{language}.py.j2")
