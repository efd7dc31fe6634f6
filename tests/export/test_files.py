"""The files that are written: what is in them, that they stand alone, that nothing gets in."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from hybridsearch.export.files import class_name, jax_file, sympy_file, torch_file
from hybridsearch.export.frameworks import load
from hybridsearch.export.origin import find
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import BASELINES, resolve


@pytest.fixture
def make(wish, tmp_path):
    """A function: the module of a function's file for torch, built, and its file."""

    def build(text, *arguments):
        path = tmp_path / "exported.py"
        path.write_text(torch_file(wish(text)))
        return getattr(load(path), class_name(resolve(text)))(*arguments)

    return build


COMPOSED = "u1 = sinc(x)/(|x|+eps); beta*u1+(1-beta)*softplus(beta*u1)"


@pytest.mark.parametrize("write", [torch_file, jax_file, sympy_file])
def test_files_are_python_in_good_style(
    write, wish, named, every_token, random_functions, tmp_path
):
    for k, function in enumerate([*named, *every_token, *random_functions(20)]):
        (tmp_path / f"f{k}.py").write_text(write(wish(function)))
    looks = [["check", "--select", "E,F,W,I,UP,SIM,RET,C4,PIE"]]
    looks += [["format", "--diff"]] if write is not sympy_file else []  # it has a**2 as in books
    for words in looks:
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length", "100", "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_classes_are_named_after_baselines():
    names = [class_name(resolve(name)) for name in BASELINES]
    assert names == [n.replace("-", "") for n in BASELINES]
    assert class_name(resolve("x*sigmoid(beta*x)")) == "Swish"
    assert class_name(resolve("x*asinh(x)^2")) == "Activation"


def test_the_docstring_says_what_where_from_and_how(run, wish):
    from hybridsearch.export.files import Wish

    about = ast.get_docstring(ast.parse(torch_file(Wish(find(str(run()))))))
    for part in (
        "Swish: an activation function with a trainable beta per channel",
        "f(x) = x*sigmoid(beta*x)",
        r"LaTeX: x\cdot \sigma\left(\beta\,x\right)",
        "The winner of the run 'first'",
        "seed 3",
        "Verdict: not shown",
        "Swish(32, axis=-1)",
        '"weight_decay": 0.0',
        "hybridsearch 0.1.0",
    ):
        assert part in " ".join(about.split()), part
    assert "weight_decay" not in torch_file(wish("ReLU"))
    assert "beta_1 to beta_3" in torch_file(wish(COMPOSED + "+x+beta"))


@pytest.mark.parametrize(
    "name",
    [
        'a"""\n\nimport os\nos.abort()\nr"""',
        "a\\",
        '"',
        "'''",
        "{{ 7 * 7 }}{% raw %}",
        "x\u2028y\u202ez\x1b[2J\ttab",
        "\udc80\udcff",
        "# -*- coding: utf-7 -*-",
        "+AGEAYgBj" * 20,
        "\N{SNOWMAN}{x}%s",
    ],
)
@pytest.mark.parametrize("write", [torch_file, jax_file, sympy_file])
def test_no_name_gets_out_of_the_docstring(run, write, name):
    """Folder, rival and verdict are a forger's; only the docstring may differ from a clean file."""
    from hybridsearch.export.files import Wish

    clean = write(Wish(find("x*sigmoid(beta*x)")))
    changes = {"best_baseline": {"label": name}, "verdict": name}
    text = write(Wish(find(str(run(name.replace("/", "_"), **changes)))))
    ours, theirs = ast.parse(text).body, ast.parse(clean).body
    assert isinstance(ours[0].value, ast.Constant)
    assert [ast.dump(node) for node in ours[1:]] == [ast.dump(node) for node in theirs[1:]]
    assert text.count('"""') == clean.count('"""')
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()


ALONE = """
import sys
sys.path.insert(0, {folder!r})
import torch
from exported import Swish
assert "hybridsearch" not in sys.modules
try:
    import hybridsearch
except ImportError:
    pass
else:
    sys.exit("hybridsearch can be imported")
net = torch.nn.Sequential(torch.nn.Linear(4, 3), Swish(3, axis=-1))
net(torch.randn(5, 4)).square().sum().backward()
assert net[1].betas.shape == (1, 3) and net[1].betas.grad.abs().sum() > 0
"""


def test_the_torch_file_needs_only_torch(wish, tmp_path):
    """In an interpreter that sees torch, but neither hybridsearch nor this folder."""
    (tmp_path / "exported.py").write_text(torch_file(wish("Swish")))
    blocked = f"import sys\nsys.modules['hybridsearch'] = None\n{ALONE}"
    blocked = blocked.replace('assert "hybridsearch" not in sys.modules\n', "")
    code = blocked.format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_the_evaluators(make, dtype):
    x = (torch.linspace(-6, 6, 60).reshape(4, 3, 5)).to(dtype)
    for text in ("Swish", "GELU", "ReLU", "PReLU", "x-sin(x)", COMPOSED):
        ours, theirs = make(text, 3, 1), Activation(text, 3, 1)
        assert torch.equal(ours(x), theirs(x)), text
        assert ours(x).dtype == dtype
        assert torch.equal(ours.to(dtype)(x), theirs.to(dtype)(x)), text


def test_its_state_dict_is_the_evaluators(make):
    theirs = Activation(COMPOSED, 3, 1)
    nn.init.normal_(theirs.betas)
    ours = make(COMPOSED, 3, 1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 4)
    assert torch.equal(ours(x), theirs(x))
    assert list(make("tanh(x)").parameters()) == []


def test_another_number_of_channels_is_refused(make):
    with pytest.raises(ValueError, match=r"axis 1 .* 3 channels, got shape \[2, 4\]"):
        make("Swish", 3)(torch.ones(2, 4))


def test_a_trace_of_it_gives_no_warning(make):
    module, x = make("x*sigmoid(beta*x)", 3), torch.randn(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is on its way out
        traced = torch.jit.trace(module, x)  # a TracerWarning is an error
    assert torch.equal(traced(x), module(x))


def test_a_function_of_betas_alone_has_the_shape_of_x(make):
    ours = make("beta*sigmoid(beta)", 3, 1)
    assert ours(torch.ones(2, 3, 4)).shape == (2, 3, 4)


def test_torch_can_compile_export_and_script_it(make):
    x = torch.randn(4, 3, 5)
    ours = make(COMPOSED, 3, 1)
    wanted = ours(x)
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), wanted)
    sizes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("length")},)
    program = torch.export.export(ours, (x,), dynamic_shapes=sizes).module()
    torch.testing.assert_close(program(x[:3, :, :2]), ours(x[:3, :, :2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is on its way out
        scripted = torch.jit.script(ours)
        torch.testing.assert_close(scripted(x), wanted)
        torch.testing.assert_close(torch.jit.script(make("GELU"))(x), nn.GELU()(x))


def test_compiled_training_steps(make):
    x = torch.randn(4, 3, 5, requires_grad=True)
    ours = make(COMPOSED, 3, 1)
    wanted = torch.autograd.grad(ours(x).square().sum(), (x, ours.betas))
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    found = torch.autograd.grad(compiled(x).square().sum(), (x, ours.betas))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_compiles_it(make, tmp_path):
    """In a process of its own: inductor reads its settings once, and leaves threads behind."""
    make(COMPOSED, 3, 1)  # writes the file
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from exported import Activation\n"
        "act, x = Activation(3), torch.randn(4, 3, 5)\n"
        "y = torch.compile(act, fullgraph=True)(x)\n"
        "torch.testing.assert_close(y, act(x))\n"
        "y.sum().backward(); assert act.betas.grad.isfinite().all()\n"
    )
    folder = str(tmp_path)
    places = {"TORCHINDUCTOR_CACHE_DIR": folder, "PYTHONPATH": folder}
    env = {**os.environ, **places, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
