"""The child networks: each takes a factory of activations (see `layers`), so that every
nonlinearity is the one under test.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hybridsearch.config import NetworkConfig
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.deep import Build, blocks_of, densenet, preresnet, wide_resnet
from hybridsearch.evaluate.initialise import RELU_MOMENT, initialise
from hybridsearch.evaluate.layers import GlobalPool, MakeActivation, Shape, conv
from hybridsearch.evaluate.recompute import NormActivation


def digits_mlp(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
    """Two dense layers of 8*width units, BatchNorm before each activation."""
    inside, hidden = shape[0] * shape[1] * shape[2], 8 * width
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inside, hidden, bias=False),
        NormActivation(nn.BatchNorm1d(hidden), act(hidden, -1)),
        nn.Linear(hidden, hidden, bias=False),
        NormActivation(nn.BatchNorm1d(hidden), act(hidden, -1)),
        nn.Linear(hidden, classes),
    )


def _plain_cnn(
    act: MakeActivation, shape: Shape, classes: int, plan: list[tuple[int, int]]
) -> nn.Module:
    """Convolutions of (channels, stride) in `plan`, then the mean over positions, then classes."""
    layers: list[nn.Module] = []
    inside = shape[0]
    for channels, stride in plan:
        layers += [conv(inside, channels, stride)]
        layers += [NormActivation(nn.BatchNorm2d(channels), act(channels, 1))]
        inside = channels
    return nn.Sequential(*layers, GlobalPool(), nn.Linear(inside, classes))


def digits_cnn(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
    """Three convolutions for 8x8 images."""
    return _plain_cnn(act, shape, classes, [(width, 1), (2 * width, 2), (2 * width, 1)])


def cnn28(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
    """Four convolutions for 28x28 images."""
    plan = [(width, 2), (2 * width, 1), (2 * width, 2), (4 * width, 2)]
    return _plain_cnn(act, shape, classes, plan)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity shortcut (He et al. 2016, option A: when the shape
    changes, the shortcut is subsampled and padded with zero channels, without parameters).
    """

    def __init__(self, act: MakeActivation, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inside, outside, stride), conv(outside, outside)
        self.act1 = NormActivation(nn.BatchNorm2d(outside), act(outside, 1))
        self.act2 = NormActivation(nn.BatchNorm2d(outside), act(outside, 1))
        self.stride, self.extra = stride, outside - inside

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.act1(self.conv1(x)))
        if self.stride > 1 or self.extra:
            before = self.extra // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = nn.functional.pad(x, (0, 0, 0, 0, before, self.extra - before))
        return self.act2(out, x)  # type: ignore[no-any-return]


def resnet(depth: int) -> Build:
    """The CIFAR ResNet of He et al. 2016 section 4.2, of depth 6n+2 (20: 0.27 M parameters).

    Raises: UserError for another depth.
    """
    blocks = blocks_of("resnet", depth, 6, 2)

    def build(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
        first = NormActivation(nn.BatchNorm2d(width), act(width, 1))
        layers: list[nn.Module] = [conv(shape[0], width), first]
        inside = width
        for stage in range(3):
            for block in range(blocks):
                outside = width * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(act, inside, outside, stride))
                inside = outside
        return nn.Sequential(*layers, GlobalPool(), nn.Linear(inside, classes))

    return build


NETWORKS: dict[str, Build] = {
    "digits_mlp": digits_mlp,
    "digits_cnn": digits_cnn,
    "cnn28": cnn28,
    "resnet8": resnet(8),
    "resnet20": resnet(20),
    "preresnet164": preresnet(164),
    "wrn28-10": wide_resnet(28, 10),
    "densenet100-12": densenet(100, 12),
}
# Any depth, and any factor or growth rate: `wrn16-2`.
FAMILIES: dict[str, Callable[..., Build]] = {
    r"resnet(\d+)": resnet,
    r"preresnet(\d+)": preresnet,
    r"wrn(\d+)-(\d+)": wide_resnet,
    r"densenet(\d+)-(\d+)": densenet,
}


def built_in(name: str) -> Build | None:
    """What builds a network of ours; None for a user's own.

    Raises: UserError for a depth that its family does not have.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    for pattern, family in FAMILIES.items():
        if found := re.fullmatch(pattern, name):
            return family(*map(int, found.groups()))
    return None


def check_network(config: NetworkConfig) -> str:
    """A string that identifies the network's code: its name, or name and hash of the module.

    Raises: UserError when the network is unknown or cannot be imported.
    """
    if built_in(config.name):
        return config.name
    source = inspect.getsourcefile(_custom(config.name)) or ""
    code = Path(source).read_bytes() if Path(source).is_file() else b""
    return f"{config.name}@{hashlib.blake2b(code, digest_size=8).hexdigest()}"


def _custom(name: str) -> Callable[..., nn.Module]:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UserError(
            f"unknown network {name!r}{nearest(name, NETWORKS)}; your own: package.module:callable"
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"network {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise UserError(f"network {name!r} is not callable")
    return found  # type: ignore[no-any-return]


def build_network(
    config: NetworkConfig,
    act: MakeActivation,
    shape: Shape,
    classes: int,
    seed: int,
    second_moment: float,
) -> nn.Module:
    """A child network with weights drawn from `seed`, the same for every activation function.

    Built-in networks scale their weights to the activation (`initialise`), or as He et al. 2015 for
    all; a user's own network keeps the initialisation it was written with. second_moment: E f(z)^2,
    z from N(0,1).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        build = built_in(config.name)
        if build is None:
            made = _custom(config.name)(make_activation=act, in_shape=shape, classes=classes)
            if not isinstance(made, nn.Module):
                raise TypeError(f"expected an nn.Module, got {type(made).__name__}")
            return made
        network = build(act, shape, classes, config.width)
        initialise(network, second_moment if config.init == "scaled" else RELU_MOMENT)
        return network
