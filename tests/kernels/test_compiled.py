"""Compiled kernels against plain PyTorch and float64. Backends without a compiler test the logic
fast; one function goes through the real one.
"""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

from hybridsearch.errors import UserError
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import BASELINES, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.kernels import compiled
from hybridsearch.kernels.choose import EAGER, Workload, choose, gpu_saving, make
from hybridsearch.kernels.compiled import CompiledKernel, dense, identity, layout, strides
from hybridsearch.threads import one_thread

SWISH = "x*sigmoid(beta*x)"
HARD = "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)"


@pytest.fixture(autouse=True)
def prepared(monkeypatch, tmp_path):
    """Nothing is left in the user's cache; warnings are due again; one thread, as in a worker."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled, "_prepare", lambda: None)
    compiled._say.cache_clear()
    with one_thread():
        yield


def run(compute, x, betas, grad):
    """Value and gradients: (f, df/dx, df/dbetas or None)."""
    x, betas = x.detach().requires_grad_(), betas.detach().clone().requires_grad_()
    out = compute(x, betas)
    out.backward(grad)
    return out.detach(), x.grad, betas.grad


def plain(function, channels, axis):
    """What the kernel must agree with."""

    def compute(x, betas):
        module = Activation(function, channels, axis)
        return torch.func.functional_call(module, {"betas": betas}, (x,))

    return compute


def close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        if b is not None and b.numel():
            assert a.dtype in (b.dtype, torch.float32, torch.bfloat16)
            scale = b.double().abs().clamp(min=1)
            assert ((a.double() - b.double()).abs() <= tolerance * scale).all()


def draws(function, shape, axis, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=random).to(dtype)
    grad = torch.randn(shape, generator=random).to(dtype)
    betas = Activation(function, shape[axis], axis).betas.detach()
    return x, betas + 0.1 * torch.randn(betas.shape, generator=random), grad


def test_a_copied_network_shares_what_is_compiled():
    function = resolve(SWISH)
    kernel = CompiledKernel(function, "eager")
    run(lambda x, b: kernel(x, b, 1), *draws(function, (4, 6), 1))
    assert copy.deepcopy(kernel) is kernel
    again = pickle.loads(pickle.dumps(kernel))
    assert (again.function, again.backend, again._made) == (function, "eager", {})


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("expression", [SWISH, HARD, "GELU", "PReLU", "x^3"])
def test_it_is_the_function(backend, expression):
    function = resolve(expression)
    x, betas, grad = draws(function, (4, 6, 5, 3), 1)
    kernel = CompiledKernel(function, backend)
    found = run(lambda x, b: kernel(x, b, 1), x, betas, grad)
    assert not kernel.broken
    wanted = run(plain(function, 6, 1), x.double(), betas.double(), grad.double())
    close(found, wanted, 5e-6)


every = [("add", u, "x", "shift", "x") for u in UNARY]
every += [(b, "scale", "x", "tanh", "x") for b in BINARY]


@pytest.mark.parametrize(
    "function", [resolve(f) for f in [*map(Genome, every), *BASELINES]], ids=str
)
def test_every_operator_is_traced(function):
    """The two graphs alone, uncompiled: a second or so for all."""
    kernel = CompiledKernel(function)
    kernel._compile = lambda traced, *examples: traced_graph(traced, examples)
    x, betas, grad = draws(function, (3, 4, 2, 2), 1)
    found = run(lambda x, b: kernel(x, b, 1), x, betas, grad)
    assert not kernel.broken
    wanted = run(plain(function, 4, 1), x, betas, grad)
    for a, b in zip(found, wanted, strict=True):
        if b is not None:
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)


def traced_graph(function, examples):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(function)(*examples)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "shape, axis, last", [((4, 6, 5, 3), 1, True), ((4, 6, 5, 3), 1, False), ((7, 6), -1, False)]
)
def test_layouts_and_formats_are_kept(shape, axis, last, dtype):
    function = resolve(HARD)
    x, betas, grad = draws(function, shape, axis, dtype)
    if last:
        x = x.to(memory_format=torch.channels_last)
    kernel = CompiledKernel(function, "eager")
    found = run(lambda x, b: kernel(x, b, axis), x, betas, grad)
    wanted = run(plain(function, 6, axis), x, betas, grad)
    assert [t.dtype for t in found] == [dtype, dtype, torch.float32]
    assert found[0].stride() == found[1].stride() == x.stride()
    close(found, wanted, 5e-6)


def test_odd_memory_and_gradients_are_copied():
    """A transposed input, and a gradient of stride 0, as a mean has."""
    function = resolve(SWISH)
    kernel = CompiledKernel(function, "eager")
    x = torch.randn(5, 6, 4).transpose(1, 2)
    betas = Activation(function, 4, 1).betas.detach()
    grad = torch.ones(()).expand(5, 4, 6)
    found = run(lambda x, b: kernel(x, b, 1), x, betas, grad)
    close(found, run(plain(function, 4, 1), x, betas, grad), 1e-6)


def test_only_x_and_betas_are_saved():
    function = resolve(HARD)
    kernel = CompiledKernel(function, "eager")
    x, betas, grad = draws(function, (4, 6, 5, 3), 1)
    x, betas = x.requires_grad_(), betas.requires_grad_()
    kernel(x, betas, 1).backward(grad)  # compiled by now
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        kernel(x, betas, 1)
    assert sorted(t.numel() for t in saved) == [betas.numel(), x.numel()]
    assert {t.data_ptr() for t in saved} == {x.data_ptr(), betas.data_ptr()}


def test_it_works_under_autocast():
    function = resolve("exp(sin(x))+x*beta")
    kernel = CompiledKernel(function, "eager")
    linear = torch.nn.Linear(8, 6)
    betas = torch.nn.Parameter(Activation(function, 6, -1).betas.detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = kernel(linear(torch.randn(3, 8)), betas, -1)
        assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert not kernel.broken
    assert betas.grad.dtype == linear.weight.grad.dtype == torch.float32


def test_each_shape_and_format_is_compiled_once_and_scoring_never():
    compiled_graphs = []

    def count(graph, examples):
        compiled_graphs.append(1)
        return graph

    function = resolve(SWISH)
    kernel = CompiledKernel(function, count)
    layer, betas = torch.nn.Linear(5, 6), Activation(function, 6, 1).betas
    for _ in range(2):
        for rows in range(2, 12):  # more than the eight that torch.compile allows one function
            leaf = torch.randn(rows, 6, requires_grad=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
                inputs = [leaf, leaf.detach(), layer(torch.randn(rows, 5)), leaf[:] * 2]
                out = sum(kernel(x, betas, 1).sum() for x in inputs)
            out.backward()
        assert len(compiled_graphs) == 2 * 10
    assert not kernel.broken
    with torch.no_grad():
        kernel(torch.randn(99, 6), betas, 1)
    assert len(compiled_graphs) == 2 * 10


def test_many_functions_are_compiled_in_one_process():
    for power in range(1, 12):
        function = resolve("+".join(["sin(x)"] * power) + "+x")
        kernel = CompiledKernel(function, "eager")
        kernel(torch.randn(3, 2), Activation(function, 2, 1).betas, 1)
        assert not kernel.broken


def test_without_a_compiler_it_runs_plainly_and_says_so_once():
    def absent(graph, examples):
        raise RuntimeError("cannot find a working triton installation\nmore")

    function = resolve(SWISH)
    x, betas, grad = draws(function, (4, 6, 5, 3), 1)
    kernel = CompiledKernel(function, absent)
    with pytest.warns(UserWarning, match=r"plain PyTorch: .*triton installation$"):
        found = run(lambda x, b: kernel(x, b, 1), x, betas, grad)
    assert kernel.broken
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = run(lambda x, b: kernel(x, b, 1), x, betas, grad)
        other = CompiledKernel(function, absent)
        run(lambda x, b: other(x, b, 1), x, betas, grad)
    wanted = run(plain(function, 6, 1), x, betas, grad)
    for a, b, c in zip(found, again, wanted, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(b, c)


def test_memory_that_ends_while_compiling_is_not_a_broken_compiler(monkeypatch):
    def full(self, *_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CompiledKernel, "_compile", full)
    kernel = CompiledKernel(resolve(SWISH), "eager")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        kernel(torch.randn(3, 2), torch.ones(1, 2), 1)
    assert not kernel.broken


def test_layouts():
    x = torch.empty(4, 6, 5, 3)
    assert layout(x, 1) == (4, 6, 15)
    assert layout(x.to(memory_format=torch.channels_last), 1) == (60, 6, 1)
    assert layout(torch.empty(7, 6), -1) == (7, 6, 1)
    assert layout(torch.empty(7, 1, 5, 5), 1) == (175, 1, 1)
    assert strides((4, 6, 15)) == torch.empty(4, 6, 15).stride()
    assert dense(x) is x
    assert dense(x.transpose(0, 1)).is_contiguous()


def test_on_a_gpu_a_rule_decides_and_the_compiler_is_named(monkeypatch):
    long, short = (Workload((128 * 16 * 1024,) * 9, steps) for steps in (20_000, 100))
    function = resolve(HARD)
    monkeypatch.setattr("hybridsearch.kernels.choose.triton", lambda device: "triton3.9.0")
    spec = choose(function, long, "auto", "cuda:0")
    assert spec == "compiled-2-triton3.9.0"
    assert isinstance(make(spec, function), CompiledKernel)
    assert choose(function, short, "auto", "cuda:0") == EAGER
    assert choose(function, short, "compiled", "cuda:0") == spec
    assert gpu_saving(function, long) > gpu_saving(resolve(SWISH), long) > 0
    assert choose(function, long, "eager", "cuda:0") == EAGER
    with pytest.raises(UserError, match="not for cuda:0"):
        choose(function, long, "tape", "cuda:0")
    monkeypatch.setattr("hybridsearch.kernels.choose.triton", identity)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert identity("cuda") == ""
    assert identity("cpu") == "inductor"
    assert choose(function, long, "auto", "cuda:0") == EAGER
    with pytest.raises(UserError, match="needs Triton"):
        choose(function, long, "compiled", "cuda:0")
    make.cache_clear()
    with pytest.raises(RuntimeError, match="not to be had"):
        make(spec, function)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_the_real_compiler_agrees_with_float64(tmp_path):
    """In a process of its own: inductor reads its settings once, and leaves threads behind."""
    code = (
        "import os, torch; torch.set_num_threads(1)\n"
        "from hybridsearch.genome.activation import Activation\n"
        "from hybridsearch.genome.function import resolve\n"
        "from hybridsearch.kernels.compiled import CompiledKernel\n"
        f"f = resolve({HARD!r}); module = Activation(f, 16, 1)\n"
        "x = torch.randn(8, 16, 9, 7).to(memory_format=torch.channels_last)\n"
        "g, kernel = torch.randn(8, 16, 9, 7), CompiledKernel(f)\n"
        "a, b = x.clone().requires_grad_(), module.betas\n"
        "y = kernel(a, b, 1); y.backward(g)\n"
        "got = [y.detach(), a.grad, b.grad.clone()]; b.grad = None\n"
        "module = module.double(); c = x.double().requires_grad_()\n"
        "z = module(c); z.backward(g.double())\n"
        "want = [z.detach(), c.grad, module.betas.grad]\n"
        "bad = [float(((p - q).abs() / q.abs().clamp(min=1)).max()) for p, q in zip(got, want)]\n"
        "assert not kernel.broken and max(bad[:2]) < 5e-6 and bad[2] < 2e-5, bad\n"
        "print(os.environ['TORCHINDUCTOR_CACHE_DIR'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "hybridsearch" / "inductor"
    assert done.stdout.strip() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
