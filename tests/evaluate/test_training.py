from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hybridsearch.config import Config, NetworkConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.initialise import second_moment
from hybridsearch.evaluate.networks import NETWORKS, build_network, built_in, check_network
from hybridsearch.evaluate.training import (
    Diverged,
    Trainer,
    load_child,
    save_child,
)
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import BASELINES, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY


@pytest.fixture
def trainer(tiny):
    return make_trainer(tiny())


def make_trainer(config: Config, device: str = "cpu") -> Trainer:
    return Trainer(config, load_search_data(config.data), torch.device(device))


def weights(child):
    return {k: v.clone() for k, v in child.network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_training_learns(tiny):
    trainer = make_trainer(tiny(network={"width": 8}, data={"train": 384, "validation": 700}))
    child = trainer.new_child(resolve("ReLU"), 1)
    before = trainer.score(child, trainer.validation)
    trainer.train(child, 60)
    loss, accuracy, correct = trainer.score(child, trainer.validation)
    assert before[0] > 1.5
    assert loss < 0.4
    assert accuracy > 0.88
    assert accuracy == pytest.approx(correct.mean())
    assert len(correct) == 700


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn", "resnet8"])
@pytest.mark.parametrize("function", ["x*sigmoid(beta*x)", "PReLU", "tanh(x)"])
@pytest.mark.parametrize("stop", [7, 10])
def test_a_promoted_child_equals_one_trained_straight_through(
    tiny, tmp_path, network, function, stop
):
    """Weights, BatchNorm statistics, optimiser, data order and curve, bit for bit."""
    trainer = make_trainer(tiny(network={"name": network}, data={"augment": "crop_flip"}))
    straight = trainer.new_child(resolve(function), 5)
    trainer.train(straight, 23)

    first = trainer.new_child(resolve(function), 5)
    trainer.train(first, stop)
    trainer.score(first, trainer.validation)  # scoring between rungs must leave no trace
    save_child(first, tmp_path / "c.safetensors")
    second = trainer.new_child(resolve(function), 5)
    assert load_child(second, tmp_path / "c.safetensors", at_most=23)
    assert second.step == stop
    trainer.train(second, 23)

    assert same(weights(straight), weights(second))
    assert straight.curve == second.curve
    for a, b in zip(straight.parameters(), second.parameters(), strict=True):
        assert torch.equal(
            straight.optimizer.state[a]["momentum_buffer"],
            second.optimizer.state[b]["momentum_buffer"],
        )
    assert (
        trainer.score(straight, trainer.validation)[0]
        == trainer.score(second, trainer.validation)[0]
    )


def test_a_promoted_child_of_adamw_equals_one_trained_straight_through(tiny, tmp_path):
    settings = {"optimizer": "adamw", "lr": 0.01}
    trainer = make_trainer(tiny(network={"name": "digits_mlp"}, training=settings))
    straight, first = (trainer.new_child(resolve("Swish"), 5) for _ in range(2))
    trainer.train(straight, 12)
    trainer.train(first, 5)
    save_child(first, tmp_path / "c.safetensors")
    second = trainer.new_child(resolve("Swish"), 5)
    assert load_child(second, tmp_path / "c.safetensors", at_most=12)
    trainer.train(second, 12)
    assert same(weights(straight), weights(second))
    for a, b in zip(straight.parameters(), second.parameters(), strict=True):
        states = straight.optimizer.state[a], second.optimizer.state[b]
        assert same(*states)
        assert int(states[1]["step"]) == 12
    # Decay spares betas, biases and norms.
    spared = straight.optimizer.param_groups[1]
    assert spared["weight_decay"] == 0.0
    betas = {id(m.betas) for m in straight.network.modules() if isinstance(m, Activation)}
    assert betas <= {id(p) for p in spared["params"]}


SKIPPING = """
from torch import nn

class Skipping(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.first, self.block, self.last = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        self.act, self.steps = act, 0

    def forward(self, x):
        x, self.steps = self.act(self.first(x.flatten(1))), self.steps + self.training
        return self.last(x if self.training and self.steps < 3 else x + self.block(x))

def build(make_activation):
    return Skipping(make_activation(8, -1))
"""


def test_a_layer_that_is_skipped_at_first_trains_later(own_module, tiny):
    """As of dropped layers and experts; PyTorch's fused SGD wants all its buffers at once."""
    own_module("skipping", SKIPPING)
    trainer = make_trainer(tiny(network={"name": "skipping:build"}))
    child = trainer.new_child(resolve("ReLU"), 1)
    before = weights(child)
    trainer.train(child, 2)
    assert torch.equal(before["block.weight"], weights(child)["block.weight"])
    trainer.train(child, 6)
    assert not torch.equal(before["block.weight"], weights(child)["block.weight"])


def test_unusable_checkpoints_are_ignored(trainer, tmp_path):
    path = tmp_path / "c.safetensors"
    child = trainer.new_child(resolve("ReLU"), 5)
    assert not load_child(child, path, 10)
    path.write_bytes(b"nonsense")
    assert not load_child(child, path, 10)
    trainer.train(child, 6)
    save_child(child, path)
    other = trainer.new_child(resolve("ReLU"), 5)
    fresh = weights(other)
    assert not load_child(other, path, at_most=5)  # it is further than asked
    assert not load_child(trainer.new_child(resolve("ReLU"), 6), path, 10)  # another seed
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    assert not load_child(other, path, 10)
    for place in range(len(data) // 2, len(data), len(data) // 50):  # among the tensors
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert not load_child(other, path, 10)
    path.write_bytes(data)
    assert same(weights(other), fresh)


def test_seeds_decide_weights_and_data_order(trainer):
    def course(seed):
        child = trainer.new_child(resolve("ReLU"), seed)
        trainer.train(child, 5)
        return weights(child)

    assert same(course(1), course(1))
    assert not same(course(1), course(2))


def test_all_functions_start_from_the_same_draws(trainer):
    """A paired comparison: only the scale of the weights differs, by the function's gain."""
    relu = trainer.new_child(resolve("ReLU"), 3).network
    tanh = trainer.new_child(resolve("tanh(x)"), 3).network
    ratio = math.sqrt(second_moment(resolve("tanh(x)")) / second_moment(resolve("ReLU")))
    linear = [m for m in relu if isinstance(m, torch.nn.Linear)]
    other = [m for m in tanh if isinstance(m, torch.nn.Linear)]
    assert torch.equal(linear[0].weight, other[0].weight)
    assert torch.allclose(linear[1].weight, other[1].weight * ratio)


def test_second_moment_of_relu_is_one_half():
    assert second_moment(resolve("ReLU")) == pytest.approx(0.5, abs=1e-6)
    assert second_moment(resolve("x")) == pytest.approx(1, abs=1e-6)
    assert second_moment(resolve("sqrt(x)")) == 1.0  # undefined: left alone


def test_a_published_schedule_drops_at_shares_of_the_steps(tiny):
    """Huang et al. 2017: divided by 10 at half and three quarters of the training."""
    config = tiny(training={"steps": 200, "lr": 0.1, "warmup": 4, "drops": [0.5, 0.75]})
    rate = make_trainer(config).learning_rate
    assert [rate(s) for s in (0, 3, 99)] == pytest.approx([0.025, 0.1, 0.1])
    assert [rate(s) for s in (100, 149, 150, 199)] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_the_scale_of_he_is_the_same_for_every_function(tiny):
    def spread(function, init):
        network = make_trainer(tiny(network={"init": init})).network(resolve(function), 0)
        return float(network[-1].weight.detach().std())

    assert spread("tanh(x)", "he") == spread("ReLU", "he") == spread("ReLU", "scaled")
    assert spread("tanh(x)", "scaled") > 1.05 * spread("tanh(x)", "he")


def test_learning_rate_has_no_horizon(tiny):
    short, long = (
        make_trainer(tiny(training={"steps": 5})),
        make_trainer(tiny(training={"steps": 500})),
    )
    rates = [long.learning_rate(s) for s in range(500)]
    assert rates == [short.learning_rate(s) for s in range(500)]
    top = rates.index(max(rates))
    assert top == long.training.warmup - 1
    hold = long.training.hold
    assert rates[hold - 1] == max(rates)
    assert rates[4 * hold - 1] == pytest.approx(max(rates) / 2)


def test_weight_decay_spares_betas_biases_and_norms(trainer):
    child = trainer.new_child(resolve("Swish"), 1)
    decayed, spared = (group["params"] for group in child.optimizer.param_groups)
    names = {id(p): name for name, p in child.network.named_parameters()}
    assert all(p.dim() > 1 and "betas" not in names[id(p)] for p in decayed)
    assert sum("betas" in names[id(p)] for p in spared) == 2
    assert len(decayed) + len(spared) == len(names)
    assert child.optimizer.param_groups[1]["weight_decay"] == 0


def test_betas_are_trained_per_channel(trainer):
    child = trainer.new_child(resolve("x*sigmoid(beta*x)"), 1)
    trainer.train(child, 5)
    betas = next(m for m in child.network.modules() if isinstance(m, Activation)).betas
    assert betas.shape == (1, 32)
    assert len(set(betas.flatten().tolist())) > 1


def test_divergence_is_noticed_within_a_few_steps(tiny):
    trainer = make_trainer(tiny(training={"lr": 1e6, "warmup": 0}))
    child = trainer.new_child(resolve("x^3"), 1)
    with pytest.raises(Diverged, match="step"):
        trainer.train(child, 500)
    assert child.step <= 5


def test_batches_cover_an_epoch_and_crops_keep_their_content(tiny):
    trainer = make_trainer(tiny(data={"augment": "crop_flip"}, training={"batch_size": 20}))
    plain = make_trainer(tiny(training={"batch_size": 20}))
    labels = torch.cat([trainer.batch(1, s)[1] for s in range(10)])
    assert sorted(labels.tolist()) == sorted(trainer.train_split.labels.tolist())
    images, same_labels = trainer.batch(1, 2)
    original, also = plain.batch(1, 2)
    assert torch.equal(same_labels, also)
    assert images.shape == original.shape
    draw = np.random.default_rng([1, 2, 1]).integers(0, [9, 9, 2], size=(20, 3))
    for k, (top, left, mirror) in enumerate(draw):
        padded = torch.nn.functional.pad(original[k], (4, 4, 4, 4))
        window = padded[:, top : top + 8, left : left + 8]
        assert torch.equal(images[k], window.flip(2) if mirror else window)


@pytest.mark.parametrize(
    ("name", "published", "exact"),
    [
        ("resnet20", 0.27e6, 269_722),  # He et al. 2016, table 6
        ("preresnet164", 1.7e6, 1_703_258),  # Zagoruyko and Komodakis 2016, table 5
        ("wrn28-10", 36.5e6, 36_479_194),  # the same
        ("densenet100-12", 7.0e6, 6_979_642),  # Huang et al. 2017, table 2
    ],
)
def test_parameter_counts_are_the_published_ones(name, published, exact):
    act = lambda channels, axis: Activation("ReLU", channels, axis)  # noqa: E731
    with torch.device("meta"):
        network = NETWORKS[name](act, (3, 32, 32), 10, 16)
    count = sum(p.numel() for p in network.parameters())
    assert count == exact and count == pytest.approx(published, rel=0.005)


def test_every_convolution_of_a_deep_network_reads_an_activation():
    """ResNet-164 and DenseNet-100 count the dense layer as well, WRN-28 its three shortcuts."""
    for name, layers in (("preresnet164", 163), ("wrn28-10", 25), ("densenet100-12", 99)):
        made = []

        def act(channels, axis, made=made):
            made.append(channels)
            return torch.nn.ReLU()

        with torch.device("meta"):
            network = built_in(name)(act, (3, 32, 32), 10, 16)
        convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())
        shortcuts = sum("shortcut" in key for key in network.state_dict())
        assert convolutions - shortcuts == layers
        assert len(made) == layers  # the first reads images, and the dense layer an activation


@pytest.mark.parametrize("name", ["resnet21", "preresnet164x", "wrn27-10", "densenet12-12"])
def test_a_depth_that_a_family_lacks_is_one_line(name):
    with pytest.raises(UserError, match=r"expected a depth of \dn\+\d, got|unknown network"):
        check_network(NetworkConfig(name=name))


SHALLOW = ("preresnet11", "wrn10-2", "densenet10-4")
DEEP = {"preresnet164", "wrn28-10", "densenet100-12"}


@pytest.mark.parametrize("name", sorted({*NETWORKS, *SHALLOW} - DEEP))
def test_every_network_takes_any_function_and_states_its_axes(name, tiny):
    shape = {"cnn28": (1, 28, 28)}.get(name, (1, 8, 8) if "digits" in name else (3, 32, 32))
    config = tiny(network={"name": name, "width": 3}).network
    made = []

    def act(channels, axis):
        made.append(axis)
        return Activation(
            "beta*x1 + (1-beta)*x2".replace("x1", "sin(x)").replace("x2", "x"), channels, axis
        )

    network = build_network(config, act, shape, 7, seed=0, second_moment=1.0)
    out = network(torch.randn(4, *shape))
    assert out.shape == (4, 7)
    out.sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.numel())
    assert set(made) == ({-1} if name == "digits_mlp" else {1})


def test_activations_create_no_tensor_on_the_wrong_device():
    """Fake tensors on cuda:0 refuse to meet tensors of another device, without a GPU. Autograd and
    BatchNorm of fake CUDA tensors abort a CPU build of torch 2.13, so this is the forward pass of
    our own code; the whole step runs on `meta` below.
    """
    tokens = [("add", u, "x", "shift", "x") for u in UNARY] + [
        (b, "scale", "x", "id", "x") for b in BINARY
    ]
    with FakeTensorMode(), torch.no_grad():
        x = torch.empty(2, 3, 4, 4, device="cuda:0")
        for expression in [*map(Genome, tokens), *BASELINES]:
            module = Activation(expression, 3, 1)
            module.betas = torch.nn.Parameter(module.betas.detach().to("cuda:0"))
            assert module(x).device.type == module(x.half()).device.type == "cuda"
            if module.betas.numel():
                with pytest.raises(RuntimeError, match="device"):  # the check itself can fail
                    module(torch.empty(2, 3, 4, 4))


@pytest.mark.parametrize("function", ["x*sigmoid(beta*x)", "PReLU", "sinc(x)+x", "ELU"])
def test_a_whole_training_step_stays_on_its_device(tiny, function):
    """On `meta`: backward of a fake CUDA tensor and its indexing need a real CUDA build."""
    config = tiny(network={"name": "resnet8"}, data={"augment": "crop_flip"})
    trainer = Trainer(config, load_search_data(config.data), torch.device("meta"))
    child = trainer.new_child(resolve(function), 1)
    images, labels = trainer.batch(1, 0)
    torch.nn.functional.cross_entropy(child.network(images), labels).backward()
    child.optimizer.step()
    momenta = [child.optimizer.state[p]["momentum_buffer"] for p in child.parameters()]
    tensors = [*child.parameters(), *(p.grad for p in child.parameters()), *momenta]
    assert {t.device.type for t in tensors} == {"meta"}


@pytest.mark.parametrize("augment", ["none", "shift", "crop_flip"])
def test_batches_are_made_on_the_device(tiny, augment):
    """Indexing asks for a real CUDA build even of fake tensors, so this part runs on `meta`."""
    config = tiny(data={"augment": augment})
    trainer = Trainer(config, load_search_data(config.data), torch.device("meta"))
    images, labels = trainer.batch(1, 0)
    assert images.device.type == labels.device.type == "meta"
    assert images.shape == (32, 1, 8, 8)


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
def test_losses_of_a_checkpoint_go_to_the_device_of_the_child(tiny, tmp_path):
    """Those since the last point of the curve, which are averaged with the coming ones there."""
    config, function = tiny(), resolve("Swish")
    trainer = make_trainer(config, "cpu")
    child = trainer.new_child(function, 1)
    trainer.train(child, 15)
    save_child(child, tmp_path / "c.safetensors")
    elsewhere = Trainer(config, load_search_data(config.data), torch.device("meta"))
    again = elsewhere.new_child(function, 1)
    assert load_child(again, tmp_path / "c.safetensors", at_most=20)
    assert len(again.recent) == 5
    assert {loss.device.type for loss in again.recent} == {"meta"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_training_on_cuda_agrees_with_the_cpu(tiny):
    config = tiny(network={"name": "resnet8"})
    results = []
    for device in ("cpu", "cuda:0"):
        trainer = make_trainer(config, device)
        child = trainer.new_child(resolve("Swish"), 1)
        trainer.train(child, 20)
        results.append(trainer.score(child, trainer.validation)[0])
    assert results[0] == pytest.approx(results[1], rel=0.05)


def test_bf16_is_close_to_fp32(tiny):
    losses = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(tiny(training={"precision": precision}, network={"width": 8}))
        child = trainer.new_child(resolve("Swish"), 1)
        assert all(p.dtype == torch.float32 for p in child.network.parameters())
        trainer.train(child, 20)
        losses.append(trainer.score(child, trainer.validation)[0])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
