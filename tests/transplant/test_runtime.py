"""Swapped models while they run: compiled, recomputed, interrupted, in threads."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode
from torch.utils.checkpoint import checkpoint

from hybridsearch.transplant.runtime import _HELD, OUTSIDE, Redirect
from hybridsearch.transplant.swap import swap

SWISH = "x*sigmoid(beta*x)"


def gradients(model, x):
    model.zero_grad()
    out = model(x)
    out.square().sum().backward()
    return out.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def agree(first, second):
    torch.testing.assert_close(first[0], second[0])
    assert first[1].keys() == second[1].keys()
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name])


# What Dynamo does itself when a graph breaks; it hides that from all but pytest.
HIDDEN = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@HIDDEN
@pytest.mark.parametrize("name", ["bottleneck", "functional"])
def test_compiled_equals_eager(build, name):
    model, x = build(name)
    swap(model, SWISH, x)
    want = gradients(model, x)
    # Module calls compile into one graph, once; calls of functions break it, which takes its time.
    whole = name == "bottleneck"
    compiled = torch.compile(model, backend="eager", fullgraph=whole)
    for _ in range(1 + whole):
        model.zero_grad()
        out = compiled(x)
        out.square().sum().backward()
        agree((out.detach(), {n: p.grad for n, p in model.named_parameters()}), want)
    torch._dynamo.reset()


@HIDDEN
def test_a_full_graph_of_functional_calls_is_an_error_not_a_wrong_result(build):
    model, x = build("functional")
    swap(model, SWISH, x)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(model, backend="eager", fullgraph=True)(x)
    torch._dynamo.reset()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_an_owner_recomputes_its_sites(build, reentrant):
    model, x = build("bottleneck")
    swap(model, SWISH, x)
    for act in model.relu:
        nn.init.uniform_(act.betas)
    x.requires_grad_()
    want = gradients(model, x)

    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = model

        def forward(self, x):
            return checkpoint(self.block, x, use_reentrant=reentrant)

    out, found = gradients(Recomputed(), x)
    agree((out, {n.removeprefix("block."): g for n, g in found.items()}), want)


def test_checkpointing_a_part_of_an_owner_is_refused():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.act = nn.ReLU()

        def forward(self, x):
            x = self.act(self.one(x))
            return checkpoint(lambda x: self.act(self.two(x)), x, use_reentrant=False)

    model, x = Partly(), torch.randn(2, 4)
    swap(model, SWISH, x)
    with pytest.raises(RuntimeError, match="outside the forward that it belongs to"):
        model(x).sum().backward()
    model, x = Partly(), torch.randn(2, 4)
    swap(model, SWISH, x, betas="scalar")
    model(x).sum().backward()
    assert model.act.betas.grad.abs().sum() > 0


class Stopped(nn.Module):
    """Raises in its child's forward when told to."""

    class Child(nn.Module):
        error = None

        def forward(self, x):
            if self.error:
                raise self.error
            return F.relu(x)

    def __init__(self):
        super().__init__()
        self.one, self.two, self.child = nn.Linear(4, 4), nn.Linear(4, 4), self.Child()
        self.act = nn.ReLU()

    def forward(self, x):
        x = F.relu(self.act(self.one(x)))
        return self.act(F.relu(self.child(self.two(x))))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["child", "model"])
def test_a_stopped_forward_leaves_nothing_behind(error, where):
    model, x = Stopped(), torch.randn(2, 4)
    swap(model, SWISH, x)
    for act in [*model.act, *model.functional]:
        nn.init.uniform_(act.betas)
    want = model(x)

    def stop(module, args):
        raise error

    compiled = torch.compile(lambda x: F.relu(x), backend="eager")
    if where == "child":
        model.child.error = error
    hook = model.two.register_forward_pre_hook(stop) if where == "model" else None
    for _ in range(2):
        with pytest.raises(error):
            model(x)
        # What others call is theirs, whatever was left behind.
        for relu in (F.relu, compiled):
            assert torch.equal(relu(-x.abs()), torch.zeros_like(x))
    model.child.error = None
    if hook:
        hook.remove()
    assert torch.equal(model(x), want)
    assert not isinstance(_get_current_function_mode(), Redirect)
    assert model.act.calls == model.functional.calls == OUTSIDE
    torch._dynamo.reset()


def test_a_model_can_be_copied_and_saved_after_an_interrupt():
    model, x = Stopped(), torch.randn(2, 4)
    swap(model, SWISH, x)
    want = model(x)
    model.child.error = KeyboardInterrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            model(x)
    (held,) = model.child.__dict__[_HELD].values()
    assert len(held) == 1 and model.act.calls != OUTSIDE
    model.child.error = None
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.act.calls == other.functional.calls == OUTSIDE
        assert torch.equal(other(x), want)
    assert torch.equal(model(x), want)
    assert not model.child.__dict__[_HELD]


def test_threads_get_a_right_result_or_an_error(build):
    for name, betas in (("functional", "scalar"), ("bottleneck", "channel")):
        model, x = build(name)
        swap(model, SWISH, x, betas=betas)
        want = model(x).detach()
        meet, found = threading.Barrier(2), []

        def wait(module, args, meet=meet):
            meet.wait(timeout=10)

        def work(model=model, x=x, found=found, meet=meet):
            try:
                found.append(model(x).detach())
            except RuntimeError as error:
                found.append(str(error))
                meet.abort()

        # Both threads are within the forward, after the first of its hooks.
        first = model.conv if name == "functional" else model.conv1
        first.register_forward_pre_hook(wait)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if name == "functional":
            assert all(torch.equal(one, want) for one in found)
        else:
            assert any("a second of another thread" in one for one in found if isinstance(one, str))


def replica(module):
    """What DataParallel makes of a module for another device."""
    made = module._replicate_for_data_parallel()
    made._parameters = dict(module._parameters)
    made._modules = {name: replica(child) for name, child in module._modules.items()}
    return made


@pytest.mark.parametrize("name", ["bottleneck", "functional"])
def test_replicas_run_side_by_side(build, name):
    model, x = build(name)
    swap(model, SWISH, x)
    want, found, meet = model(x).detach(), [], threading.Barrier(2)

    def wait(module, args):
        meet.wait(timeout=10)

    def work(one):
        found.append(one(x).detach())

    model._modules["conv" if name == "functional" else "conv2"].register_forward_pre_hook(wait)
    threads = [threading.Thread(target=work, args=(replica(model),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and all(torch.equal(one, want) for one in found)


def test_called_without_its_hooks_is_an_error(build):
    model, x = build("bottleneck")
    swap(model, SWISH, x)
    with pytest.raises(RuntimeError, match="outside the forward that it belongs to"):
        model.forward(x)
