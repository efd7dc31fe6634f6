"""The fast kernels against float64 and against plain PyTorch, for every operator and layout."""

from __future__ import annotations

import copy
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from parts.accuracy import (
    OPERATORS,
    error_of,
    largest,
    random_functions,
    results,
)

from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.kernels import build
from hybridsearch.kernels.choose import _probe, compiler_identity
from hybridsearch.kernels.native import NativeKernel
from hybridsearch.kernels.program import Builder, has_programs, programs
from hybridsearch.kernels.source import cpp
from hybridsearch.kernels.tape import CHUNK, OPERATIONS, TapeKernel

COMPOSITE = "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)"
needs_compiler = pytest.mark.skipif(not compiler_identity(), reason="no C++ compiler here")
KERNELS = [TapeKernel, pytest.param(NativeKernel, marks=needs_compiler)]


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("spec", OPERATORS)
def test_operators_agree_with_float64(make, spec):
    function = resolve(spec)
    assert error_of(function, make(function), (64, 5, 7, 3)) <= 1


@pytest.mark.parametrize("make", KERNELS)
def test_random_genomes_agree_with_float64(make):
    """A sample: each of the native ones takes a compilation; `evaluator.py` tries a thousand."""
    for function in random_functions(25 if make is NativeKernel else 100, 1):
        assert error_of(function, make(function), (512, 4)) <= 1, function.spec


def test_an_error_would_be_seen():
    """The comparison itself: what is a little off, what is not finite, a slope that is wrong."""
    exact = torch.tensor([[1.0, 1000.0], [0.0, -3.0]], dtype=torch.float64)
    every = torch.ones_like(exact, dtype=torch.bool)
    off = torch.tensor([[0.0, 4e-3], [0.0, 1e-6]])
    assert largest(exact + off, exact, every) == pytest.approx(4e-6)
    assert largest(exact + off, exact, exact < 900) == pytest.approx(1e-6 / 3)
    assert largest(exact * torch.nan, exact, every) == torch.inf
    assert largest(exact * torch.nan, exact, ~every) == 0

    class Wrong:
        formats = (torch.float32,)

        def __init__(self, slope: float) -> None:
            self.slope = slope

        def __call__(self, x, betas, axis):
            wrong = x * torch.sigmoid(betas[0] * x)
            return wrong + (self.slope - 1) * (wrong - wrong.detach())

    function = resolve("x*sigmoid(beta*x)")
    assert error_of(function, Wrong(1.0), (64, 5)) <= 1
    assert error_of(function, Wrong(1.0001), (64, 5)) > 1


LAYOUTS = {
    "dense layer": ((33, 20), -1, torch.contiguous_format),
    "channels last": ((9, 20, 6, 5), 1, torch.channels_last),
    "channels first": ((9, 20, 6, 5), 1, torch.contiguous_format),
    "one channel": ((9, 1, 6, 5), 1, torch.channels_last),
    "more than a chunk": ((3, 16, 40, 40), 1, torch.channels_last),
    "more than a chunk, channels first": ((3, 16, 40, 40), 1, torch.contiguous_format),
    "odd channels": ((70, 7, 9, 9), 1, torch.channels_last),
    "sequence": ((4, 6, 10), 1, torch.contiguous_format),
}


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("half", [False, True])
def test_layouts_and_formats_agree_with_plain_pytorch(make, layout, half):
    shape, axis, memory = LAYOUTS[layout]
    function = resolve(COMPOSITE)
    rng = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if half else torch.float32
    x, g = torch.randn(shape, generator=rng).to(dtype), torch.randn(shape, generator=rng).to(dtype)
    if len(shape) == 4:
        x = x.contiguous(memory_format=memory)
    betas = 1 + 0.3 * torch.randn(1, shape[axis], generator=rng)
    got = results(function, make(function), x, betas, g, axis)
    want = results(function, None, x, betas, g, axis)
    assert got[0].stride() == x.stride()
    assert got[0].dtype == got[1].dtype == dtype
    assert got[2].dtype == torch.float32
    for a, b in zip(got, want, strict=True):
        tolerance = 8e-3 if a.dtype == torch.bfloat16 else 3e-5
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    assert max(shape[0] * shape[1] * 1600, CHUNK) > CHUNK or "chunk" not in layout


@pytest.mark.parametrize("make", KERNELS)
def test_strided_inputs_and_gradients(make):
    function = resolve("x*sigmoid(beta*x)")
    kernel, betas = make(function), torch.full((1, 6), 0.7)
    x = torch.randn(8, 12, 5, 5)[:, ::2]
    g = torch.randn(8, 6, 1, 1).expand(8, 6, 5, 5)  # as an average pool hands it back
    for a, b in zip(
        results(function, kernel, x, betas, g), results(function, None, x, betas, g), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize(
    ("spec", "x", "slope"),
    [
        ("max id x cos x", 0.73908513, None),
        ("ReLU", 0.0, 0.0),
        ("max abs x abs x", 0.0, 0.0),
        ("min id x neg x", 0.0, 0.0),  # a tie: (1 - 1) / 2
        ("max id x scale x", 2.0, 1.0),  # a tie everywhere
        ("max min0 x min0 x", 0.0, 0.0),
    ],
)
def test_slopes_at_kinks_are_torchs(make, spec, x, slope):
    function = resolve(spec)
    point = torch.tensor([[x]])
    betas, one = torch.ones(len(function.starts), 1), torch.ones(1, 1)
    got = results(function, make(function), point, betas, one)
    want = results(function, None, point, betas, one)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)
    if slope is not None:
        assert float(got[1]) == slope


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("inner", ["max relu x relu x", "max min0 x min0 x", "add relu x min0 x"])
@pytest.mark.parametrize("g", [1.0, torch.inf, -torch.inf])
def test_infinite_gradients_stop_where_torchs_do(make, inner, g):
    """The slope of sqrt at 0 is infinite, that of max(x, 0) left of 0 is 0."""
    function = resolve(f"{inner} | max sqrt u1 sqrt u1")
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    betas, slope = torch.ones(0, 1), torch.full((3, 1), g)
    got = results(function, make(function), x, betas, slope)
    want = results(function, None, x, betas, slope)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)
    assert bool(want[1][1] == 0)


def test_the_tape_shares_gradients_exactly():
    least = 1e-45  # half of it is nothing
    a, b, g, wanted = np.array(
        [
            (1, 2, np.inf, 0),
            (2, 1, np.inf, np.inf),
            (1, 1, -np.inf, -np.inf),
            (2, 1, least, least),
            (2, 1, 3e38, 3e38),
            (1, 1, 0.7, 0.35),
            (1, 2, -0.7, 0),
            (np.nan, 1, 0.7, 0),
            (2, 1, np.nan, np.nan),
        ],
        np.float32,
    ).T.copy()
    out = np.empty_like(g)
    OPERATIONS["ifmore"](a, b, g, out=out)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("make", KERNELS)
def test_nan_and_infinity_are_not_hidden(make):
    for spec in ("x*sigmoid(beta*x)", "max(x, tanh(x))", "sinc(x)+x", "asinh(x)*x", "ReLU"):
        function = resolve(spec)
        x = torch.tensor([[float("nan")], [float("inf")], [float("-inf")], [1.0]])
        betas = torch.ones(len(function.starts), 1)
        got = results(function, make(function), x, betas, torch.ones(4, 1))[0]
        want = results(function, None, x, betas, torch.ones(4, 1))[0]
        torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", KERNELS)
def test_only_the_input_is_saved(make):
    """One input-sized tensor and the betas."""
    function = resolve(COMPOSITE)
    act = Activation(function, 8, 1)
    act.kernel = make(function)
    x = torch.randn(4, 8, 6, 6).requires_grad_()
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        act(x * 1)
    sizes = sorted(t.numel() for t in saved)
    assert sizes == [8, x.numel()]


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copied_kernels_compute_the_same(make, again):
    """A network may copy itself, as for a moving average of its weights, before a step or after."""
    function = resolve(COMPOSITE)
    first, second = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    betas, g = torch.full((1, 8), 0.7), torch.ones(40, 8)
    kernel = make(function)
    results(function, kernel, first, betas, g)
    got = results(function, again(kernel), second, betas, g)
    want = results(function, kernel, second, betas, g)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_a_program_has_every_subexpression_once():
    forward, backward = programs(resolve("x*sigmoid(x)"))
    assert [i.op for i in forward.instructions] == ["x", "sigmoid", "mul"]
    assert len(set(backward.instructions)) == len(backward.instructions)
    assert sum(i.op == "sigmoid" for i in backward.instructions) == 1


def test_equal_instructions_add_their_gradients_once():
    """x*x and x^2 are one instruction; its gradient must not be handed on twice."""
    function = resolve(Genome.from_text("mul id x id x | add square x id u1"))  # 2 x^2
    x = torch.tensor([[3.0]])
    got = results(function, TapeKernel(function), x, torch.ones(0, 1), torch.ones(1, 1))
    assert [float(v) for v in got] == [18.0, 12.0]


def test_builder_keeps_only_what_is_needed():
    b = Builder()
    x = b.put("x")
    b.put("exp", x)
    assert b.program([b.put("sin", x)], 0).operations == 1


def test_functions_without_programs_are_single_calls():
    assert [n for n in ("LReLU", "PReLU", "ELU", "GELU") if has_programs(resolve(n))] == ["PReLU"]


def test_the_source_differs_between_functions():
    assert cpp(resolve("x*sin(x)")) != cpp(resolve("x*cos(x)"))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.folder.cache_clear()
    build.compiler.cache_clear()
    yield tmp_path
    build.folder.cache_clear()
    build.compiler.cache_clear()


ANSWER = 'extern "C" int answer() { return 42; }\n'


@needs_compiler
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is loaded")
def test_a_library_is_unloaded_with_the_last_that_needs_it(own_cache):
    """A process may have 65,530 maps, and every library takes five."""

    def loaded():
        return str(own_cache) in Path("/proc/self/maps").read_text()

    function = resolve("x*sigmoid(beta*x)")
    kernel, twin = NativeKernel(function), NativeKernel(function)
    del twin
    x = torch.randn(6, 4, requires_grad=True)
    out = kernel(x, torch.ones(1, 4), 1).sum()
    del kernel
    assert loaded()
    out.backward()
    assert x.grad.abs().sum() > 0
    del out
    assert not loaded()


@needs_compiler
def test_only_the_kernels_that_were_used_of_late_are_kept(own_cache, monkeypatch):
    monkeypatch.setattr(build, "MOST", 2)
    monkeypatch.setattr(build, "OFTEN", 1)
    left, work = (build.folder() / f".build-{name}" for name in ("left", "work"))
    for path in (left, work):
        path.mkdir()
        (path / "kernel.cpp").write_text(ANSWER)
    os.utime(left, (0, 0))

    def there():
        return set(build.folder().glob("*.so"))

    def use(number):
        before = there()
        assert build.load(ANSWER.replace("42", str(number))).answer() == number
        return there() - before

    (first,), (second,) = use(1), use(2)
    os.utime(first, (10, 10))
    os.utime(second, (20, 20))
    assert not use(1)  # it is there
    (third,) = use(3)
    assert there() == {first, third}
    assert use(2) == {second}  # compiled again
    assert work.exists() and not left.exists()


@needs_compiler
def test_where_kernels_cannot_be_kept_they_are_compiled_all_the_same(tmp_path, monkeypatch):
    """As on a full disk, of which this file stands in place."""
    full, room = tmp_path / "full", tmp_path / "room"
    full.write_text("")
    room.mkdir()
    monkeypatch.setattr(build, "folder", lambda: full)
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    assert build.load(ANSWER).answer() == 42
    assert not list(room.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    with pytest.raises(build.NoCompiler, match="cannot be kept or loaded: ") as caught:
        build.load(ANSWER)
    assert "\n" not in str(caught.value)
    assert _probe.__wrapped__()[0] == ""


def test_processes_without_a_cache_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = build.private_folder("x")
    assert shared == build.private_folder("x") == tmp_path / f"hybridsearch-{os.geteuid()}-x"
    shared.chmod(0o777)  # as if it were somebody else's
    code = "from hybridsearch.kernels import build\nprint(build.private_folder('x'))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    made = Path(ran.stdout.strip())
    assert made.parent == tmp_path and made != shared, ran.stderr
    assert list(tmp_path.iterdir()) == [shared]  # its own went with the process


@needs_compiler
def test_compiled_kernels_lie_in_a_private_folder_and_are_used_again(own_cache, monkeypatch):
    assert build.load(ANSWER).answer() == 42
    folder = own_cache / "hybridsearch" / "kernels"
    assert folder.stat().st_mode & 0o777 == 0o700
    (library,) = folder.glob("*.so")
    assert not library.stat().st_mode & 0o077
    monkeypatch.setattr(build, "_compile", None)  # calling it would fail
    assert build.load(ANSWER).answer() == 42


@needs_compiler
def test_a_library_that_others_may_write_is_not_loaded(own_cache):
    build.load(ANSWER)
    (library,) = (own_cache / "hybridsearch" / "kernels").glob("*.so")
    library.unlink()  # it may be loaded still: its bytes must stay
    library.write_bytes(b"not a library")
    library.chmod(0o666)
    assert build.load(ANSWER).answer() == 42  # compiled again
    assert not library.stat().st_mode & 0o077


def test_a_folder_of_somebody_else_is_not_used(own_cache, monkeypatch):
    monkeypatch.setattr(build, "private", lambda path: False)
    assert own_cache not in build.folder().parents


@pytest.mark.parametrize("value", ["none", "false"])
def test_no_compiler_is_said_in_one_line(own_cache, monkeypatch, value):
    """`none` does not exist, `false` fails."""
    monkeypatch.setenv("CXX", value)
    with pytest.raises(build.NoCompiler, match=r"no C\+\+ compiler found"):
        build.compiler()


@needs_compiler
def test_a_text_that_does_not_compile_is_said_in_one_line(own_cache):
    with pytest.raises(build.NoCompiler, match=r"failed: .*error") as caught:
        build.load("this is no C++\n")
    assert "\n" not in str(caught.value)


# Each of these was computed one number at a time before build.GCC_FLAGS.
STUBBORN = (
    "exp(-beta*abs(sinh(x)-tanh(max(sigmoid(x),sinh(x)))))",
    "max sin x sigmoid x",
    "max gauss x relu x",
    "min exp x gauss x | sub sigmoid u1 cos x",
    COMPOSITE,
)


@pytest.mark.parametrize("spec", STUBBORN)
def test_every_loop_becomes_vector_instructions(spec):
    try:
        path, about = build.compiler()
    except build.NoCompiler as error:
        pytest.skip(str(error))
    if "clang" in about.lower() or platform.machine() != "x86_64":
        pytest.skip("the compiler's report is GCC's")
    flags = [word for word in about.split() if word.startswith("-") and word != "-w"]
    report = subprocess.run(
        [path, *flags, "-fopt-info-vec-optimized", "-x", "c++", "-", "-o", os.devnull],
        input=cpp(resolve(spec)),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    lines = {line.split(":")[1] for line in report.splitlines() if "loop vectorized" in line}
    assert len(lines) >= 4, report  # forward and backward, channels last and not


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("shape", [(9, 20), (4, 6, 10), (3, 8, 5, 5)])
def test_one_set_of_betas_for_all_channels_agrees_with_plain_pytorch(make, shape):
    function = resolve(COMPOSITE)
    act = Activation(function, None, 1)
    torch.nn.init.constant_(act.betas, 1.3)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def run(kernel):
        act.kernel = kernel
        out = act(x)
        return out, *torch.autograd.grad(out.square().sum(), (x, act.betas))

    for got, want in zip(run(make(function)), run(None), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("betas", [torch.float64, torch.float16, torch.bfloat16, torch.float32])
def test_any_format_of_input_and_betas_agrees_with_plain_pytorch(make, shared, dtype, betas):
    function = resolve(COMPOSITE)
    act = Activation(function, None if shared else 20, -1).to(betas)
    torch.nn.init.constant_(act.betas, 1.3)
    x = torch.randn(9, 20, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()

    def run(kernel):
        act.kernel = kernel
        out = act(x)
        return out, *torch.autograd.grad(out.sum(), (x, act.betas))

    for got, want in zip(run(make(function)), run(None), strict=True):
        assert got.dtype == want.dtype
        tolerance = 1e-2 if torch.bfloat16 in (got.dtype, dtype, betas) else 3e-3
        tolerance = 1e-12 if dtype == betas == torch.float64 else tolerance
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
