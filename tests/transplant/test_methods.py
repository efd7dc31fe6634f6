"""Methods of swapped models that others call too: encode, decode, forward_features, forward."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from hybridsearch.errors import UserError
from hybridsearch.transplant.runtime import OUTSIDE
from hybridsearch.transplant.swap import swap

SWISH = "x*sigmoid(beta*x)"
AGAIN = pytest.mark.parametrize("reentrant", [True, False])


class VAE(nn.Module):
    """As in PyTorch's examples; encode and decode call ReLU as a function."""

    error = None

    def __init__(self):
        super().__init__()
        self.first, self.latent = nn.Linear(6, 5), nn.Linear(5, 2)
        self.back, self.last = nn.Linear(2, 4), nn.Linear(4, 6)

    def encode(self, x):
        return self.latent(F.relu(self.first(x)))

    def decode(self, z):
        hidden = F.relu(self.back(z))
        if self.error:
            raise self.error
        return self.last(hidden)

    def forward(self, x):
        return self.decode(self.encode(x))

    def sample(self, z):
        return self.decode(z)


def gradients(model, x):
    """The output and the gradients of the parameters, all in one dict."""
    model.zero_grad()
    out = model(x)
    out.square().sum().backward()
    return {"out": out.detach()} | {name: p.grad.clone() for name, p in model.named_parameters()}


def replica(module):
    """What DataParallel makes of a module for another device."""
    made = module._replicate_for_data_parallel()
    made._parameters = dict(module._parameters)
    made._modules = {name: replica(child) for name, child in module._modules.items()}
    return made


@pytest.fixture
def vae():
    """A swapped model, every site with betas of its own, and its input."""

    def made(**options):
        torch.manual_seed(0)
        model, x = VAE(), torch.randn(3, 6)
        swap(model, SWISH, x, **options)
        for site in model.functional:
            nn.init.uniform_(site.betas)
        return model, x

    return made


@pytest.mark.parametrize("betas", ["channel", "scalar"])
def test_methods_called_by_themselves_use_the_sites_of_the_forward(vae, betas):
    model, x = vae(betas=betas)
    want = model(x)
    for _ in range(2):
        assert torch.equal(model.decode(model.encode(x)), want)
        assert torch.equal(model.sample(model.encode(x)), want)
        assert torch.equal(model.forward(x), want)
        assert torch.equal(model(x), want)
    first, last = model.functional[0], model.functional[-1]
    hidden = model.first(x)
    assert torch.equal(model.encode(x), model.latent(first(hidden)))
    assert torch.equal(model.decode(want[:, :2]), model.last(last(model.back(want[:, :2]))))
    assert not _get_current_function_mode_stack()
    assert model.functional.calls == OUTSIDE
    model.decode(x[:, :2]).sum().backward()
    assert last.betas.grad.abs().sum() > 0


def test_copies_pickles_and_replicas_use_their_own_sites(vae):
    model, x = vae()
    want = model.decode(model.encode(x)).detach()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), replica(model)]
    model.functional[1].betas.data.zero_()
    copies[2].functional[1]._parameters["betas"] = nn.Parameter(copies[0].functional[1].betas.data)
    for other in copies:
        assert torch.equal(other.decode(other.encode(x)), want) and torch.equal(other(x), want)
    assert not torch.equal(model.decode(model.encode(x)), want)


def test_the_class_looks_as_it_was_written(vae):
    model, _ = vae()
    assert isinstance(model, VAE) and repr(model).startswith("VAE(")
    made = type(model)
    assert (made.__name__, made.__qualname__, made.__module__) == ("VAE", "VAE", VAE.__module__)
    assert inspect.signature(model.decode) == inspect.signature(VAE().decode)
    assert inspect.signature(model.forward) == inspect.signature(VAE().forward)


class Wrapped(nn.Module):
    """A submodule under a name that a class may have, too, and one method under two names."""

    def __init__(self):
        super().__init__()
        self.base, self.head = nn.Linear(6, 4), nn.Linear(4, 2)

    def decode(self, x):
        return self.head(F.relu(self.base(x)))

    generate = decode

    def forward(self, x):
        return self.decode(x)


def test_a_submodule_of_any_name_is_found():
    model, x = Wrapped(), torch.randn(3, 6)
    base = model.base
    answer = swap(model, SWISH, x)
    assert [site.name for site in answer.replaced] == ["functional.0"] and not answer.could_not
    assert model.base is base and type(model) is not Wrapped
    other = pickle.loads(pickle.dumps(model))
    assert torch.equal(other.decode(x), model(x)) and "base.weight" in other.state_dict()


def test_a_method_of_two_names_uses_the_sites_by_both():
    model, x = Wrapped(), torch.randn(3, 6)
    swap(model, SWISH, x)
    want = model(x)
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.generate(x), want) and torch.equal(other.decode(x), want)

    class Written(Wrapped):
        def generate(self, x):
            return -x

    model = Written()
    swap(model, SWISH, x)
    assert torch.equal(model.generate(x), -x)


def test_registries_of_subclasses_do_not_hear_of_it():
    known = []

    class Registered(VAE):
        def __init_subclass__(cls):
            known.append(cls)

    model, x = Registered(), torch.randn(3, 6)
    swap(model, SWISH, x)
    assert torch.equal(model.decode(model.encode(x)), model(x)) and not known


def test_a_swap_that_fails_takes_the_class_back():
    model, x = VAE(), torch.randn(3, 6)
    with pytest.raises(UserError, match="which fits none"):
        swap(model, SWISH, x, skip="nothing")
    assert type(model) is VAE and not [name for name in vars(model) if "hybridsearch" in name]
    swap(model, SWISH, x)
    assert type(model) is not VAE
    swap(model, "GELU", x)
    assert torch.equal(model.decode(model.encode(x)), model(x))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_stopped_method_leaves_nothing_behind(vae, error):
    model, x = vae()
    want = model(x)
    for call in (lambda: model.decode(x[:, :2]), lambda: model(x)):
        model.error = error
        with pytest.raises(error):
            call()
        model.error = None
        assert torch.equal(F.relu(-x.abs()), torch.zeros_like(x))
        assert torch.equal(model.decode(model.encode(x)), want)
    assert torch.equal(model(x), want)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's own
def test_compiled_methods_equal_eager_ones(vae):
    model, x = vae()
    want = model(x)
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), want)
    decode = torch.compile(model.decode, backend="eager")
    torch.testing.assert_close(decode(model.encode(x)), want)
    torch._dynamo.reset()


def test_exported_is_what_it_was(vae):
    model, x = vae()
    exported = torch.export.export(model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


# Where it cannot be told ----------------------------------------------------------------------


def test_a_method_that_forward_calls_twice_with_betas_of_their_own_is_refused_alone():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 5)

        def step(self, x, layer):
            return F.relu(layer(x))

        def forward(self, x):
            x = self.step(x, self.one)
            return self.step(x, self.two)

    model, x = Twice(), torch.randn(2, 4)
    swap(model, SWISH, x)
    assert torch.equal(model.forward(x), model(x))
    with pytest.raises(RuntimeError, match=r"step\(\) was called outside .* betas='scalar'"):
        model.step(x, model.one)
    model = Twice()
    swap(model, SWISH, x, betas="scalar")
    assert torch.equal(model.step(model.step(x, model.one), model.two), model(x))


def test_a_method_that_calls_another_number_alone_is_an_error():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def features(self, x, depth=3):
            for layer in self.layers[:depth]:
                x = F.relu(layer(x))
            return x

        def forward(self, x):
            return self.features(x)

    model, x = Deep(), torch.randn(2, 4)
    swap(model, SWISH, x)
    with pytest.raises(RuntimeError, match=r"expected 3 calls .* in features\(\), .* got 2"):
        model.features(x, 2)
    assert torch.equal(model.features(x), model(x))


def test_a_method_of_a_module_below_its_owner_is_refused_alone():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.vae = VAE()

        def forward(self, x):
            return self.vae.decode(self.vae.encode(x))

    model, x = Outer(), torch.randn(2, 6)
    swap(model, SWISH, x)
    assert torch.equal(model.forward(x), model(x))
    for other in (model, copy.deepcopy(model)):
        with pytest.raises(RuntimeError, match=r"encode\(\) was called outside .* call that"):
            other.vae.encode(x)
        other(x)


class Lent(nn.Module):
    """Its own forward and those of others call its helper."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)

    def helper(self, x):
        return F.relu(self.one(x))

    def forward(self, x):
        return self.helper(x)


class Borrower(nn.Module):
    """Calls the helper itself, too, and recomputes it in training."""

    def __init__(self):
        super().__init__()
        self.block, self.last = Lent(), nn.Linear(4, 4)

    def forward(self, x):
        y = self.last(self.block(x))
        if self.training:
            return checkpoint(self.block.helper, y, use_reentrant=True)
        return self.block.helper(y)


class Pair(nn.Module):
    """Its own forward calls the helper, and that of a head that does not hold it."""

    class Head(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.last, self.borrowed = nn.Linear(4, 4), [block]

        def forward(self, x):
            return self.borrowed[0].helper(self.last(x))

    def __init__(self):
        super().__init__()
        self.block = Lent()
        self.head = self.Head(self.block)

    def forward(self, x):
        return self.head(self.block.helper(x))


@pytest.mark.parametrize("betas", ["channel", "scalar"])
@pytest.mark.parametrize(("kind", "owner"), [(Borrower, "block"), (Pair, "")])
def test_what_another_forward_calls_through_a_shared_method_is_kept(kind, owner, betas):
    torch.manual_seed(0)
    model, x = kind(), torch.randn(3, 4)
    path = f"{owner}.functional" if owner else "functional"
    left = "functional*" if owner else "head.*"
    answer = swap(model, SWISH, x, skip=left, betas=betas)
    assert [site.name for site in answer.replaced] == [f"{path}.0"]
    assert [site.note for site in answer.kept] == ["skipped"]
    act, one = model.get_submodule(path)[0], model.block.one
    last = model.last if owner else model.head.last
    want = F.relu(one(last(act(one(x)))))
    for other in (model, copy.deepcopy(model), replica(model)):
        assert torch.equal(other(x), want)
        # It may be either's: as a recomputation it would be the kept one's.
        with pytest.raises(RuntimeError, match=r"helper\(\) was called outside the forward"):
            other.block.helper(x)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), want)


def test_a_kept_call_is_never_recomputed_by_the_new_function():
    model, x = Borrower(), torch.randn(3, 4)
    swap(model, SWISH, x, skip="functional")
    out = model.train()(x)
    with pytest.raises(RuntimeError, match=r"helper\(\) was called outside the forward"):
        out.sum().backward()


def test_a_refused_owner_is_left_alone_and_all_is_taken_back():
    class Refused(Borrower):
        def forward(self, x):
            return super().forward(x) + F.relu(x, inplace=True) + x

    model, x = Refused(), torch.randn(3, 4)
    answer = swap(model, SWISH, x.clone())
    assert [site.name for site in answer.replaced] == ["block.functional.0"]
    assert "in place" in answer.could_not[0].note
    y = model.last(model.block(x))
    want = F.relu(model.block.one(y)) + F.relu(x) + F.relu(x)
    assert torch.equal(model(x.clone()), want)
    model = Refused()
    with pytest.raises(UserError, match="which fits none"):
        swap(model, SWISH, x.clone(), skip="nothing")
    assert type(model.block) is Lent and "_hybridsearch_shared" not in vars(model)


def test_a_generator_is_refused_alone():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

        def each(self, x):
            for layer in self.layers:
                x = F.relu(layer(x))
                yield x

        def forward(self, x):
            return list(self.each(x))[-1]

    model, x = Layers(), torch.randn(2, 4)
    swap(model, SWISH, x)
    assert torch.equal(model.forward(x), model(x))
    with pytest.raises(RuntimeError, match=r"each\(\) was called outside"):
        model.each(x)


# Checkpoints within a forward -----------------------------------------------------------------


class Recomputed(nn.Module):
    """Recomputes one layer: in a closure, or in a method."""

    def __init__(self, how, reentrant, always=False):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.how, self.reentrant, self.always = how, reentrant, always

    def layer(self, x):
        return F.elu(self.two(x))

    def forward(self, x):
        x = F.relu(self.one(x))
        run = self.layer if self.how == "method" else lambda x: F.elu(self.two(x))
        if self.always or self.training:
            return checkpoint(run, x, use_reentrant=self.reentrant)
        return run(x)


@AGAIN
@pytest.mark.parametrize("betas", ["channel", "scalar"])
def test_a_checkpoint_of_a_method_is_recomputed_with_its_sites(reentrant, betas):
    torch.manual_seed(0)
    model, x = Recomputed("method", reentrant), torch.randn(2, 4, requires_grad=True)
    swap(model, SWISH, x, betas=betas)
    for site in model.functional:
        nn.init.uniform_(site.betas)
    want = gradients(model.eval(), x)
    torch.testing.assert_close(gradients(model.train(), x), want)
    assert model.functional.calls == OUTSIDE


@AGAIN
@pytest.mark.parametrize("betas", ["channel", "scalar"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # in evaluation
def test_a_checkpoint_of_a_closure_is_refused(reentrant, betas):
    model, x = Recomputed("closure", reentrant), torch.randn(2, 4, requires_grad=True)
    swap(model, SWISH, x, betas=betas)
    model.eval()(x)
    with pytest.raises(RuntimeError, match=r"a replaced call of elu\(\) was made within a check"):
        model.train()(x)
    model = Recomputed("closure", reentrant, always=True)
    with pytest.raises(UserError, match="functional: called in a checkpoint within its forward"):
        swap(model, SWISH, x, betas=betas)
    assert type(model) is Recomputed and not hasattr(model, "functional")
