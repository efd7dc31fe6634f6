"""Programs as expressions: what people would write, regrouped nowhere."""

from __future__ import annotations

import ast

import pytest

from hybridsearch.export.dialects import SYMPY, TORCH, code, formula, latex
from hybridsearch.export.expression import LONG, beta_names
from hybridsearch.genome.function import resolve
from hybridsearch.kernels.tape import OPERATIONS


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x*sigmoid(beta*x)", "x * torch.sigmoid(beta * x)"),
        ("x*sigmoid(x)", "x * torch.sigmoid(x)"),
        ("PReLU", "torch.relu(x) - beta * torch.relu(-x)"),
        ("ReLU", "torch.relu(x)"),
        ("GELU", "F.gelu(x)"),
        ("x^3", "x * x * x"),
        ("x^2", "x * x"),
        ("min(x, 0)", "-torch.relu(-x)"),
        ("-min(x, 0)", "torch.relu(x) - x"),
        ("atan(x)^2-x", "torch.square(torch.atan(x)) - x"),
        ("x*asinh(x)^2", "x * torch.square(torch.asinh(x))"),
        ("exp(-x^2)", "torch.exp(-x * x)"),
        ("x/(log(|x|+eps)+eps)", "x / (torch.log(torch.abs(x) + 1e-07) + 1e-07)"),
        ("beta*x+(1-beta)*sin(x)", "beta * x + (1 - beta) * torch.sin(x)"),
        ("exp(-beta*|x-sin(x)|)", "torch.exp(-beta * torch.abs(x - torch.sin(x)))"),
    ],
)
def test_one_line_functions(text, written):
    found = code(resolve(text), "torch")
    assert found.bound == ()
    assert found.result == written


def test_what_is_used_twice_is_bound_once():
    found = code(resolve("u1 = tanh(x)*beta; u1*sigmoid(u1)"), "torch")
    assert found.bound == (("u1", "beta * torch.tanh(x)"),)
    assert found.result == "u1 * torch.sigmoid(u1)"


def test_a_power_of_a_power_keeps_its_brackets():
    assert code(resolve("(sin(x)^2)^2"), "sympy").result == "(sin(x)**2)**2"
    assert code(resolve("x-sin(x)^2"), "sympy").result == "x - sin(x)**2"


def test_every_operation_of_forward_programs_has_a_form():
    slopes = {"sign", "dsinc", "ifpos", "ifneg", "ifmore"}  # of backward programs
    operators = {"add", "sub", "mul", "div", "neg"}
    wanted = set(OPERATIONS) - slopes - operators
    assert set(SYMPY.calls) == wanted
    assert set(TORCH.calls) == wanted - {"min0"}


def test_lines_stay_short_and_are_python(random_functions):
    for function in random_functions(60):
        for language in ("torch", "jax", "sympy"):
            found = code(function, language)
            for text in (found.result, *(text for _, text in found.bound)):
                ast.parse(text, mode="eval")
                assert len(text) < 2 * LONG + 30, text


def test_betas_are_numbered_where_there_are_several():
    assert beta_names(0) == ()
    assert beta_names(1) == ("beta",)
    assert beta_names(2) == ("beta_1", "beta_2")
    assert not code(resolve("beta*beta+beta"), "torch").reads_input


def test_every_function_has_a_formula_and_latex(named):
    for function in named:
        assert "x" in formula(function)
        assert "x" in latex(function)
        assert latex(function).count("{") == latex(function).count("}")
    # The formulas of the baselines that are no genomes are those of the evaluator, where the
    # parser has all their numbers.
    assert resolve(formula(resolve("PReLU"))).genome is not None
