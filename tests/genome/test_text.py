"""What people write and read: formula, LaTeX, token text, and the parser's answers and errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from scipy import special

from hybridsearch.errors import UserError
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.canonical import key, keys, value_key
from hybridsearch.genome.function import NAMED_GENOMES
from hybridsearch.genome.index import one_unit_index, representative
from hybridsearch.genome.reading import parse_formula
from hybridsearch.genome.text import (
    formula,
    from_token_text,
    latex,
    token_text,
)
from hybridsearch.genome.units import Space, normal_form, to_units

POINTS = np.array([-3.7, -1.2, -0.4, 0.3, 0.9, 2.6])
# Betas in several places of several units: there the reader has most to go wrong with.
BETAS_EVERYWHERE = {"unary": ("id", "neg", "scale", "shift", "beta", "square", "sigmoid")}


def samples(count: int, size: int, **functions: tuple[str, ...]) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(size)
    return [Space(size, size, **functions).sample(rng) for _ in range(count)]


def sigmoid(x):
    return special.expit(x)


def is_read_as(genome: tuple[str, ...], back: tuple[str, ...]) -> bool:
    """Whether a genome's formula was read well. One without slopes may be read as one unit that
    has them.
    """
    return key(back) == key(genome) or (len(back) == 5 and key(back) == value_key(genome))


# Token text ------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_token_text_is_lossless(seed):
    genome = Space(1, 5).sample(np.random.default_rng(seed))
    line = token_text(genome)
    assert from_token_text(line) == genome
    assert line.count(" | ") == len(genome) // 5 - 1


# Round trips -----------------------------------------------------------------------------------


def test_every_one_unit_formula_comes_back_as_one_unit():
    genomes = list(Space().enumerate())
    parsed = [parse_formula(formula(genome)) for genome in genomes]
    assert {len(genome) for genome in parsed} == {5}
    assert keys(parsed) == keys(genomes)


@pytest.mark.parametrize("functions", [{}, BETAS_EVERYWHERE], ids=["all", "betas"])
@pytest.mark.parametrize(("size", "count"), [(2, 700), (3, 500), (5, 80), (8, 30)])
def test_formulas_of_more_units_come_back(size, count, functions):
    genomes = samples(count, size, **functions)
    parsed = [parse_formula(formula(genome)) for genome in genomes]
    assert all(map(is_read_as, genomes, parsed))
    assert all(
        len(back) <= len(normal_form(genome)) for back, genome in zip(parsed, genomes, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_formulas_come_back(seed, size):
    genome = Space(size, size).sample(np.random.default_rng(seed))
    assert is_read_as(genome, parse_formula(formula(genome)))


@pytest.mark.parametrize(
    "genome",
    [
        # The shortest text of these is a genome that numbers the betas otherwise.
        "add beta x id x | mul id u1 scale x",
        "sub neg x scale x | add neg x scale x | sub square u1 neg u2",
        "gate id x beta x | max scale x sigmoid x | mul neg u1 scale u2",
        "gate beta x beta x | laplace id x shift x | gate id u1 shift u2",
        # Nowhere defined, so that the key is that of the form.
        "div neg x sqrt x | gate id x sqrt u1",
    ],
)
def test_formulas_come_back_where_short_ones_would_not(genome):
    tokens = from_token_text(genome)
    assert key(parse_formula(formula(tokens))) == key(tokens)


def test_formula_ignores_what_the_function_does_not_need():
    one = from_token_text("max sin x cos x | max tanh x tanh x | mul id u2 beta u1")
    assert formula(one) == "beta*tanh(x)" == formula(normal_form(one))


# Printing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("genome", "text"),
    [
        ("max relu x relu x", "max(x, 0)"),
        ("min relu x relu x", "max(x, 0)"),
        ("max id x id x", "x"),
        ("gate scale x id x", "x*sigmoid(beta*x)"),
        ("mul id x sigmoid x", "x*sigmoid(x)"),
        ("mul sigmoid x id x", "x*sigmoid(x)"),
        ("sub cos x id x", "cos(x)-x"),
        ("max id x tanh x", "max(x, tanh(x))"),
        ("max scale x scale x", "max(beta*x, beta*x)"),  # two betas: not one function twice
        ("add id x neg x", "x-x"),
        ("sub id x neg x", "x+x"),
        ("sub sin x shift x", "sin(x)-(x+beta)"),
        ("mul neg x shift x", "-x*(x+beta)"),
        ("mul beta x tanh x", "beta*tanh(x)"),
        ("add beta x tanh x", "tanh(x)+beta"),
        ("div neg x shift x", "(-x)/(x+beta+eps)"),
        ("rbf id x neg x", "exp(-beta*(x+x)^2)"),
        ("laplace sin x shift x", "exp(-beta*|x+beta-sin(x)|)"),
        ("blend neg x shift x", "beta*(-x)+(1-beta)*(x+beta)"),
        ("max gauss x gauss x", "exp(-x^2)"),
        ("add id x sin x | max gauss u1 gauss u1", "exp(-(x+sin(x))^2)"),
        ("mul id x sin x | max neg u1 neg u1", "-x*sin(x)"),
        ("max neg x neg x | max square u1 square u1", "(-x)^2"),
        ("max softplus x softplus x | mul id x tanh u1", "x*tanh(log(1+exp(x)))"),
        ("mul scale x sin x | mul id u1 sigmoid u1", "u1=beta*x*sin(x); u1*sigmoid(u1)"),
        ("max tanh x tanh x | mul id u1 sigmoid u1", "u1=tanh(x); u1*sigmoid(u1)"),
        ("max id x id x | mul id u1 sigmoid u1", "x*sigmoid(x)"),
        (
            "mul cos x id x | mul sin x id x | sub id u2 id u1 | add abs u3 sin u3",
            "u1=x*sin(x)-x*cos(x); |u1|+sin(u1)",
        ),
    ],
)
def test_formula_reads_like_this(genome, text):
    assert formula(from_token_text(genome)) == text


@pytest.mark.parametrize(
    ("genome", "text"),
    [
        ("max relu x relu x", r"\max\left(x,0\right)"),
        ("gate scale x id x", r"x\cdot \sigma\left(\beta\,x\right)"),
        ("div id x shift x", r"\frac{x}{x+\beta+\epsilon}"),
        ("max gauss x gauss x", "e^{-x^{2}}"),
        ("add id x sin x | max cube u1 cube u1", r"\left(x+\sin\left(x\right)\right)^{3}"),
        ("max exp x exp x | max square u1 square u1", r"\left(e^{x}\right)^{2}"),
        ("max sin x sin x | max square u1 square u1", r"\left(\sin\left(x\right)\right)^{2}"),
        (
            "max tanh x tanh x | mul id u1 sigmoid u1",
            r"u_{1}=\tanh\left(x\right),\quad u_{1}\cdot \sigma\left(u_{1}\right)",
        ),
        # Several betas are told apart, numbered as in the exports whatever is written first.
        ("add beta x scale x", r"\beta_{2}\,x+\beta_{1}"),
        (
            "blend scale x sin x",
            r"\beta_{2}\,\beta_{1}\,x+\left(1-\beta_{2}\right)\,\sin\left(x\right)",
        ),
        (
            "gate scale x id x | add scale u1 beta x",
            r"\beta_{3}\,x\cdot \sigma\left(\beta_{1}\,x\right)+\beta_{2}",
        ),
    ],
)
def test_latex_reads_like_this(genome, text):
    assert latex(from_token_text(genome)) == text


def test_latex_can_be_set():
    """A formula with a double exponent, or an open brace, raises here."""
    parser = MathTextParser("path")
    for genome in [*list(Space().enumerate())[::97], *samples(60, 3)]:
        parser.parse(f"${latex(genome)}$")


def test_latex_has_a_name_for_every_beta():
    for genome in [*list(Space().enumerate())[::97], *samples(60, 3)]:
        count = sum(unit.betas() for unit in to_units(normal_form(genome)))
        named = set(re.findall(r"\\beta(?:_\{\d+\})?", latex(genome)))
        several = {rf"\beta_{{{k}}}" for k in range(1, count + 1)}
        assert named == (several if count > 1 else {r"\beta"} if count else set())


# Parsing ---------------------------------------------------------------------------------------

MEANINGS = [  # text, units, betas, and the function of x and the betas in the genome's order
    ("x", 1, 0, lambda x: x),
    ("max(x, 0)", 1, 0, lambda x: np.maximum(x, 0)),
    ("max(0,x)", 1, 0, lambda x: np.maximum(x, 0)),
    ("relu(x)", 1, 0, lambda x: np.maximum(x, 0)),
    ("min(x, 0)", 1, 0, lambda x: np.minimum(x, 0)),
    ("min(0, sin(x))", 2, 0, lambda x: np.minimum(np.sin(x), 0)),
    ("x^2", 1, 0, lambda x: x**2),
    ("x**3", 1, 0, lambda x: x**3),
    ("-x^2", 1, 0, lambda x: -(x**2)),
    ("-x", 1, 0, lambda x: -x),
    ("--x", 1, 0, lambda x: x),
    ("(((x)))", 1, 0, lambda x: x),
    ("log(|x|+eps)", 1, 0, lambda x: np.log(np.abs(x) + 1e-7)),
    ("log(eps + abs(x))", 1, 0, lambda x: np.log(np.abs(x) + 1e-7)),
    ("log(1+exp(x))", 1, 0, lambda x: np.log1p(np.exp(x))),
    ("log(exp(x)+1)", 1, 0, lambda x: np.log1p(np.exp(x))),
    ("softplus(x)", 1, 0, lambda x: np.log1p(np.exp(x))),
    ("exp(-x^2)", 1, 0, lambda x: np.exp(-(x**2))),
    ("exp(-(x^2))", 1, 0, lambda x: np.exp(-(x**2))),
    ("exp(-x*x)", 1, 0, lambda x: np.exp(-(x**2))),
    ("exp(-(x+tanh(x))^2)", 2, 0, lambda x: np.exp(-((x + np.tanh(x)) ** 2))),
    ("x/(1+exp(-x))", 1, 0, lambda x: x * sigmoid(x)),
    ("1/(1+exp(-x))", 1, 0, sigmoid),
    ("x*sigmoid(x)", 1, 0, lambda x: x * sigmoid(x)),
    ("sigmoid(x)*x", 1, 0, lambda x: x * sigmoid(x)),
    ("σ(x)*x", 1, 0, lambda x: x * sigmoid(x)),
    ("x*x*sigmoid(x)", 1, 0, lambda x: x**2 * sigmoid(x)),
    ("x*sigmoid(x)*x", 1, 0, lambda x: x**2 * sigmoid(x)),
    ("x*x*x*x*x", 1, 0, lambda x: x**5),
    ("x*tanh(log(1+exp(x)))", 2, 0, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("x/(sin(x)+eps)", 1, 0, lambda x: x / (np.sin(x) + 1e-7)),
    ("x/sin(x)", 1, 0, lambda x: x / (np.sin(x) + 1e-7)),
    ("sin(x)/x*cos(x)", 2, 0, lambda x: np.sin(x) / (x + 1e-7) * np.cos(x)),
    ("sin(x)*cos(x)/cosh(x)", 2, 0, lambda x: np.sin(x) * np.cos(x) / (np.cosh(x) + 1e-7)),
    ("sin(x)^2", 1, 0, lambda x: np.sin(x) ** 2),
    ("(arctan(x))^2-x", 2, 0, lambda x: np.arctan(x) ** 2 - x),
    ("arcsinh(x)+asinh(x)", 1, 0, lambda x: 2 * np.arcsinh(x)),
    ("x-(sin(x)-x)", 2, 0, lambda x: 2 * x - np.sin(x)),
    ("-(x+tanh(x))", 1, 0, lambda x: -x - np.tanh(x)),
    ("-x*tanh(x)", 1, 0, lambda x: -x * np.tanh(x)),
    ("tanh(-x)*x", 1, 0, lambda x: -x * np.tanh(x)),
    ("||x|-x|", 1, 0, lambda x: np.abs(np.abs(x) - x)),
    ("x+sin(x)+cos(x)+tanh(x)", 3, 0, lambda x: x + np.sin(x) + np.cos(x) + np.tanh(x)),
    ("tanh(x)*x + tanh(x)*x", 2, 0, lambda x: 2 * x * np.tanh(x)),  # one unit, read twice
    ("erf(sin(x))*erf(sin(x))", 2, 0, lambda x: special.erf(np.sin(x)) ** 2),
    ("x-x", 1, 0, lambda x: x - x),
    ("u1 = x; u1+u1", 1, 0, lambda x: 2 * x),
    ("u1=sin(x); u1*x+u1", 3, 0, lambda x: np.sin(x) * x + np.sin(x)),
    ("u1=sin(x)*x; u2=u1+x; u1*u2", 3, 0, lambda x: np.sin(x) * x * (np.sin(x) * x + x)),
    ("beta*x", 1, 1, lambda x, b: b * x),
    ("x*β", 1, 1, lambda x, b: b * x),
    ("x+beta", 1, 1, lambda x, b: x + b),
    ("beta-x", 1, 1, lambda x, b: b - x),
    ("x*sigmoid(beta*x)", 1, 1, lambda x, b: x * sigmoid(b * x)),
    ("sigmoid(beta*x)*x", 1, 1, lambda x, b: x * sigmoid(b * x)),
    ("x/(1+exp(-beta*x))", 2, 1, lambda x, b: x * sigmoid(b * x)),
    ("exp(-beta*(x-sin(x))^2)", 1, 1, lambda x, b: np.exp(-b * (x - np.sin(x)) ** 2)),
    ("exp(-beta*(sin(x)+x)^2)", 1, 1, lambda x, b: np.exp(-b * (x + np.sin(x)) ** 2)),
    ("exp(-beta*|x-tanh(x)|)", 1, 1, lambda x, b: np.exp(-b * np.abs(x - np.tanh(x)))),
    ("beta*x+(1-beta)*tanh(x)", 1, 1, lambda x, b: b * x + (1 - b) * np.tanh(x)),
    ("(1-beta)*tanh(x) + x*beta", 1, 1, lambda x, b: b * x + (1 - b) * np.tanh(x)),
    ("beta*x-(1-beta)*tanh(x)", 2, 1, lambda x, b: b * x - (1 - b) * np.tanh(x)),
    ("u1=beta*x; u1*sigmoid(u1)", 2, 1, lambda x, b: b * x * sigmoid(b * x)),
    ("beta*x*sigmoid(beta*x)", 1, 2, lambda x, b, c: sigmoid(b * x) * c * x),
    ("(x+beta)*sin(x)", 1, 1, lambda x, b: (x + b) * np.sin(x)),
    ("sigmoid(x+beta)*(x+beta)", 1, 2, lambda x, b, c: sigmoid(x + b) * (x + c)),
    ("(x+beta)^2", 2, 1, lambda x, b: (x + b) ** 2),  # not (x+b1)*(x+b2) in one unit
    ("exp(-(x+beta)^2)*x", 2, 1, lambda x, b: np.exp(-((x + b) ** 2)) * x),
    ("sin(x)*cos(x)+beta", 2, 1, lambda x, b: np.sin(x) * np.cos(x) + b),
]


@pytest.mark.parametrize(("text", "units", "betas", "meaning"), MEANINGS, ids=lambda v: None)
def test_a_formula_means_what_it_says(text, units, betas, meaning):
    genome = parse_formula(text)
    read = to_units(genome)
    assert sum(unit.betas() for unit in read) == betas
    values = np.array([[1.0, 1.0], [0.4, -0.7], [-1.3, 1.9]])
    got = behaviour([normal_form(genome)], POINTS, values).values[0]
    for row, assigned in zip(got, values, strict=True):
        np.testing.assert_allclose(row, meaning(POINTS, *assigned[:betas]), rtol=1e-9, atol=1e-12)
    assert len(read) <= units, token_text(genome)
    assert len(genome) == len(normal_form(genome))  # no unit is there for nothing


def test_the_named_functions_come_out_as_their_genomes():
    for name, text in NAMED_GENOMES.items():
        if "(" in name:
            parsed = parse_formula(name)
            assert key(parsed) == key(from_token_text(text))
            assert len(parsed) == len(from_token_text(text))


def test_betas_of_their_own():
    """Every beta is a parameter of its own, but for a blend's two and those of a bound unit."""
    apart = parse_formula("beta*sin(x)+beta*sin(x)")
    bound = parse_formula("u1=beta*sin(x); u1+u1")
    assert sum(u.betas() for u in to_units(apart)) == 2
    assert sum(u.betas() for u in to_units(bound)) == 1
    assert key(apart) != key(bound)


def test_a_padded_unary_keeps_its_gradient():
    x = np.array([-2.0, -0.5, 0.5, 2.0])
    for text, slope in [
        ("max(x, 0)", (x > 0) * 1.0),
        ("tanh(x)", 1 - np.tanh(x) ** 2),
        ("x^2", 2 * x),
        ("beta*x", np.full(4, 1.7)),
        ("x+beta", np.ones(4)),
    ]:
        genome = parse_formula(text)
        assert len(genome) == 5
        got = behaviour([genome], x, np.array([[1.7]])).slopes[0, 0]
        np.testing.assert_allclose(got, slope, rtol=1e-12)
    assert parse_formula("max(x, 0)") == ("max", "relu", "x", "relu", "x")


def test_spaces_do_not_matter():
    assert parse_formula(" x  * sigmoid( beta*x ) ") == parse_formula("x*sigmoid(beta*x)")
    assert parse_formula("u1 = tanh(x) ;u1 * x") == parse_formula("u1=tanh(x); u1*x")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "expected a number, a name or '('"),
        ("x+", 3, "expected a number, a name or '(', got 'the end'"),
        ("*x", 1, "got '*'"),
        ("(x", 3, "expected ')' for the '(' in column 1"),
        ("x)", 2, "expected an operator or the end, got ')'"),
        ("|x", 3, "expected '|' for the '|' in column 1"),
        ("x x", 3, "expected an operator or the end, got 'x'"),
        ("2x", 2, "expected an operator or the end"),
        ("x $ x", 3, "expected a number, a name or an operator, got '$'"),
        ("sin(x) # y", 8, "got '#'"),
        ("x*sigmod(x)", 3, "unknown function 'sigmod'; did you mean 'sigmoid'?"),
        ("x*betta", 3, "unknown name 'betta'; did you mean 'beta'?"),
        ("sin x", 5, "expected '(' after sin"),
        ("tanh(x, x)", 7, "expected ')'"),
        ("max(x)", 6, "expected ',' and a second argument of max"),
        ("x^4", 3, "expected the exponent 2 or 3, got '4'"),
        ("x^x", 3, "expected the exponent 2 or 3"),
        ("x^2^3", 4, "expected an operator or the end, got '^'"),
        ("0.5*x", 1, "expected 0, 1, 2 or 3, got '0.5'"),
        ("x*7", 3, "expected 0, 1, 2 or 3, got '7'"),
        ("2*x", 1, "a number stands only in max(a, 0)"),
        ("sin(x)+1", 8, "a number stands only in"),
        ("tanh(x)*exp(2*sin(x))", 13, "a number stands only in"),
        ("max(x, 1)", 8, "a number stands only in"),
        ("1/x", 1, "a number stands only in"),
        ("(1-beta)*x", 2, "a number stands only in"),
        ("eps*x", 1, "eps stands only in"),
        ("log(x)", 1, "expected log(|a|+eps) or log(1+exp(a))"),
        ("beta", 1, "no core unit is a beta alone"),
        ("x*tanh(beta)", 3, "no core unit is a beta alone"),
        ("u1*x", 1, "expected 'u1' to be bound before"),
        ("u2=x*x; u1=u2; u1+u3", 19, "expected 'u3' to be bound before"),
        ("u1=u1*x; u1", 4, "expected 'u1' to be bound before"),
        ("u1=x*x x", 8, "expected ';' after the unit"),
        ("u1=x*x;", 8, "expected a number, a name or '('"),
        ("u1=x*x; x", 1, "the unit 'u1' is bound but never read"),
        ("u1=x*x; u1=x; u1", 9, "expected a new unit name"),
        ("v=x*x; v", 1, "expected a new unit name"),
        ("u1=beta; u1*x", 4, "no core unit is a beta alone"),
        ("x" + "+x" * 200, 201, "expected at most 100 numbers and names"),
        ("(" * 100 + "x" + ")" * 100, 61, "expected at most 60 nested parentheses"),
        (" " * 2000 + "x", 1001, "a formula has at most 1000 characters"),
    ],
)
def test_what_is_outside_the_space_is_named(text, column, says):
    with pytest.raises(UserError) as error:
        parse_formula(text)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"column {column} of the formula: ")
    assert says in line


@pytest.mark.parametrize(
    "text",
    [
        "tanh(" * 9 + "x" + ")" * 9,
        "sin(x)+cos(x)+tanh(x)+erf(x)+atan(x)+sinh(x)+cosh(x)+asinh(x)+sinc(x)+exp(x)",
        "u1=x*sin(x); " + "".join(f"u{i}=u{i - 1}*sin(u{i - 1}); " for i in range(2, 10)) + "-u9",
        "*".join(["beta"] * 40) + "*x",
        "x" + "-x" * 90,
    ],
)
def test_too_large_a_formula_is_refused(text):
    with pytest.raises(UserError, match=r"expected at most 8|too many groupings"):
        parse_formula(text)


def test_eight_units_are_not_too_many():
    assert len(parse_formula("tanh(" * 8 + "x" + ")" * 8)) == 40


NAMES = ["x", "x", "x", "beta", "eps", "0", "1", "2", "3", "u1", "foo", "0.5"]
SIGNS = [*"+-*/^()|;=,@", "**"]
OPENINGS = ["sin(", "exp(", "max(", "log(", "sigmoid(", "1+exp(", "exp(-beta*", "(1-beta)*"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(NAMES + SIGNS + OPENINGS), max_size=12).map(" ".join))
def test_any_text_gives_a_genome_or_one_line(text):
    try:
        genome = parse_formula(text)
    except UserError as error:
        assert re.match(r"(column \d+ of the formula: |the formula )", str(error))
        assert "\n" not in str(error)
    else:
        assert genome in Space(1, 8)
        assert is_read_as(genome, parse_formula(formula(genome)))


# The index of one-unit functions -----------------------------------------------------------------


def test_the_index_holds_the_shortest_formula_of_every_key():
    genomes = list(Space().enumerate())
    index = one_unit_index()
    best: dict[str, tuple[int, int]] = {}
    for order, (genome, name) in enumerate(zip(genomes, keys(genomes), strict=True)):
        rank = (len(formula(genome)), order)
        best[name] = min(best.get(name, rank), rank)
    assert index == {name: genomes[order] for name, (_, order) in best.items()}


def test_representatives():
    square = from_token_text("max id x id x | mul id u1 id x")
    assert representative(square, key(square)) == one_unit_index()[key(square)]
    assert len(representative(square, key(square))) == 5
    two = from_token_text("max softplus x softplus x | mul id x tanh u1")
    assert representative(two, key(two)) == two


def test_a_formula_of_two_units_that_one_can_do():
    """max(x, 0)-max(-x, 0) is x: no rewriting shows it, the key does."""
    parsed = parse_formula("max(x, 0)-max(-x, 0)")
    assert len(parsed) == 5
    assert key(parsed) == key(parse_formula("x"))


def test_what_has_no_slope_as_it_is_written_is_read_as_one_unit_that_has():
    """sqrt(x^2) is |x|, and has 0/0 for a slope at 0."""
    for text, plain in (("sqrt(x^2)", "|x|"), ("x+sqrt(x*x)", "x+|x|"), ("sqrt(x^2*x^2)", "x^2")):
        parsed = parse_formula(text)
        assert len(parsed) == 5
        assert key(parsed) == key(parse_formula(plain))
    two = parse_formula("sqrt(tanh(x)^2)")  # of more units there is no index
    assert key(two) != value_key(two) and is_read_as(two, parse_formula(formula(two)))
