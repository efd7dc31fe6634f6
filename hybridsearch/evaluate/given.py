"""Data input for what is no image: features, or inputs of any shape as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.input import Order, Resident, sent


class GivenInput:
    """The training split on the device, and its batches; each depends on (seed, step) alone.

    normalised: whether inputs are features, to be normalised, or are handed on as they are.
    """

    def __init__(
        self, data: SearchData, batch_size: int, device: torch.device, normalised: bool
    ) -> None:
        self.split = Resident.load(data.train, device)
        self.device = device
        self.size = min(batch_size, len(data.train))
        self._order = Order(len(data.train), self.size)
        scale = 255.0 if self.split.images.dtype == torch.uint8 else 1.0
        self._mean = torch.from_numpy(data.mean).to(device) * scale
        self._std = torch.from_numpy(data.std).to(device) * scale
        self._normalised = normalised

    def normalise(self, inputs: Tensor) -> Tensor:
        """Features of mean 0 and deviation 1; inputs as they were given are themselves."""
        return (inputs.float() - self._mean) / self._std if self._normalised else inputs

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: inputs [B, ...] and targets [B, ...]."""
        return self.made(self.plan(seed, step))

    def plan(self, seed: int, step: int) -> Tensor:
        """The examples of a step, on the device: int64 [B]."""
        return sent(self._order.rows(seed, step), self.device)

    def made(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of a plan."""
        return self.normalise(self.split.images[plan]), self.split.labels[plan]
