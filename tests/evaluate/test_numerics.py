from __future__ import annotations

import pytest
import torch

from hybridsearch.evaluate import numerics
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.numerics import pick_precision
from hybridsearch.evaluate.training import Trainer
from hybridsearch.genome.function import resolve
from hybridsearch.kernels import choose
from hybridsearch.kernels.choose import Workload

BIG, SMALL = Workload((128 * 16 * 1024,) * 19, 10_000), Workload((64 * 64,) * 2, 150)


@pytest.mark.parametrize("network", ["digits_mlp", "digits_cnn", "resnet8"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernel", ["", "tape-2"])
def test_recomputing_changes_no_bit(tiny, network, precision, kernel):
    """Weights, running statistics and curve; bfloat16 with its autocast too."""

    def course(recompute):
        training = {"recompute": recompute, "precision": precision}
        config = tiny(network={"name": network}, training=training)
        trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
        child = trainer.new_child(resolve("x*sigmoid(beta*x)"), 3, kernel)
        trainer.train(child, 10)
        return child

    kept, made_again = course(False), course(True)
    a, b = kept.network.state_dict(), made_again.network.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert kept.curve == made_again.curve


def saved_bytes(child, images) -> int:
    """What a forward pass keeps for the backward pass, shared memory once, weights not."""
    weights = {p.untyped_storage().data_ptr() for p in child.network.parameters()}
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        held.append(t)
        return t

    child.network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        child.network(images).sum()
    return sum(kept.values())


def test_memory_of_a_resnet(tiny):
    """At most 1.55 times ReLU's activations, and 1.1 times with recomputation."""

    def bytes_of(function, kernel="", recompute=False):
        config = tiny(network={"name": "resnet8", "width": 8}, training={"recompute": recompute})
        trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
        child = trainer.new_child(resolve(function), 0, kernel)
        images = torch.randn(8, 1, 32, 32).contiguous(memory_format=torch.channels_last)
        return saved_bytes(child, images)

    relu, composite = bytes_of("ReLU"), "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)"
    assert bytes_of(composite) > 2 * relu  # plain PyTorch keeps every intermediate
    assert 1.3 * relu < bytes_of(composite, "tape-2") <= 1.55 * relu
    assert bytes_of(composite, "tape-2", recompute=True) <= 1.1 * relu


def test_auto_precision_asks_the_processor(tiny, monkeypatch):
    config = tiny(training={"precision": "auto"})
    monkeypatch.setattr(numerics, "processor_has_bf16", lambda: True)
    assert pick_precision(config, "cpu", (400_000, 200_000)) == "bf16"
    assert pick_precision(config, "cpu", (100_000, 50_000)) == "fp32"
    monkeypatch.setattr(numerics, "processor_has_bf16", lambda: False)
    assert pick_precision(config, "cpu", (400_000, 200_000)) == "fp32"
    assert pick_precision(config, "cuda:0", (1,)) == "bf16"
    assert pick_precision(tiny(), "cuda:0", (1,)) == "fp32"


def test_the_rule_prefers_kernels_where_there_is_much_to_gain(monkeypatch):
    swish, composite = resolve("Swish"), resolve("max(x,tanh(x))*exp(-beta*(x-sin(x))^2)")
    monkeypatch.setattr(choose, "_probe", lambda: ("abc", ""))
    assert choose.choose(composite, BIG) == choose.choose(swish, BIG) == "native-2-abc"
    assert choose.choose(resolve("ReLU"), BIG) == ""  # one fast operation as it is
    assert choose.choose(resolve("GELU"), BIG) == ""
    assert choose.choose(swish, SMALL) == ""  # it would not earn its compilation
    monkeypatch.setattr(choose, "_probe", lambda: ("", "none here"))
    assert choose.choose(composite, BIG) == "tape-2"
    assert choose.choose(composite, SMALL) == ""
    assert choose.choose(swish, BIG, "eager") == ""
