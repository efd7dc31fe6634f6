"""The child networks: each takes a factory of activations (see `layers`), so that every
nonlinearity is the one under test.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable

from torch import Tensor, nn

from hybridsearch.config import NetworkConfig
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.deep import Build, blocks_of, densenet, preresnet, wide_resnet
from hybridsearch.evaluate.draws import seeded
from hybridsearch.evaluate.initialise import RELU_MOMENT, initialise
from hybridsearch.evaluate.layers import GlobalPool, MakeActivation, Shape, conv
from hybridsearch.evaluate.own import digest_of_code, import_callable
from hybridsearch.evaluate.recompute import NormActivation
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function, resolve


def digits_mlp(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
    """Two dense layers of 8*width units, BatchNorm before each activation."""
    inside, hidden = math.prod(shape), 8 * width
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
    return f"{config.name}@{digest_of_code(_own(config.name))}"


def _own(name: str) -> str:
    """The name of a network of the user's. Raises: UserError when it cannot be imported."""
    if ":" not in name:
        raise UserError(
            f"unknown network {name!r}{nearest(name, NETWORKS)}; your own: package.module:callable"
        )
    try:
        import_callable(name)
    except UserError as error:
        raise UserError(f"network {error}") from error
    return name


def _build_own(name: str, act: MakeActivation, shape: Shape, outputs: int) -> nn.Module:
    """What a builder of the user's makes of those arguments that it takes."""
    build = import_callable(_own(name))
    offered = {"make_activation": act, "in_shape": shape, "outputs": outputs, "classes": outputs}
    taken = inspect.signature(build).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        offered = {word: value for word, value in offered.items() if word in taken}
    if "make_activation" not in offered:
        raise TypeError(f"expected {name} to take make_activation, got {', '.join(taken) or '()'}")
    made = build(**offered)
    if not isinstance(made, nn.Module):
        raise TypeError(f"expected an nn.Module, got {type(made).__name__}")
    return made


def fixed_groups(config: NetworkConfig) -> dict[str, Function]:
    """The functions of groups of layers that are not searched, by group.

    Raises: UserError when one is no GROUP=FUNCTION.
    """
    found = {}
    for text in config.fixed:
        group, equals, expression = text.partition("=")
        if not equals or not group.strip():
            raise UserError(f"network.fixed: expected GROUP=FUNCTION, got {text!r}")
        found[group.strip()] = resolve(expression)
    return found


def build_network(
    config: NetworkConfig,
    act: Callable[[int, int], nn.Module],
    shape: Shape,
    outputs: int,
    seed: int,
    second_moment: float,
) -> nn.Module:
    """A child network with weights drawn from `seed`, the same for every activation function.

    Built-in networks scale their weights to the activation (`initialise`), or as He et al. 2015 for
    all; a user's own network keeps the initialisation it was written with, drawn by PyTorch, NumPy
    or Python. outputs: logits, or columns of a regression. second_moment: E f(z)^2, z from N(0,1).
    Raises: UserError when `config.fixed` names a group that the network does not have.
    """
    fixed, asked = fixed_groups(config), set[str]()

    def grouped(channels: int, axis: int, group: str = "") -> nn.Module:
        asked.add(group)
        if group in fixed:
            return Activation(fixed[group], channels, axis)
        return act(channels, axis)

    with seeded(seed):
        build = built_in(config.name)
        if build is None:
            made = _build_own(config.name, grouped, shape, outputs)
        else:
            made = build(grouped, shape, outputs, config.width)
        if missing := [group for group in fixed if group not in asked]:
            has = ", ".join(sorted(asked - {""})) or "none"
            raise UserError(
                f"network.fixed: {config.name} has no group {missing[0]!r}; it has {has}"
            )
        if build is None:
            return made
        initialise(made, second_moment if config.init == "scaled" else RELU_MOMENT)
        return made
