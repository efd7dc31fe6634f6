"""Functions by name and genomes as modules: values, gradients, betas, channels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hybridsearch.errors import UserError
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.canonical import BETAS
from hybridsearch.genome.function import BASELINES, PAPER_FOUND, baselines, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.torch_ops import BINARY_TORCH, UNARY_TORCH
from hybridsearch.genome.units import Space

X = torch.linspace(-6, 6, 97, dtype=torch.float64)[torch.arange(97) != 48]  # no kink at 0

CLOSED_FORMS = {
    "ReLU": lambda x: x.clamp(min=0),
    "LReLU": lambda x: torch.where(x > 0, x, 0.01 * x),
    "PReLU": lambda x: torch.where(x > 0, x, 0.25 * x),
    "Softplus": lambda x: torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0),
    "ELU": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "SELU": lambda x: (
        1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * torch.expm1(x))
    ),
    "GELU": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "Swish-1": lambda x: x / (1 + torch.exp(-x)),
    "Swish": lambda x: x / (1 + torch.exp(-x)),  # beta starts at 1
    "max(x, sigmoid(x))": lambda x: torch.where(
        x > 1 / (1 + torch.exp(-x)), x, 1 / (1 + torch.exp(-x))
    ),
    "cos(x)-x": lambda x: torch.cos(x) - x,
    "min(x, sin(x))": lambda x: torch.where(x < torch.sin(x), x, torch.sin(x)),
    "atan(x)^2-x": lambda x: torch.atan(x) ** 2 - x,
    "max(x, tanh(x))": lambda x: torch.where(x > 0, x, torch.tanh(x)),
    "sinc(x)+x": lambda x: torch.sin(x) / x + x,
    "x*asinh(x)^2": lambda x: x * torch.log(x + torch.sqrt(x * x + 1)) ** 2,
}


def value_and_gradient(f, x):
    x = x.clone().requires_grad_()
    y = f(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), gradient


def as_function(module):
    return lambda x: module(x.reshape(-1, 1)).reshape(-1)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_named_functions_agree_with_their_closed_forms(name):
    module = Activation(name, 1, 1).double()
    for found, wanted in zip(
        value_and_gradient(as_function(module), X),
        value_and_gradient(CLOSED_FORMS[name], X),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*BASELINES, *PAPER_FOUND])
def test_gradcheck_of_input_and_betas(name):
    module = Activation(name, 3, 1).double()
    x = (
        torch.randn(4, 3, dtype=torch.float64, generator=torch.manual_seed(0)) + 0.1
    ).requires_grad_()
    betas = module.betas.detach().clone().requires_grad_()

    def f(x, betas):
        return torch.func.functional_call(module, {"betas": betas}, (x,))

    inputs = (x, betas) if betas.numel() else (x, module.betas.detach())
    assert torch.autograd.gradcheck(f, inputs)


def test_the_named_sets_are_complete():
    assert len(baselines()) == 9
    assert len(PAPER_FOUND) == 8
    assert resolve("swish").key == resolve("x*sigmoid(beta*x)").key
    assert resolve("x*sigmoid(x)").label == "Swish-1: x*sigmoid(x)"
    assert len({f.key for f in baselines()}) == 9


def test_a_space_before_a_bracket_is_no_token_text():
    assert resolve("max (x, 0) - x").key == resolve("max(x,0)-x").key
    assert resolve("min (x, 0) + max (x, 0)").key == resolve("min(x,0)+max(x,0)").key
    with pytest.raises(UserError, match="token 2 of the genome must be a unary function"):
        resolve("max X x relu x")


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_betas_are_one_per_channel_on_the_stated_axis(axis):
    shape = [2, 4, 5, 6]
    channels = shape[axis]
    module = Activation("beta*x", channels, axis)
    assert module.betas.shape == (1, channels)
    with torch.no_grad():
        module.betas.copy_(torch.arange(channels).float()[None])
    out = module(torch.ones(shape))
    assert torch.equal(out.movedim(axis, -1)[0, 0, 0], torch.arange(channels).float())


def test_every_beta_is_its_own_parameter_and_starts_at_1():
    module = Activation(Genome(("blend", "scale", "x", "shift", "x")), 2, 1)
    assert torch.equal(module.betas, torch.ones(3, 2))
    assert Activation("x*tanh(x)", 2, 1).betas.shape == (0, 2)
    dead = Genome.from_text("add scale x shift x | mul tanh x id x")
    assert Activation(dead, 2, 1).betas.shape == (0, 2)  # the first unit is never read
    assert Activation("PReLU", 2, 1).betas.flatten().tolist() == [0.25, 0.25]


def test_a_wrong_channel_axis_is_refused():
    with pytest.raises(UserError, match=r"axis 1 .* 8 channels"):
        Activation("ReLU", 8, 1)(torch.zeros(2, 4))
    with pytest.raises(UserError, match="channels"):
        Activation("ReLU", 0, 1)
    with pytest.raises(UserError):
        Activation("", 3, 1)


def test_half_precision_is_computed_in_float32():
    x = torch.linspace(-3, 3, 50).bfloat16().reshape(-1, 1)
    out = Activation("x-sin(x)", 1, 1)(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, (x.float() - x.float().sin()).bfloat16())


def test_the_two_sides_of_the_table_have_the_same_tokens():
    assert list(UNARY_TORCH) == list(UNARY)
    assert list(BINARY_TORCH) == list(BINARY)
    assert len(UNARY) == 25
    assert len(BINARY) == 10


def test_torch_and_numpy_agree_in_value_and_slope_for_every_genome():
    """One unit all, larger ones a thousand; betas all different, kinks and 0 included."""
    rng = np.random.default_rng(0)
    genomes = list(Space().enumerate()) + [Space(2, 3).sample(rng) for _ in range(1000)]
    points = np.concatenate([rng.normal(size=40) * 2, [0.0, 1e-6, 1e-3, 0.4999, 0.5]])
    known = behaviour(genomes, points, BETAS[1:2])
    for k, tokens in enumerate(genomes):
        module = Activation(Genome(tokens), 1, 1).double()
        with torch.no_grad():
            count = len(module.betas)
            module.betas.copy_(torch.tensor(np.resize(BETAS[1], count)).reshape(-1, 1))
        if "sqrt" in tokens:
            continue  # at the edge of its domain torch multiplies 0 by an infinite slope
        if module.live != tokens:
            continue  # normal forms order betas anew; their values are compared in test_keys
        value, slope = value_and_gradient(
            lambda x, m=module: as_function(m)(x) + 0 * x, torch.tensor(points)
        )
        ok = np.isfinite(known.values[k, 0]) & np.isfinite(known.slopes[k, 0])
        np.testing.assert_allclose(value.numpy()[ok], known.values[k, 0][ok], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(slope.numpy()[ok], known.slopes[k, 0][ok], rtol=1e-7, atol=1e-9)


def test_careful_forms_do_not_overflow_where_the_function_is_tame():
    x = torch.tensor([-200.0, -90.0, 90.0, 200.0], requires_grad=True)
    for token, wanted in (("softplus", [0, 0, 90, 200]), ("sigmoid", [0, 0, 1, 1])):
        y = UNARY_TORCH[token](x, x)
        torch.testing.assert_close(y.detach(), torch.tensor(wanted, dtype=torch.float32))
        assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()
    near = torch.tensor([0.0, 1e-20, 1e-8, 1e-3], dtype=torch.float64, requires_grad=True)
    y = UNARY_TORCH["sinc"](near, near)
    assert torch.equal(y[:2].detach(), torch.ones(2, dtype=torch.float64))
    slope = torch.autograd.grad(y.sum(), near)[0]
    torch.testing.assert_close(slope, -near.detach() / 3, rtol=1e-6, atol=0)


def test_the_domain_is_not_repaired():
    assert Activation("sqrt(x)", 1, 1)(torch.tensor([[-1.0]])).isnan().all()


def test_a_module_trains():
    module = Activation("x*sigmoid(beta*x)", 4, 1)
    loss = F.mse_loss(module(torch.randn(8, 4)), torch.ones(8, 4))
    loss.backward()
    assert module.betas.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["ReLU", "GELU", "x*tanh(x)", "PReLU", "x*sigmoid(beta*x)"])
@pytest.mark.parametrize("channels", [4, None])
def test_every_parameter_that_waits_for_a_gradient_gets_one(name, channels):
    """DistributedDataParallel refuses the second step otherwise."""
    module = Activation(name, channels, 1)
    module(torch.randn(8, 4, requires_grad=True)).sum().backward()
    trained = [p for p in module.parameters() if p.requires_grad]
    assert len(trained) == (1 if resolve(name).starts else 0)
    assert all(p.grad is not None for p in trained)


@pytest.mark.parametrize(
    "name", ["ReLU", "LReLU", "ELU", "SELU", "GELU", "max(x, -x)", "min(x, 0)"]
)
def test_what_half_precision_computes_directly_equals_the_detour(name):
    """These never leave bfloat16: the result must be that of single precision, rounded."""
    act = Activation(name, 4, 1)
    assert act.exact
    x = torch.randn(50, 4).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    y, want = act(x), act(wide)
    y.sum().backward()
    want.sum().backward()
    assert torch.equal(y, want.bfloat16())
    torch.testing.assert_close(x.grad, wide.grad.bfloat16(), rtol=1e-2, atol=1e-2)


def test_what_rounds_takes_the_detour():
    assert not any(Activation(f, 4, 1).exact for f in ("Swish", "PReLU", "x+x", "max(x, sin(x))"))
