"""The graphed step against the plain one, with graphs that behave like CUDA's (conftest)."""

from __future__ import annotations

import pytest
import torch

from hybridsearch.evaluate import accelerator as accelerator_module
from hybridsearch.evaluate.accelerator import Host
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.given import GivenInput
from hybridsearch.evaluate.graph import WARM_UP, WORTH, GraphedStep, set_rate, steer
from hybridsearch.evaluate.training import LOG_EVERY, Diverged, Trainer, load_child, save_child
from hybridsearch.genome.function import resolve


@pytest.fixture
def make(tiny, fake_gpu):
    def build(accelerator=None, **changes):
        config = tiny(**changes)
        data = load_search_data(config.data)
        gpu = fake_gpu() if accelerator is None else accelerator
        return Trainer(config, data, torch.device("cpu"), gpu)

    return build


@pytest.fixture(autouse=True)
def say_again():
    accelerator_module.say_once.cache_clear()


def trained(trainer, steps=40, function="x*sigmoid(beta*x)"):
    child = trainer.new_child(resolve(function), 3)
    trainer.train(child, steps)
    return child


def state(child):
    momenta = [child.optimizer.state[p]["momentum_buffer"] for p in child.parameters()]
    return [*child.network.state_dict().values(), *momenta]


CNN = {"network": {"name": "digits_cnn"}, "data": {"augment": "shift"}}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graphed_training_equals_a_plain_one(make, precision):
    """Bit for bit: other batches, learning rates and BatchNorm statistics at every replay."""
    settings = {**CNN, "training": {"precision": precision, "hold": 12}}
    graphed = make(**settings)
    plain = make(**{**settings, "training": {**settings["training"], "graph": "off"}})
    one, other = trained(graphed), trained(plain)
    assert graphed.accelerator.log == ["capture"]
    assert plain.accelerator.log == []
    assert one.curve == other.curve
    assert one.curve[-1][0] == 40
    for a, b in zip(state(one), state(other), strict=True):
        assert torch.equal(a, b)
    assert graphed.score(one, graphed.validation)[0] == plain.score(other, plain.validation)[0]


def test_features_are_drawn_anew_at_every_replay(make):
    graphed, plain = make(), make(training={"graph": "off"})
    for trainer in (graphed, plain):
        data = load_search_data(trainer.config.data)
        trainer.input = GivenInput(data, 32, trainer.device, normalised=True)
    one, other = trained(graphed), trained(plain)
    assert graphed.accelerator.log == ["capture"]
    assert one.curve == other.curve
    for a, b in zip(state(one), state(other), strict=True):
        assert torch.equal(a, b)


def test_it_trains_as_the_cpu_does(make):
    """The GPU's optimiser is fused and has its learning rate on the device; same mathematics."""
    here, there = trained(make(Host(), **CNN)), trained(make(**CNN))
    assert there.optimizer.param_groups[0]["fused"]
    for a, b in zip(state(here), state(there), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)
    losses = [[loss for _, loss in child.curve] for child in (here, there)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_adamw_can_be_captured(make):
    """PyTorch refuses to capture an AdamW that does not say so, fused or not."""
    trainer = make(**CNN, training={"optimizer": "adamw", "lr": 0.01})
    child = trained(trainer)
    assert trainer.accelerator.log == ["capture"]
    assert all(group["fused"] and group["capturable"] for group in child.optimizer.param_groups)
    plain = trained(make(Host(), **CNN, training={"optimizer": "adamw", "lr": 0.01}))
    assert not any(group["capturable"] for group in plain.optimizer.param_groups)
    assert child.curve[-1][1] == pytest.approx(plain.curve[-1][1], rel=1e-3)


def test_a_promoted_child_goes_on_under_a_graph_of_its_own(make, tmp_path):
    trainer = make(**CNN)
    straight = trained(trainer, 60)
    first = trained(trainer, 25)
    save_child(first, tmp_path / "c.safetensors")
    second = trainer.new_child(resolve("x*sigmoid(beta*x)"), 3)
    assert load_child(second, tmp_path / "c.safetensors", at_most=60)
    trainer.train(second, 60)
    assert trainer.accelerator.log == ["capture"] * 3
    for a, b in zip(state(straight), state(second), strict=True):
        assert torch.equal(a, b)
    assert straight.curve == second.curve


def test_short_trainings_are_not_captured(make):
    trainer = make()
    trained(trainer, WARM_UP + WORTH - 1)
    assert trainer.accelerator.log == []
    trained(trainer, WARM_UP + WORTH)
    assert trainer.accelerator.log == ["capture"]


def test_divergence_is_seen_through_the_ring_of_losses(make):
    trainer = make(training={"lr": 30.0, "warmup": 0, "diverged_above": 3.0})
    child = trainer.new_child(resolve("x^3"), 1)
    with pytest.raises(Diverged, match="at step"):
        trainer.train(child, 500)
    assert child.step % LOG_EVERY == 0  # looked at only then


def test_a_step_that_looks_at_a_value_runs_without_a_graph_and_says_so_once(make, monkeypatch):
    trainer, plain = make(), make(training={"graph": "off"})
    update = Trainer.update

    def peeking(self, child, images, labels):
        loss = update(self, child, images, labels)
        float(loss)
        return loss

    monkeypatch.setattr(Trainer, "update", peeking)
    with pytest.warns(UserWarning, match="without a CUDA graph.*not permitted") as caught:
        one = trained(trainer)
    assert len(caught) == 1
    trained(trainer)  # no warning, no further attempt
    assert trainer.accelerator.log == ["capture"]
    for a, b in zip(state(one), state(trained(plain)), strict=True):
        assert torch.equal(a, b)


def test_memory_that_ends_in_a_capture_is_not_a_reason_to_go_on_without(make, monkeypatch):
    trainer = make()

    def full(work):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.accelerator, "capture", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        trained(trainer)
    assert trainer.accelerator.captures


def test_own_networks_are_captured_only_when_the_user_says_so(make, tmp_path, monkeypatch):
    (tmp_path / "graph_net.py").write_text(
        "import torch\n"
        "def build(make_activation, in_shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20),\n"
        "        torch.nn.BatchNorm1d(20), make_activation(20, -1), torch.nn.Linear(20, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for graph, captures in (("auto", []), ("on", ["capture"]), ("off", [])):
        trainer = make(network={"name": "graph_net:build"}, training={"graph": graph})
        trained(trainer)
        assert trainer.accelerator.log == captures


def test_a_learning_rate_that_is_a_number_would_be_frozen(make, monkeypatch):
    """The emulated graph is strict enough to show what the tensor is for."""
    monkeypatch.setattr("hybridsearch.evaluate.training.steer", lambda optimizer, device: None)
    frozen = trained(make(training={"hold": 12}))
    monkeypatch.undo()
    right = trained(make(training={"hold": 12}))
    assert not torch.equal(state(frozen)[0], state(right)[0])


def test_losses_stay_in_the_ring_as_long_as_they_are_kept(fake_gpu):
    weight = torch.zeros(1)

    def update(plan):
        weight.add_(plan)
        return weight.sum() * 1

    step = GraphedStep(fake_gpu(), update, keep=4)
    losses = [step(torch.ones(1)) for _ in range(9)]
    assert [float(loss) for loss in losses[-4:]] == [6.0, 7.0, 8.0, 9.0]


def test_rates_are_set_in_both_forms():
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [w], "weight_decay": 0.0} for w in weights]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    steer(optimizer, torch.device("cpu"))
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert first is second
    set_rate(optimizer, 0.125)
    assert float(second) == 0.125
