"""What only a GPU can show: `pytest -m cuda` on a machine that has one."""

from __future__ import annotations

import pytest
import torch

from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.graph import WARM_UP
from hybridsearch.evaluate.timing import seconds_per_element
from hybridsearch.evaluate.training import LOG_EVERY, Trainer, load_child, save_child
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve
from hybridsearch.kernels.compiled import CompiledKernel
from hybridsearch.types import Status

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
    # of PyTorch itself: of inductor at its import, and of the check for waiting
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
]
GPU = torch.device("cuda:0")
CNN = {"network": {"name": "resnet8"}, "data": {"augment": "crop_flip"}}
HARD = "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)"


def trained(
    tiny, steps=40, graph="auto", precision="fp32", kernel=None, function=HARD, optimizer="sgd"
):
    about = {"graph": graph, "precision": precision, "optimizer": optimizer}
    config = tiny(**CNN, training=about | ({"lr": 0.01} if optimizer == "adamw" else {}))
    with accelerator_for(GPU).session():
        trainer = Trainer(config, load_search_data(config.data), GPU)
        child = trainer.new_child(resolve(function), 3)
        for module in child.network.modules():
            if isinstance(module, Activation):
                module.kernel = kernel
        trainer.train(child, steps)
        return child, trainer.score(child, trainer.validation)[0]


def weights(child):
    return [t.detach().cpu() for t in child.network.state_dict().values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("expression", ["x*sigmoid(beta*x)", HARD, "sinc(x)+x", "PReLU"])
def test_the_fused_kernel_agrees_with_float64(expression, dtype):
    function = resolve(expression)
    kernel = CompiledKernel(function)
    x = torch.randn(64, 16, 32, 32, device=GPU).to(dtype, memory_format=torch.channels_last)
    grad = torch.randn(64, 16, 32, 32, device=GPU).to(dtype)
    module = Activation(function, 16, 1).to(GPU)
    a, b = x.clone().requires_grad_(), module.betas.detach().clone().requires_grad_()
    out = kernel(a, b, 1)
    out.backward(grad)
    assert not kernel.broken
    wide = module.double()
    c = x.double().requires_grad_()
    wanted = wide(c)
    wanted.backward(grad.double())
    tolerance = 5e-6 if dtype == torch.float32 else 2**-8
    for got, want in ((out, wanted), (a.grad, c.grad)):
        assert got.dtype == dtype
        assert got.stride() == x.stride()
        scale = want.abs().clamp(min=1)
        assert ((got.double() - want).abs() <= tolerance * scale).all()
    if b.numel():
        assert torch.allclose(b.grad.double(), wide.betas.grad, rtol=1e-4, atol=1e-2)


def test_times_order_functions(tiny):
    """As graphs, which a GPU must be able to capture."""
    config = tiny(**CNN)
    with accelerator_for(GPU).session(), accelerator_for(GPU).aside():
        trainer = Trainer(config, load_search_data(config.data), GPU)
        relu, hard = (seconds_per_element(trainer, resolve(f), "") for f in ("ReLU", HARD))
        assert trainer.graphed
    assert 0 < relu < hard


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graphed_training_equals_a_plain_one(tiny, precision, optimizer):
    (one, loss), (other, other_loss) = (
        trained(tiny, graph=graph, precision=precision, optimizer=optimizer)
        for graph in ("on", "off")
    )
    assert accelerator_for(GPU).captures, "the capture failed"
    assert loss == other_loss
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_promoted_child_equals_one_that_was_trained_through(tiny, tmp_path, precision):
    """Its first steps after the promotion are plain, those of the other are of a graph."""
    straight, loss = trained(tiny, 60, precision=precision, function="Swish")
    config = tiny(**CNN, training={"precision": precision})
    with accelerator_for(GPU).session():
        trainer = Trainer(config, load_search_data(config.data), GPU)
        first = trainer.new_child(resolve("Swish"), 3)
        trainer.train(first, 25)
        save_child(first, tmp_path / "c.safetensors")
        child = trainer.new_child(resolve("Swish"), 3)
        assert load_child(child, tmp_path / "c.safetensors", at_most=60)
        trainer.train(child, 60)
        assert trainer.score(child, trainer.validation)[0] == loss
    assert straight.curve == child.curve
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(child), strict=True))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_training_gives_the_same_bits(tiny, compiled):
    kernels = [CompiledKernel(resolve(HARD)) if compiled else None for _ in range(2)]
    (one, loss), (other, again) = (trained(tiny, kernel=kernel) for kernel in kernels)
    assert loss == again
    assert one.curve == other.curve
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_no_step_makes_the_host_wait(tiny):
    config = tiny(**CNN)
    accelerator = accelerator_for(GPU)
    with accelerator.session(), accelerator.aside():
        trainer = Trainer(config, load_search_data(config.data), GPU)
        child = trainer.new_child(resolve(HARD), 3)
        course = trainer.course(child, 50)
        for _ in range(LOG_EVERY + 1):  # past warm-up, capture and the first look
            next(course)
        assert LOG_EVERY > WARM_UP
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(LOG_EVERY - 1):
                next(course)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert child.step == 2 * LOG_EVERY


def evaluated(tiny, folder, **changes):
    evaluator = TrainingEvaluator(tiny(**CNN, device="cuda:0", **changes), folder)
    known = [resolve(e) for e in ("ReLU", "GELU", HARD, "cos(x)-x", "x^3")]
    tasks = [evaluator.task(f.spec, f.key, 30, seed) for f in known for seed in (3, 4)]
    try:
        return {e.task: e.payload() for e in evaluator.evaluate(tasks)}
    finally:
        evaluator.close()


def test_the_pack_changes_nothing(tiny, tmp_path):
    found = [evaluated(tiny, tmp_path / str(most), pack=most) for most in (1, 4)]
    assert found[0] == found[1]
    assert {payload["status"] for payload in found[0].values()} >= {"ok"}


def test_a_worker_process_gives_the_same(tiny, tmp_path):
    inline = evaluated(tiny, tmp_path / "inline")
    assert evaluated(tiny, tmp_path / "loky", pool="loky") == inline


def test_a_crowded_gpu_only_takes_longer(tiny, tmp_path):
    """Nearly all memory belongs to somebody else while children train."""
    want = evaluated(tiny, tmp_path / "roomy")
    free, _ = torch.cuda.mem_get_info(GPU)
    taken = torch.empty(int(free - 600 * 2**20), dtype=torch.uint8, device=GPU)
    try:
        found = evaluated(tiny, tmp_path / "crowded", pack=8)
    finally:
        del taken
        torch.cuda.empty_cache()
    assert all(payload["status"] != Status.ERROR for payload in found.values())
    assert found == want
