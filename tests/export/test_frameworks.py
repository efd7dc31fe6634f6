"""Every framework's file against the evaluator, over tokens, baselines and random genomes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from hybridsearch.errors import UserError
from hybridsearch.export import dialects, frameworks
from hybridsearch.export.files import jax_file, sympy_file, torch_file
from hybridsearch.export.frameworks import check_jax, check_sympy, check_torch
from hybridsearch.export.onnx_model import check_onnx, onnx_model

BETAS = np.array([[0.5, -1.5, 0.25]], np.float32)


@pytest.fixture
def checked(tmp_path):
    """A function: what the check says of a wish's file, changed or not."""

    def run(write, check, wish, change=lambda text: text) -> str:
        path = tmp_path / "exported.py"
        path.write_text(change(write(wish)))
        return check(wish, path)

    return run


def test_torch_over_everything(checked, wish, named, every_token, random_functions):
    for function in (*named, *every_token, *random_functions(12)):
        said = checked(torch_file, check_torch, wish(function))
        assert "float64 values equal" in said, function
        assert "float32 values equal" in said, function


def test_sympy_over_everything(checked, wish, named, every_token, random_functions):
    pytest.importorskip("sympy")
    for function in (*named, *every_token[::2], *random_functions(4)):
        assert "40 points" in checked(sympy_file, check_sympy, wish(function)), function


def test_torch_begins_with_trained_betas(checked, wish):
    assert "equal" in checked(torch_file, check_torch, wish("Swish", trained=BETAS))


def text_with(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("torch.sigmoid(beta * x)", "torch.sigmoid(x)"), "values differ"),
        (("x * torch.sigmoid", "x.detach() * torch.sigmoid"), "gradients differ"),
        (("torch.tensor([1.0])", "torch.tensor([1.1])"), "start values"),
        (("shape[self.axis] = ", "shape[1] = "), "axis"),
    ],
)
def test_a_torch_file_that_is_wrong_is_refused(checked, wish, change, words):
    with pytest.raises(UserError, match=words):
        checked(torch_file, check_torch, wish("Swish"), text_with(*change))


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        ("Swish", ("x * sigmoid", "beta * sigmoid"), "values differ"),
        ("max(x, sin(x))", ("sin(x))", "sin(2 * x))"), "values differ"),
        ("log(|x|+eps)", ('"1e-07"', '"1e-03"'), "values differ"),
    ],
)
def test_a_sympy_file_that_is_wrong_is_refused(checked, wish, text, change, words):
    pytest.importorskip("sympy")
    with pytest.raises(UserError, match=words):
        checked(sympy_file, check_sympy, wish(text), text_with(*change))


def test_what_sympy_cannot_take_is_said(checked, wish):
    pytest.importorskip("sympy")
    with pytest.raises(UserError, match=r"SymPy cannot take|cannot be checked"):
        checked(sympy_file, check_sympy, wish("max(sqrt(-cosh(x)), x)"))


@pytest.mark.parametrize("text", ["sqrt(max(x, 0))", "sin(x)*sqrt(max(x, 0))+beta*x"])
def test_where_sympys_slope_is_nothing_over_nothing_values_are_compared(checked, wish, text):
    pytest.importorskip("sympy")
    said = checked(sympy_file, check_sympy, wish(text))
    assert said.startswith("40 points") and "gradients" in said
    with pytest.raises(UserError, match="differ"):
        checked(
            sympy_file, check_sympy, wish(text), text_with("sqrt(Max(x, 0))", "sqrt(Max(x, -1))")
        )
    with pytest.raises(UserError, match="differ"):
        checked(
            sympy_file, check_sympy, wish(text), text_with("sqrt(Max(x, 0))", "sqrt(Max(2*x, 0))")
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("sqrt(", "undefined("), "NameError"),
        (("sqrt(Max(x, 0))", "sqrt(Max(x, 0)) / (x - x)"), "KeyError"),
        (("sqrt(Max(x, 0))", "Symbol('y') * sqrt(Max(x, 0))"), "NameError"),
    ],
)
def test_what_sympy_fails_at_is_one_line(checked, wish, change, words):
    pytest.importorskip("sympy")
    with pytest.raises(UserError, match=f"SymPy cannot take this function: ({words})") as caught:
        checked(sympy_file, check_sympy, wish("sqrt(max(x, 0))"), text_with(*change))
    assert "\n" not in str(caught.value)


def test_an_old_jax_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    for version in ("0.8.0", "0.10.2", "1.0.0.dev1"):
        monkeypatch.setattr(frameworks.metadata, "version", lambda name, version=version: version)
        frameworks.require("jax")
    monkeypatch.setattr(frameworks.metadata, "version", lambda name: "0.7.2")
    with pytest.raises(UserError, match=r"needs jax 0\.8 or later, got 0\.7\.2; pip install"):
        frameworks.require("jax")


@pytest.mark.parametrize("format", ["jax", "onnx", "sympy"])
def test_a_missing_package_is_said_in_one_line(format, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    frameworks.require("torch")
    extra = "sympy" if format == "sympy" else rf"'hybridsearch\[{format}\]'"
    with pytest.raises(UserError, match=f"pip install {extra}"):
        frameworks.require(format)


@pytest.mark.extras
def test_jax_over_everything(checked, wish, named, every_token, random_functions):
    pytest.importorskip("jax")
    for function in (*named, *every_token, *random_functions(6)):
        assert "gradients" in checked(jax_file, check_jax, wish(function)), function
    assert "equal" in checked(jax_file, check_jax, wish("beta*x", trained=BETAS))


@pytest.mark.extras
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("return x * jnp.sign(x)", "return jnp.abs(x)"),
            "gradients differ",
        ),  # at 0, and only there
        (("[1.0]", "[1.1]"), "start values"),
    ],
)
def test_a_jax_file_that_is_wrong_is_refused(checked, wish, change, words):
    pytest.importorskip("jax")
    with pytest.raises(UserError, match=words):
        checked(jax_file, check_jax, wish("|x|*beta"), text_with(*change))


@pytest.mark.extras
def test_jax_in_half_precision_and_on_other_axes(wish, tmp_path):
    jax = pytest.importorskip("jax")
    path = tmp_path / "exported.py"
    path.write_text(jax_file(wish("Swish", trained=BETAS)))
    module = frameworks.load(path)
    betas = module.init_betas()
    x = jax.numpy.linspace(-3, 3, 24).reshape(2, 3, 4)
    y = module.activation(x, betas, axis=1)
    wanted = x * jax.nn.sigmoid(betas.reshape(1, 3, 1) * x)
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_allclose(
        module.activation(x.swapaxes(1, 2), betas), y.swapaxes(1, 2), rtol=1e-6
    )
    half = module.activation(x.astype(jax.numpy.bfloat16), betas, axis=1)
    assert half.dtype == jax.numpy.bfloat16
    with pytest.raises(ValueError, match="3 channels"):
        module.init_betas(4)
    with pytest.raises(TypeError):
        module.activation(x, betas)  # 4 on the last axis


@pytest.fixture
def model(tmp_path):
    """A function: what the check says of a wish's ONNX model, and the model."""

    def make(wish, dims=None):
        source, path = tmp_path / "exported.py", tmp_path / "exported.onnx"
        source.write_text(torch_file(wish))
        onnx_model(wish, source, path, dims)
        return check_onnx(wish, path), path

    return make


@pytest.mark.extras
@pytest.mark.parametrize(
    ("text", "more", "dims", "shape"),
    [
        ("Swish", {"trained": BETAS}, None, ["batch", 3, "size_2", "size_3"]),
        ("beta*x+(1-beta)*softplus(x)", {"channels": 2, "axis": -1}, None, ["batch", 2]),
        ("sinc(x)+erf(x)", {}, 3, ["batch", "channels", "size_2"]),
        ("GELU", {"axis": 0}, 2, ["channels", "size_1"]),
    ],
)
def test_onnx_runtime_agrees(model, wish, text, more, dims, shape):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    said, path = model(wish(text, **more), dims)
    assert "float32 values" in said
    assert "gradients" not in said
    made = onnx.load(path)
    onnx.checker.check_model(made)
    (x,) = made.graph.input
    assert x.name == "x"
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == shape
    assert "hybridsearch" in made.doc_string


@pytest.mark.extras
def test_onnx_over_random_functions(model, wish, random_functions):
    pytest.importorskip("onnxruntime")
    for function in random_functions(2):
        assert "float32 values" in model(wish(function, channels=3))[0], function


@pytest.mark.parametrize(
    ("more", "dims", "words"),
    [
        ({}, None, "add --channels"),
        ({"channels": 2}, 1, "--dims"),
        ({"channels": 2, "axis": 3}, 3, "--dims"),
        ({"channels": 2}, 9, "--dims"),
    ],
)
def test_onnx_says_what_it_needs(model, wish, more, dims, words):
    with pytest.raises(UserError, match=words):
        model(wish("Swish", **more), dims)


def test_a_dialect_that_is_wrong_is_seen(checked, wish, monkeypatch):
    """clamp in place of -relu(-x) has another slope at 0, and nowhere else."""
    wrong = dialects.TORCH.__class__(
        {**dialects.TORCH.calls, "min0": "torch.clamp({}, max=0.0)"}, dialects.TORCH.square
    )
    monkeypatch.setattr(dialects, "TORCH", wrong)
    with pytest.raises(UserError, match="gradients differ"):
        checked(torch_file, check_torch, wish("min(x, 0)"))
    assert torch.equal(torch.clamp(torch.tensor(-1.0), max=0.0), torch.tensor(-1.0))
