"""The loop that a user would write: eager PyTorch, NCHW, fp32, a DataLoader, torch.optim.SGD.

It is the yardstick of `evaluator.py`, so it is written with care but without tricks: the network's
own modules and weights, the same data, batch size, optimiser and schedule as the evaluator's, the
activation as plain tensor expressions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from hybridsearch.config import Config
from hybridsearch.evaluate.data import SearchData, Split
from hybridsearch.evaluate.initialise import second_moment
from hybridsearch.evaluate.networks import build_network
from hybridsearch.genome.function import resolve

RELU = "ReLU"
SWISH = "x*sigmoid(beta*x)"
COMPOSITE = "max(x,tanh(x))*exp(-beta*(x-sin(x))^2)"
PAD = {"shift": 2, "crop_flip": 4}
SCORING_BATCH = 1000


class Swish(nn.Module):
    """x * sigmoid(beta * x) with one beta per channel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


class Composite(nn.Module):
    """max(x, tanh(x)) * exp(-beta * (x - sin(x))^2) with one beta per channel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.exp(-self.beta * (x - torch.sin(x)) ** 2)
        return torch.maximum(x, torch.tanh(x)) * gate


ACTIVATIONS: dict[str, Callable[[tuple[int, ...]], nn.Module]] = {
    RELU: lambda shape: nn.ReLU(),
    SWISH: Swish,
    COMPOSITE: Composite,
}


class Images(Dataset[tuple[Tensor, int]]):
    """uint8 images, augmented and normalised one by one, as with torchvision's transforms."""

    def __init__(self, split: Split, mean: Tensor, std: Tensor, augment: str) -> None:
        self.images, self.labels = torch.from_numpy(split.images), split.labels.tolist()
        self.mean, self.std = mean.reshape(-1, 1, 1), std.reshape(-1, 1, 1)
        self.pad, self.mirror = PAD.get(augment, 0), augment == "crop_flip"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.pad:
            _, height, width = image.shape
            top, left = random.randint(0, 2 * self.pad), random.randint(0, 2 * self.pad)
            image = F.pad(image, (self.pad,) * 4)[:, top : top + height, left : left + width]
        if self.mirror and random.random() < 0.5:
            image = image.flip(2)
        return (image.float() / 255 - self.mean) / self.std, self.labels[index]


def make_loader(
    config: Config, data: SearchData, order: Sampler[int] | None = None, processes: int = 0
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Training batches: ready tensors where nothing is augmented, else per-sample transforms.

    order: in which images come; default: shuffled. processes: of the DataLoader; its default is 0.
    """
    mean, std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
    dataset: Dataset[Any]
    if config.data.augment == "none":
        dataset = TensorDataset(normalised(data, data.train), torch.from_numpy(data.train.labels))
    else:
        dataset = Images(data.train, mean, std, config.data.augment)
    return DataLoader(
        dataset,
        batch_size=min(config.training.batch_size, len(data.train)),
        shuffle=order is None,
        sampler=order,
        drop_last=True,
        num_workers=processes,
    )


def normalised(data: SearchData, split: Split) -> Tensor:
    """The images of a split as float32, [N, C, H, W]."""
    images = torch.from_numpy(split.images).float()
    if split.images.dtype == np.uint8:
        images = images / 255
    mean, std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
    return (images - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)


class PlainTraining:
    """One network in training; `train` goes on from where it stopped.

    formula: RELU, SWISH or COMPOSITE. order: of the images, see `make_loader`.
    """

    def __init__(
        self,
        config: Config,
        data: SearchData,
        formula: str,
        seed: int,
        device: str = "cpu",
        order: Sampler[int] | None = None,
    ) -> None:
        self.device = device
        self.loader = make_loader(config, data, order)
        self.network = build_network(
            config.network,
            lambda channels, axis: ACTIVATIONS[formula](
                (channels, 1, 1) if axis == 1 else (channels,)  # betas broadcast from the right
            ),
            data.in_shape,
            data.classes,
            seed,
            second_moment(resolve(formula)),
        ).to(device)
        settings = config.training
        named = list(self.network.named_parameters())
        weights = [p for name, p in named if p.dim() > 1 and not name.endswith("beta")]
        others = [p for name, p in named if p.dim() <= 1 or name.endswith("beta")]
        self.optimizer = torch.optim.SGD(
            [
                {"params": weights, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: (
                min(1.0, (step + 1) / max(1, settings.warmup))
                * min(1.0, (settings.hold / (step + 1)) ** 0.5)
            ),
        )
        self._batches = self._epochs()

    def _epochs(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """The next batch on the device, [B, C, H, W] and [B]."""
        images, labels = next(self._batches)
        return images.to(self.device), labels.to(self.device)

    def train(self, steps: int) -> Tensor:
        """Train for that many steps; returns the loss of the last one."""
        self.network.train()
        for _ in range(steps):
            images, labels = self.next_batch()
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
        return loss.detach()

    @torch.no_grad()
    def score(self, images: Tensor, labels: Tensor) -> float:
        """Accuracy, 0..1, on normalised images."""
        self.network.eval()
        right = 0
        for start in range(0, len(labels), SCORING_BATCH):
            part = slice(start, start + SCORING_BATCH)
            found = self.network(images[part].to(self.device)).argmax(1).cpu()
            right += int((found == labels[part]).sum())
        return right / len(labels)
