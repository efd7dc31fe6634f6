"""Whole training steps on fake tensors of cuda:0, in a process of their own (test_fake_cuda.py).

argv: the library made of device.cpp. Fake tensors have device, shape and type and no values: an
operation that mixes devices is refused, and so is any look at a value.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

# The library must be there before PyTorch asks for its CUDA hooks, which it does once, on import.
found = importlib.util.find_spec("torch")
libraries = Path(found.origin).parent / "lib"
for name in ("libc10.so", "libtorch_cpu.so"):
    ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)
device = ctypes.CDLL(sys.argv[1])

import torch  # noqa: E402
from torch._subclasses.fake_tensor import (  # noqa: E402
    DataDependentOutputException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

device.register_guard()

from hybridsearch.config import make_config  # noqa: E402
from hybridsearch.evaluate import training  # noqa: E402
from hybridsearch.evaluate.accelerator import Host  # noqa: E402
from hybridsearch.evaluate.data import load_search_data  # noqa: E402
from hybridsearch.evaluate.initialise import second_moment  # noqa: E402
from hybridsearch.genome.function import BASELINES, resolve  # noqa: E402
from hybridsearch.genome.genome import Genome  # noqa: E402
from hybridsearch.genome.primitives import BINARY, UNARY  # noqa: E402

GPU = torch.device("cuda:0")


class Queue(Host):
    """What the trainer must know of a GPU, where nothing is computed."""

    asynchronous = True


class Watch(TorchDispatchMode):
    """Notes operations that touch the host: copies from it or to it, and looks at values."""

    def __init__(self):
        super().__init__()
        self.seen, self.types = [], set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        on = {t.device.type for t in tensors}
        if len(on) > 1 or func is torch.ops.aten._local_scalar_dense.default:
            self.seen.append(str(func))
        self.types |= {(func.overloadpacket.__name__, t.dtype) for t in tensors}
        return out


def to(self, *args, memory_format=torch.preserve_format):
    """nn.Module.to, which cannot exchange the parameters of a fake network in place."""
    for module in self.modules():
        for kept in (module._parameters, module._buffers):
            for name, value in kept.items():
                if value is None:
                    continue
                new = value.detach().to(*args)
                if new.dim() == 4:
                    new = new.contiguous(memory_format=memory_format)
                kept[name] = torch.nn.Parameter(new) if kept is module._parameters else new
    return self


def check(network, function, precision, augment):
    settings = {
        "data": {"train": 200, "validation": 100, "augment": augment},
        "network": {"name": network, "width": 4},
        "training": {"batch_size": 32, "precision": precision},
    }
    config = make_config(settings)
    data, known = load_search_data(config.data), resolve(function)
    second_moment(known)  # made of real numbers, once
    with FakeTensorMode():
        trainer = training.Trainer(config, data, GPU, Queue())
        child = trainer.new_child(known, 1)
        course = trainer.course(child, 50)
        for _ in range(training.LOG_EVERY):
            next(course)  # not one look at a value so far
        images, labels = trainer.batch(1, 0)
        assert images.device == labels.device == GPU
        assert images.is_contiguous(memory_format=torch.channels_last)
        with Watch() as watch:
            loss = trainer.update(child, images, labels)
        assert watch.seen == [], watch.seen
        wanted = torch.bfloat16 if precision == "bf16" else torch.float32
        heavy = {"convolution", "addmm", "mm"}
        assert {t for op, t in watch.types if op in heavy} == {wanted}, watch.types
        momenta = [child.optimizer.state[p]["momentum_buffer"] for p in child.parameters()]
        kept = [*child.parameters(), *(p.grad for p in child.parameters()), *momenta, loss]
        assert {t.device for t in kept} == {GPU}
        assert {t.dtype for t in kept} == {torch.float32}
        refused(lambda: next(course))  # the look at the losses that is due now
        passes = []
        child.network.register_forward_hook(lambda *_: passes.append(1))
        trainer.evaluation_batch = 30
        refused(lambda: trainer.score(child, trainer.validation))
        assert len(passes) == 4  # all of them before the first look


def refused(look):
    try:
        look()
    except DataDependentOutputException:
        return
    raise AssertionError("a look at a value was not noticed")


def check_that_it_can_fail():
    """A tensor on the wrong device, in the forward or the backward pass, is noticed."""
    with FakeTensorMode():
        x = torch.empty(4, 4, device=GPU, requires_grad=True)
        try:
            x @ torch.empty(4, 4)
        except RuntimeError as error:
            assert "device" in str(error)
        else:
            raise AssertionError("a wrong device was not noticed")
        with Watch() as watch:
            (x * torch.empty((), device="cpu")).sum().backward()
            torch.empty(3).to(GPU)
        assert len(watch.seen) >= 2


def main():
    torch.nn.Module.to = to
    library = torch.library.Library("aten", "IMPL")  # fake tensors do not know the fused optimiser
    library.impl("_fused_sgd_.tensor_lr", lambda *_, **__: None, "Meta")
    torch.Tensor.pin_memory = lambda self: self  # needs the driver
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False  # asked by autocast
    torch.cuda.is_bf16_supported = lambda: True
    check_that_it_can_fail()
    for network in ("digits_mlp", "digits_cnn", "resnet8"):
        for precision in ("fp32", "bf16"):
            check(network, "x*sigmoid(beta*x)", precision, "crop_flip")
    check("digits_cnn", "ReLU", "bf16", "none")
    check("digits_cnn", "PReLU", "bf16", "shift")
    every = [("add", u, "x", "shift", "x") for u in UNARY]
    every += [(b, "scale", "x", "tanh", "x") for b in BINARY]
    for function in [*map(Genome, every), *BASELINES]:
        check("digits_mlp", function, "bf16", "none")
    print("all steps stayed on the device")


main()
