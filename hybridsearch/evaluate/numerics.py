"""The number format that children are computed in."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsearch.config import Config
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
