"""What a network of ReLUs does with two examples: how large its activations are, what it gives,
what it is made of, and whether the function under test is in it.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hybridsearch.config import Config
from hybridsearch.errors import UserError, told
from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.draws import seeded
from hybridsearch.evaluate.networks import build_network, built_in

FEW = 2
# Modules that stand where a search could put its function; what heads and gates end in is not here.
HIDDEN = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Hardswish),
)


class Probed(NamedTuple):
    """sizes: elements of the input of every activation at a training step, in order. outputs: shape
    of what the network gives for an example. parts: names and kinds of its modules, names and
    shapes of its parameters and buffers. others: activations in it that are not searched, and how
    many of each. Without sizes and outputs where the network fails on two examples, which need not
    be so in training: fault says how, in a line.
    """

    sizes: tuple[int, ...]
    outputs: tuple[int, ...] | None
    parts: tuple[str, ...]
    others: tuple[tuple[str, int], ...]
    fault: str = ""


class _Calls(list["tuple[_Recorder, int]"]):
    """Who was called and with how many elements. Stays one list when a network copies its layers,
    as nn.TransformerEncoder does.
    """

    def __deepcopy__(self, memo: object) -> _Calls:
        return self


class _Recorder(nn.Module):
    """Stands for an activation and notes the size of what it is given."""

    def __init__(self, calls: _Calls) -> None:
        super().__init__()
        self._calls = calls

    def forward(self, x: Tensor) -> Tensor:
        self._calls.append((self, x.numel()))
        return x.relu()


def probe(config: Config, data: SearchData) -> Probed | None:
    """None for a network of the user's that cannot be built: its error is reported where it is
    trained.

    Raises: UserError where the config names what the network has not, the network has no place for
    the function under test, keeps it where its parameters are not found, or is the same at every
    call of its builder.
    """
    calls, made = _Calls(), 0

    def recorder(channels: int, axis: int) -> nn.Module:
        nonlocal made
        made += 1
        return _Recorder(calls)

    def build() -> nn.Module:
        return build_network(config.network, recorder, data.in_shape, data.outputs, 0, 0.5)

    name = config.network.name
    try:
        network = build()
        if built_in(name) is None:
            _expect_new(name, network, build())
            made //= 2
        parts, others = _parts(network), _others(network)
    except UserError:
        raise
    except Exception:
        return None
    if not made:
        why = (
            f"network.fixed gives every group a function ({', '.join(config.network.fixed)}); "
            "leave out the one to search"
            if config.network.fixed
            else "it never calls make_activation; call make_activation(channels, axis) where a "
            "ReLU would stand"
        )
        raise UserError(f"network {name!r} has no place for the function to search: {why}")
    inputs = torch.from_numpy(data.validation.images[:FEW])
    if config.data.inputs == "normalised":
        inputs = torch.zeros_like(inputs, dtype=torch.float32)
    try:
        with torch.no_grad(), seeded(0):
            outputs = network.eval()(inputs)
            if not calls and built_in(name) is None:
                network.train()(inputs)
        shape = tuple(outputs.shape[1:])
        batch = config.training.batch_size
        per_step = tuple(n * batch // len(inputs) for _, n in calls)
    except Exception as error:
        return Probed((), None, parts, others, told(error))
    if not calls:
        raise UserError(
            f"network {name!r} makes {made} activation(s) with make_activation, but its forward "
            "pass uses none of them, so every function would give the same; call them there"
        )
    known = set(network.modules())
    if any(one not in known for one, _ in calls):
        raise UserError(
            f"network {name!r} keeps activations where PyTorch does not find their parameters (in "
            "a plain list, dict or closure), so that no beta would be trained; keep them in "
            "nn.ModuleList, nn.ModuleDict or attributes"
        )
    return Probed(per_step, shape, parts, others)


def _expect_new(name: str, one: nn.Module, other: nn.Module) -> None:
    """Raises: UserError where two networks of one builder share what training changes: a child
    would go on with what another has learned.
    """
    trained = {p for p in one.parameters() if p.requires_grad}
    tracked = {m for m in one.modules() if isinstance(m, _NormBase) and m.track_running_stats}
    if trained & set(other.parameters()) or tracked & set(other.modules()):
        raise UserError(
            f"network {name!r} holds the same layers at every call, so that each child would go on "
            "with what the one before has learned; make new ones at every call (of a loaded "
            "backbone, copy.deepcopy)"
        )


def _parts(network: nn.Module) -> tuple[str, ...]:
    kinds = [f"{name} {type(m).__qualname__}" for name, m in network.named_modules()]
    held = [*network.named_parameters(), *network.named_buffers()]
    return (*kinds, *(f"{name} {tuple(tensor.shape)}" for name, tensor in held))


def _others(network: nn.Module) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(type(m).__name__ for m in network.modules() if type(m) in HIDDEN).items())
