"""swap on models of our own: which sites, on which axis, with the same values, and what is said."""

from __future__ import annotations

import copy
import io
import pickle
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import hybridsearch
from hybridsearch.errors import UserError
from hybridsearch.evaluate.draws import states
from hybridsearch.genome.activation import Activation, parameter_groups
from hybridsearch.transplant.swap import swap

SWISH = "x*sigmoid(beta*x)"


def value(model, x):
    with torch.no_grad():
        out = model(x)
    return out["hidden"] if isinstance(out, dict) else out


def sites(answer):
    return {site.name: (site.channels, site.axis) for site in answer.replaced}


# The same function in its place gives the same network ----------------------------------------


@pytest.mark.parametrize("function", ["max(x, 0)", "PReLU"])
@pytest.mark.parametrize("betas", ["channel", "scalar"])
def test_the_same_function_gives_the_same_values(build, function, betas):
    model, x = build("bottleneck")
    want = value(model, x)
    answer = swap(model, function, x, betas=betas)
    if function == "PReLU":
        for module in model.modules():
            if isinstance(module, Activation):
                module.betas.data.zero_()
    assert torch.equal(value(model, x), want)
    assert len(answer.replaced) == (3 if (function, betas) == ("PReLU", "channel") else 1)
    assert not answer.could_not


def test_functional_calls_give_the_same_values(build):
    model, x = build("functional")
    want = value(model, x)
    answer = swap(model, "max(x, 0)", x, skip="inner.*")
    assert torch.equal(value(model, x), want)
    assert [s.name for s in answer.replaced] == ["act", "functional.0"]
    assert {s.was: s.note for s in answer.kept} == {
        "gelu()": "skipped",
        "sigmoid()": "not asked for",
    }


def test_quick_gelu_is_swish_of_1702(build):
    model, x = build("attention")
    want = value(model, x)
    answer = swap(model, SWISH, {"tokens": x, "scale": 1.0})
    assert sites(answer) == {"act_fn": (24, -1)}
    model.act_fn.betas.data.fill_(1.702)
    torch.testing.assert_close(value(model, x), want)


def test_every_site_is_really_replaced(build):
    """A function that shows: with x -> 0*x, only what follows the activations is left."""
    model, x = build("functional")
    swap(model, "min(x, 0)-min(x, 0)", x)
    torch.testing.assert_close(value(model, x), model.last.bias.detach().sigmoid().expand(2, -1))


# Sites ----------------------------------------------------------------------------------------


def test_one_instance_per_call_site_at_its_width(build):
    model, x = build("bottleneck")
    answer = swap(model, SWISH, x)
    assert sites(answer) == {"relu.0": (4, 1), "relu.1": (4, 1), "relu.2": (16, 1)}
    assert [s.after for s in answer.replaced] == ["bn1", "bn2", "bn3"]
    betas = [name for name in model.state_dict() if "betas" in name]
    assert betas == ["relu.0.betas", "relu.1.betas", "relu.2.betas"]
    a, b, c = model.relu
    a.betas.data.fill_(2.0), b.betas.data.fill_(3.0), c.betas.data.fill_(4.0)
    y = model.bn1(model.conv1(x))
    y = model.bn2(model.conv2(y * torch.sigmoid(2 * y)))
    y = model.bn3(model.conv3(y * torch.sigmoid(3 * y))) + x
    torch.testing.assert_close(model(x), y * torch.sigmoid(4 * y))


def test_functional_sites_in_every_spelling(build):
    model, x = build("functional")
    answer = swap(model, SWISH, x)
    assert sites(answer) == {
        "act": (5, -1),
        "functional.0": (6, 1),
        "functional.1": (5, -1),
        "functional.2": (5, -1),
        "inner.functional.0": (5, -1),
    }
    assert {s.was for s in answer.replaced} == {"ReLU", "relu()", "gelu()"}
    value(model, x).sum()
    model(x).sum().backward()
    grads = [m.betas.grad for m in model.modules() if isinstance(m, Activation)]
    assert len(grads) == 5 and all(g is not None and g.abs().sum() > 0 for g in grads)


def test_a_shared_module_in_several_places():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 4), act, nn.Sequential(nn.Linear(4, 5), act))
    assert sites(swap(model, SWISH, torch.randn(2, 3))) == {"1": (4, -1), "2.1": (5, -1)}


def test_a_loop_over_layers_has_a_site_for_each():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 5)])
            self.act = nn.SiLU()

        def forward(self, x):
            for layer in self.layers:
                x = self.act(layer(x))
                x = F.elu(x)
            return x

    answer = swap(Loop(), SWISH, torch.randn(2, 3))
    assert sites(answer) == {
        "act.0": (4, -1),
        "act.1": (5, -1),
        "functional.0": (4, -1),
        "functional.1": (5, -1),
    }


class Recurrent(nn.Module):
    """Steps over time; `narrow` lets the last call be of another width."""

    def __init__(self, narrow=False):
        super().__init__()
        self.cell = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2) if narrow else nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x):
        state = x[:, 0]
        for step in x.unbind(1):
            state = self.act(self.cell(state) + step)
        return self.act(self.out(state)) if self.out.out_features == 2 else self.out(state)


def test_the_steps_of_a_recurrent_network_are_one_site():
    model = Recurrent()
    assert sites(swap(model, SWISH, torch.randn(2, 3, 4))) == {"act": (4, -1)}
    assert model(torch.randn(2, 9, 4)).shape == (2, 4)


def test_what_cannot_be_told_apart_is_refused_or_gets_a_scalar():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Recurrent(narrow=True))
    model[0].forward, x = lambda x: x, torch.randn(2, 3, 4)
    answer = swap(model, SWISH, x)
    (refused,) = answer.could_not
    assert refused.name == "2.act" and refused.note == (
        "its calls cannot be told apart; betas='scalar' would replace it"
    )
    assert isinstance(model[2].act, nn.ReLU)
    answer = swap(model, SWISH, x, betas="scalar")
    assert sites(answer) == {"1": (None, None), "2.act": (None, None)}
    assert model[2].act.betas.shape == (1, 1)
    assert model(torch.randn(2, 9, 4)).shape == (2, 2)


def test_another_number_of_calls_than_on_the_example_is_an_error():
    class Depth(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.act = nn.ReLU()

        def forward(self, x, depth):
            for layer in self.layers[:depth]:
                x = self.act(layer(x))
            return x

    model, x = Depth(), torch.randn(2, 4)
    swap(model, SWISH, (x, 2))
    model(x, 2)
    with pytest.raises(RuntimeError, match=r"expected 2 calls .* got 1; swap with betas='scalar'"):
        model(x, 1)
    with pytest.raises(RuntimeError, match=r"expected 2 calls .* got 3"):
        model(x, 3)
    model(x, 2)


def test_in_place_with_an_input_read_again_is_refused():
    class PreAct(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.linear(x)
            self.act(y)
            F.elu_(x := y + 1)
            return x

    model = nn.Sequential(PreAct(), nn.ReLU())
    answer = swap(model, "x*sigmoid(x)", torch.randn(2, 4))
    assert sites(answer) == {"1": (None, None)}
    assert [s.name for s in answer.could_not] == ["0.act", "0.functional"]
    assert {"works in place, and its input is read again afterwards"} == {
        site.note for site in answer.could_not
    }


class InPlace(nn.Module):
    """An activation in place on the first of the parts of a layer's output; `rest` goes on with
    that output, the parts and the result.
    """

    def __init__(self, call, parts, rest):
        super().__init__()
        self.linear, self.act = nn.Linear(4, 8), nn.ReLU(inplace=True)
        self.call, self.parts, self.rest = call, parts, rest

    def forward(self, x):
        h = self.linear(x)
        parts = self.parts(h)
        return self.rest(h, parts, self.call(self, parts[0]))


CALLS = pytest.mark.parametrize(
    "call",
    [
        lambda model, part: part.relu_(),
        lambda model, part: F.relu(part, inplace=True),
        lambda model, part: model.act(part),
        lambda model, part: model.act(input=part),
    ],
    ids=["method", "function", "module", "by name"],
)
# Of three axes, a dense layer's output is a view itself, of a tensor that nobody holds.
SHAPES = pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)], ids=str)


@CALLS
@SHAPES
@pytest.mark.parametrize(
    ("parts", "rest"),
    [
        (lambda h: [h[..., :4]], lambda h, parts, out: h),
        (lambda h: h.chunk(2, -1), lambda h, parts, out: h + 1),
        (lambda h: [h.view(-1)], lambda h, parts, out: h.sum(-1) + out[0]),
        (lambda h: [h], lambda h, parts, out: h.view(-1)),
        (lambda h: [h[..., :4], h[..., 2:]], lambda h, parts, out: parts[1]),
        (lambda h: h.chunk(2, -1), lambda h, parts, out: parts[0]),
    ],
    ids=["slice", "chunk", "view", "itself", "overlap", "old name"],
)
def test_in_place_on_a_view_with_its_base_read_again_is_refused(call, shape, parts, rest):
    model, x = nn.Sequential(InPlace(call, parts, rest), nn.ReLU()).eval(), torch.randn(shape)
    want = value(model, x)
    answer = swap(model, "max(x, 0)", x)
    assert [site.note for site in answer.could_not] == [
        "works in place, and its input is read again afterwards"
    ]
    assert torch.equal(value(model, x), want)


@CALLS
@SHAPES
@pytest.mark.parametrize(
    ("parts", "rest"),
    [
        (lambda h: [h], lambda h, parts, out: out + 1),
        (lambda h: [h.view(-1, 4)], lambda h, parts, out: out.view(-1)),
        (lambda h: h.chunk(2, -1), lambda h, parts, out: out * parts[1].sigmoid()),
        (lambda h: [h.transpose(0, 1)[:2]], lambda h, parts, out: out.add_(1).flatten()),
    ],
    ids=["itself", "view", "gate", "transposed"],
)
def test_in_place_on_a_view_is_replaced_where_only_the_result_is_read(call, shape, parts, rest):
    model, x = nn.Sequential(InPlace(call, parts, rest), nn.ReLU()).eval(), torch.randn(shape)
    want = value(model, x)
    answer = swap(model, "max(x, 0)", x)
    assert not answer.could_not and torch.equal(value(model, x), want)
    assert any(site.shape is not None and site.name[0] == "0" for site in answer.replaced)


class ByName(nn.Module):
    """Calls its activations with the input by a name, which is not always torch's."""

    class Quick(nn.Module):
        def forward(self, hidden):
            return hidden * torch.sigmoid(1.702 * hidden)

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 6)
        self.relu, self.quick = nn.ReLU(inplace=True), self.Quick()

    def forward(self, x):
        x = self.relu(input=self.two(self.relu(input=self.one(x))))
        return self.quick(hidden=self.three(x))


@pytest.mark.parametrize("betas", ["channel", "scalar"])
def test_an_input_by_name_is_taken_by_whatever_name(betas):
    model, x = ByName().eval(), torch.randn(2, 3)
    want = value(model, x)
    for replace in (["relu"], ["activation"]):  # what was swapped is called by that name again
        answer = swap(model, "max(x, 0)", x, betas=betas, replace=replace)
        assert sites(answer) == {"relu": (None, None)} and torch.equal(value(model, x), want)
    model = ByName().eval()
    answer = swap(model, SWISH, x, betas=betas, replace=["relu", ByName.Quick])
    assert not answer.could_not
    if betas == "channel":
        assert sites(answer) == {"relu.0": (4, -1), "relu.1": (5, -1), "quick": (6, -1)}
    model(x).sum().backward()
    grads = [m.betas.grad for m in model.modules() if isinstance(m, Activation)]
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


def test_hooks_on_a_replaced_module_go_on_until_their_handles_remove_them():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3)
    plain, called, act = value(model, x), [], model[1]
    handles = [
        act.register_forward_hook(lambda module, args, out: 2 * out),
        act.register_forward_pre_hook(lambda *_: called.append("pre"), with_kwargs=True),
        act.register_full_backward_hook(lambda *_: called.append("backward")),
        act.register_full_backward_pre_hook(lambda *_: called.append("backward pre")),
    ]
    want = value(model, x)
    for function in ("max(x, 0)", "x-min(x, 0)"):  # swapped twice
        swap(model, function, x)
        called.clear()
        out = model(x)
        out.sum().backward()
        torch.testing.assert_close(out.detach(), want)
        assert called == ["pre", "backward pre", "backward"]
    copied = copy.deepcopy(model)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(value(model, x), plain)
    torch.testing.assert_close(value(copied, x), want)


def test_hooks_on_a_module_of_several_sites_see_every_call(build):
    model, x = build("bottleneck")
    called = []
    model.relu.register_forward_hook(lambda *_: called.append(1))
    swap(model, SWISH, x, skip="relu.1")
    called.clear()
    model(x)
    assert len(called) == 3


def test_a_module_called_past_its_place_is_refused():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()
            self.call = [self.act]

        def forward(self, x):
            return self.call[0](x)

    answer = swap(nn.Sequential(Hidden(), nn.ReLU()), SWISH, torch.randn(2, 4))
    assert [s.name for s in answer.could_not] == ["0.act"]
    assert "another reference" in answer.could_not[0].note


@pytest.mark.parametrize("act", [nn.ReLU(), F.gelu, "relu"])
def test_the_fused_call_of_torchs_encoder_layer_does_not_pass_it_by(act):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=act, batch_first=True)
    model, x = layer.eval(), torch.randn(2, 5, 8)
    answer = swap(model, "min(x, 0)-min(x, 0)", x)
    (site,) = answer.replaced
    assert site.name == ("activation" if isinstance(act, nn.Module) else "functional.0")
    model.linear1.weight.data.mul_(100)  # what the activation lets through would show
    with torch.no_grad():
        fast = model(x)
    torch.testing.assert_close(fast, model.train()(x))
    assert model.state_dict().keys() - layer.state_dict().keys() == set()


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("act", [nn.ReLU(), "gelu"])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_torchs_encoder_takes_a_padding_mask_in_evaluation(act, shown):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=act, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 5, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    masked = {"src": x, "src_key_padding_mask": padding}
    answer = swap(model, SWISH, masked if shown else x)
    assert len(answer.replaced) == 2 and not answer.could_not
    with torch.no_grad():
        out = model(**masked)
    torch.testing.assert_close(out[~padding], model.train()(**masked)[~padding])


def test_a_swap_that_fails_leaves_torchs_encoder_as_it_was():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    with pytest.raises(UserError, match="which fits none"):
        swap(model, SWISH, torch.randn(2, 5, 8), skip="nothing")
    assert model.use_nested_tensor and model.layers[0].activation_relu_or_gelu == 1


# What the caller chooses ----------------------------------------------------------------------


def test_gates_only_when_named(build):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Sigmoid())
    x = torch.randn(2, 3)
    answer = swap(copy.deepcopy(model), SWISH, x)
    assert sites(answer) == {"3": (4, -1)}
    assert [(s.name, s.was, s.note) for s in answer.kept] == [
        ("1", "Tanh", "not asked for"),
        ("4", "Sigmoid", "not asked for"),
    ]
    answer = swap(copy.deepcopy(model), SWISH, x, replace=["tanh", nn.Sigmoid])
    assert sites(answer).keys() == {"1", "4"}
    functional, x = build("functional")
    assert sites(swap(functional, SWISH, x, replace="sigmoid")) == {"functional.0": (2, -1)}


def test_skip_keeps_single_sites(build):
    model, x = build("bottleneck")
    want = model.relu
    answer = swap(model, SWISH, x, skip=["*.1"])
    assert sites(answer).keys() == {"relu.0", "relu.2"}
    assert [(s.name, s.note) for s in answer.kept] == [("relu.1", "skipped")]
    assert model.relu[1] is want
    model(x)
    model, x = build("functional")
    answer = swap(model, SWISH, x, skip=["functional.?", "inner.functional.0"])
    assert sites(answer).keys() == {"act"} and not hasattr(model, "functional")
    assert {s.name for s in answer.kept} == {"(model)", "functional", "inner.functional"}
    swap(model, "x*sigmoid(x)", x, betas="scalar")
    answer = swap(model, SWISH, x, skip="act")
    assert [s.name for s in answer.kept] == ["act", "(model)"]


def test_the_axis_is_followed_or_stated():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 1)
            self.acts = nn.ModuleDict({"one": nn.ReLU(), "two": nn.ReLU(), "three": nn.ReLU()})

        def forward(self, x):
            y = self.acts["one"](self.conv(x).permute(0, 2, 3, 1))
            a, b = y.transpose(1, 3).chunk(2, 1)
            return self.acts["three"](
                self.acts["two"](a) * b.cumsum(0).flatten(1)[:, :1, None, None]
            )

    x = torch.randn(2, 3, 4, 6)
    assert sites(swap(Last(), SWISH, x)) == {
        "acts.one": (6, -1),
        "acts.two": (3, 1),
        "acts.three": (3, 1),
    }
    assert sites(swap(Last(), SWISH, x, axis=2, skip="*.t*")) == {"acts.one": (6, 2)}
    with pytest.raises(UserError, match="expected an axis that every input has, got axis=4"):
        swap(Last(), SWISH, x, axis=4)
    answer = swap(nn.Sequential(nn.ReLU()), SWISH, torch.randn(2, 5, 4, 4))
    assert sites(answer) == {"0": (5, 1)} and answer.replaced[0].note == "axis by rule"


def test_copy_leaves_the_model_alone(build):
    model, x = build("functional")
    before, names = value(model, x), list(model.state_dict())
    answer = swap(model, SWISH, x, copy=True)
    assert answer.model is not model and list(model.state_dict()) == names
    assert torch.equal(value(model, x), before)
    assert not torch.equal(value(answer.model, x), before)
    model, x = build("functional")
    assert swap(model, SWISH, x).model is model


def test_swapped_again(build):
    for name in ("bottleneck", "functional"):
        model, x = build(name)
        first = swap(model, SWISH, x)
        second = swap(model, "GELU", x)
        assert {s.name for s in second.replaced} == {s.name for s in first.replaced}
        assert {s.was for s in second.replaced} == {first.function.name}
        twice = value(model, x)
        model, x = build(name)
        swap(model, "GELU", x)
        torch.testing.assert_close(value(model, x), twice)


def test_dtype_device_and_mode_are_the_owners():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double().train()
    swap(model, SWISH, torch.randn(2, 3, dtype=torch.float64))
    assert model[1].betas.dtype == torch.float64 and model[1].training and model.training


def test_a_model_without_data_has_axes_all_the_same(build):
    with torch.device("meta"):
        model, x = build("functional")
    answer = swap(model, SWISH, x)
    assert sites(answer)["functional.2"] == (5, -1)
    assert model.functional[2].betas.device.type == "meta"


def test_a_function_without_betas_needs_no_widths():
    class Aux(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.aux = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.aux(x) if self.training else self.act(x)

    x = torch.randn(2, 4)
    answer = swap(Aux(), "x*sigmoid(x)", x)
    assert [(s.name, s.shape) for s in answer.replaced] == [("act", (2, 4)), ("aux", None)]
    assert all(not m.betas.requires_grad for m in answer.model.children())
    assert "not called" in str(answer)
    (aux,) = swap(Aux(), SWISH, x).could_not
    assert "not called with these inputs" in aux.note


# State, optimiser, copies ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bottleneck", "functional", "attention"])
def test_copies_and_state_dicts(build, name):
    model, x = build(name)
    weights = copy.deepcopy(model.state_dict())
    swap(model, SWISH, x)
    for module in model.modules():
        if isinstance(module, Activation):
            torch.nn.init.uniform_(module.betas)
    want = value(model, x)
    assert torch.equal(value(copy.deepcopy(model), x), want)
    assert torch.equal(value(pickle.loads(pickle.dumps(model)), x), want)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other, _ = build(name)
    swap(other, SWISH, x)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(value(other, x), want)
    missing = other.load_state_dict(weights, strict=False)
    assert missing.unexpected_keys == [] and all(k.endswith("betas") for k in missing.missing_keys)


def test_weight_decay_spares_betas_biases_and_norms(build):
    model, x = build("bottleneck")
    swap(model, SWISH, x)
    model.conv3.weight.requires_grad_(False)
    decayed, spared = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    names = {id(p): n for n, p in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["conv1.weight", "conv2.weight"]
    assert {names[id(p)] for p in spared["params"]} == {
        n for n, p in model.named_parameters() if p.dim() == 1 or "betas" in n
    }
    torch.optim.SGD(hybridsearch.parameter_groups(model, 0.1), lr=0.1)


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"replace": "rleu"},
            "of this model, got 'rleu'; did you mean 'relu'",
        ),
        ({"replace": ["relu", "gelu"]}, "expected an activation of this model, got 'gelu'"),
        ({"replace": nn.Tanh}, "expected activations to replace in Bottleneck, got none"),
        ({"skip": "*"}, "got none; relu: skipped"),
        ({"skip": ["*.2", "layer*"]}, "got 'layer.', which fits none; sites are relu.0, relu.1, r"),
        ({"betas": "each"}, "expected betas='channel' or betas='scalar', got 'each'"),
    ],
)
def test_errors_are_one_line_and_leave_the_model(build, options, match):
    model, x = build("bottleneck")
    with pytest.raises(UserError, match=match) as caught:
        swap(model, SWISH, x, **options)
    assert "\n" not in str(caught.value)
    assert isinstance(model.relu, nn.ReLU) and not model._forward_hooks


def test_a_model_that_does_not_run(build):
    model, x = build("bottleneck")
    with pytest.raises(UserError, match="expected example_inputs that the model runs on"):
        swap(model, SWISH, x[:, :3])
    assert isinstance(model.relu, nn.ReLU) and not model._forward_pre_hooks
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    inner[0].compile(backend="eager")
    for one in (
        torch.compile(model, backend="eager"),
        nn.Sequential(torch.compile(model, backend="eager")),
        inner,
    ):
        with pytest.raises(UserError, match="got a compiled or scripted one"):
            swap(one, SWISH, x)
    with pytest.raises(UserError, match=r"expected an nn.Module, got function"):
        swap(F.relu, SWISH, x)


def test_a_model_that_is_wrapped_for_several_processes_is_refused(tmp_path, monkeypatch):
    class Sharded(nn.Sequential):
        """Stands for FSDP's, which shards what it is given."""

    fsdp = SimpleNamespace(FullyShardedDataParallel=Sharded)
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", fsdp)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        wrapped = DistributedDataParallel(model)
        for one, got in (
            (wrapped, "DistributedDataParallel, which"),
            (nn.Sequential(wrapped, nn.ReLU()), r"DistributedDataParallel \(0\), which"),
            (nn.Sequential(Sharded(model)), r"Sharded \(0\), which"),
        ):
            with pytest.raises(UserError, match=f"got {got} .*; swap first, then wrap") as caught:
                swap(one, SWISH, x)
            assert "\n" not in str(caught.value) and isinstance(model[1], nn.ReLU)
    finally:
        distributed.destroy_process_group()


def test_the_trace_leaves_no_mark(build):
    model, x = build("functional")
    model.train()
    state, seed = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    swap(model, SWISH, x)
    assert torch.equal(torch.get_rng_state(), seed) and model.training and model.inner.training
    for name, tensor in state.items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_the_generators_stand_where_they_stood():
    class Noisy(nn.Module):
        def forward(self, x):
            return F.relu(x) + torch.rand(()) + float(np.random.rand()) + random.random()

    before = states()
    swap(Noisy(), SWISH, torch.ones(2, 3))
    assert states() == before


def test_the_report_reads(build):
    model, x = build("bottleneck")
    text = str(swap(model, SWISH, x))
    assert "x*sigmoid(beta*x) in Bottleneck: 3 replaced, 0 kept, 0 could not be replaced" in text
    assert "16 on axis 1" in text and "bn3" in text and "2x16x5x5" in text
