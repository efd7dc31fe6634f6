"""What a network of ReLUs does with two examples: how large its activations are, what it gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.networks import build_network

FEW = 2


class Probed(NamedTuple):
    """sizes: elements of the input of every activation at a training step, in order. outputs: shape
    of what the network gives for an example.
    """

    sizes: tuple[int, ...]
    outputs: tuple[int, ...]


class _Recorder(nn.Module):
    """Stands for an activation and notes the size of what it is given."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self._sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        self._sizes.append(x.numel())
        return x.relu()


def probe(config: Config, data: SearchData) -> Probed | None:
    """None for a network of the user's that fails: its error is reported where it is trained.

    Raises: UserError where the config names what the network has not.
    """
    sizes: list[int] = []
    try:
        network = build_network(
            config.network,
            lambda channels, axis: _Recorder(sizes),
            data.in_shape,
            data.outputs,
            0,
            0.5,
        )
        inputs = torch.from_numpy(data.validation.images[:FEW])
        if config.data.inputs == "normalised":
            inputs = torch.zeros_like(inputs, dtype=torch.float32)
        with torch.no_grad():
            made = network.eval()(inputs)
        shape = tuple(made.shape[1:])
    except UserError:
        raise
    except Exception:
        return None
    batch = config.training.batch_size
    return Probed(tuple(n * batch // len(inputs) for n in sizes), shape)
