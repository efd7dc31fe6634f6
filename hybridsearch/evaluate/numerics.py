"""How children are computed: the number format, and how much work their activations are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridsearch.config import Config
from hybridsearch.evaluate.layers import Shape
from hybridsearch.evaluate.networks import build_network
from hybridsearch.kernels.build import processor_features

# Elements of an activation's input from which bf16 pays on a CPU: below, converting takes longer
# than what it saves (digits_mlp, 4,000: 0.8x; digits_cnn, 43,000: alike; cnn28, 150,000: 1.25x).
WORTH = 100_000
BF16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of Arm


def pick_precision(config: Config, device: str, sizes: Sequence[int]) -> str:
    """The number format that `training.precision` means on a device, for a network whose
    activations have inputs of these `sizes`.
    """
    wanted = config.training.precision
    if wanted != "auto":
        return wanted
    if device != "cpu":
        return "bf16"
    large = not sizes or sum(sizes) / len(sizes) >= WORTH
    return "bf16" if large and processor_has_bf16() else "fp32"


def processor_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself; emulated they are slower."""
    try:
        return not set(BF16_FEATURES).isdisjoint(processor_features().split())
    except OSError:
        return False


class _Recorder(nn.Module):
    """Stands for an activation and notes the size of what it is given."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self._sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        self._sizes.append(x.numel())
        return x.relu()


def activation_sizes(config: Config, shape: Shape, classes: int) -> tuple[int, ...]:
    """Elements of the input of every activation at a training step, in order.

    A user's own network that fails here gives (): its error is reported where it is trained.
    """
    sizes: list[int] = []
    few = 2
    try:
        network = build_network(
            config.network, lambda channels, axis: _Recorder(sizes), shape, classes, 0, 0.5
        )
        with torch.no_grad():
            network.eval()(torch.zeros(few, *shape))
    except Exception:
        return ()
    return tuple(n * config.training.batch_size // few for n in sizes)
