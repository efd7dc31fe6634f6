"""Training one child, step by step, so that it can stop at a rung and go on later.

A child's course depends on its function, seed and settings alone: the order of the data and the
augmentation are functions of (seed, step), and the learning rate of the step, never of how far
the child will be trained. A child stopped at a rung and continued from its checkpoint therefore
equals one that was trained straight through, bit for bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybridsearch.config import Config
from hybridsearch.evaluate.checkpoint import (
    read_checkpoint,
    trained_parameters,
    write_checkpoint,
)
from hybridsearch.evaluate.data import SearchData, Split
from hybridsearch.evaluate.initialise import second_moment
from hybridsearch.evaluate.networks import build_network
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function

EVALUATION_BATCH = 1000  # images per forward pass when scoring
LOG_EVERY = 10  # steps per point of the training curve, and between looks at the loss on a GPU


class Diverged(Exception):
    """The training blew up; the message says at which step and how."""


class OutOfTime(Exception):
    """The training took longer than its limit."""


@dataclass
class Resident:
    """One split on the device: images as uint8 or float32 [N, C, H, W], labels [N]."""

    images: Tensor
    labels: Tensor

    @classmethod
    def load(cls, split: Split, device: torch.device) -> Resident:
        return cls(
            torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)
        )


@dataclass
class Child:
    """A network in training.

    step: optimiser steps done. curve: (step, mean training loss in nats over the last LOG_EVERY).
    recent: the losses of the steps since the curve's last point.
    """

    network: nn.Module
    optimizer: torch.optim.SGD
    seed: int
    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    recent: list[Tensor] = field(default_factory=list)

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in the optimiser's order."""
        return trained_parameters(self.optimizer)


class Trainer:
    """Trains and scores children on one data set; holds the whole set on the device."""

    def __init__(self, config: Config, data: SearchData, device: torch.device) -> None:
        self.config, self.training, self.device = config, config.training, device
        self.classes, self.shape = data.classes, data.in_shape
        self.train_split = Resident.load(data.train, device)
        self.validation = Resident.load(data.validation, device)
        scale = 255.0 if data.train.images.dtype == np.uint8 else 1.0
        self.mean = torch.from_numpy(data.mean).to(device).reshape(1, -1, 1, 1) * scale
        self.std = torch.from_numpy(data.std).to(device).reshape(1, -1, 1, 1) * scale
        self._order: tuple[int, int, Tensor] | None = None

    def new_child(self, function: Function, seed: int) -> Child:
        """A child with fresh weights."""
        network = self.network(function, seed)
        return Child(network, self.optimizer(network), seed)

    def network(self, function: Function, seed: int) -> nn.Module:
        """A network with fresh weights, on the device."""
        network = build_network(
            self.config.network,
            lambda channels, axis: Activation(function, channels, axis),
            self.shape,
            self.classes,
            seed,
            second_moment(function),
        ).to(self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def optimizer(self, network: nn.Module, fused: bool = False) -> torch.optim.SGD:
        """SGD; weight decay spares betas, biases and norms. fused: one call for all parameters,
        which must be dense (it would silently be wrong for views with gaps).
        """
        betas = {id(m.betas) for m in network.modules() if isinstance(m, Activation)}
        decayed = [p for p in network.parameters() if p.dim() > 1 and id(p) not in betas]
        spared = [p for p in network.parameters() if p.dim() <= 1 or id(p) in betas]
        return torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": self.training.weight_decay},
                {"params": [p for p in spared if p.numel()], "weight_decay": 0.0},
            ],
            lr=self.training.lr,
            momentum=self.training.momentum,
            nesterov=self.training.momentum > 0,
            fused=fused,
        )

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then constant, then 1/sqrt(step) after `hold`: no horizon in it."""
        t = self.training
        rise = min(1.0, (step + 1) / t.warmup) if t.warmup else 1.0
        return t.lr * rise * min(1.0, math.sqrt(t.hold / (step + 1)))

    def train(self, child: Child, steps: int, alive: Iterator[None] | None = None) -> None:
        """Train up to `steps` optimiser steps in all.

        `alive` is advanced once per step and may raise, for instance OutOfTime.
        Raises: Diverged when the loss is not finite or far above chance.
        """
        child.network.train()
        ceiling = self.training.diverged_above * math.log(self.classes)
        every = LOG_EVERY if self.device.type == "cuda" else 1  # a look at the loss waits for a GPU
        while child.step < steps:
            if alive is not None:
                next(alive)
            images, labels = self.batch(child.seed, child.step)
            for group in child.optimizer.param_groups:
                group["lr"] = self.learning_rate(child.step)
            child.optimizer.zero_grad(set_to_none=True)
            with self.precision():
                loss = F.cross_entropy(child.network(images).float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            child.optimizer.step()
            child.step += 1
            child.recent.append(loss.detach())
            if child.step % every == 0 or child.step == steps:
                worst = float(torch.stack(child.recent).max())
                if not worst <= ceiling:
                    raise Diverged(f"training loss {worst:.3g} at step {child.step}")
            if child.step % LOG_EVERY == 0:
                child.curve.append((child.step, float(torch.stack(child.recent).mean())))
                child.recent = []

    def precision(self) -> torch.autocast:
        """The number format of the forward pass; weights stay fp32."""
        half = self.training.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The normalised, augmented batch of a step: [B, C, H, W] float32 and [B] int64."""
        count = len(self.train_split.labels)
        size = min(self.training.batch_size, count)
        per_epoch = count // size
        epoch, place = divmod(step, per_epoch)
        if self._order is None or self._order[:2] != (seed, epoch):
            order = np.random.default_rng([seed, epoch, 0]).permutation(count)
            self._order = (seed, epoch, torch.from_numpy(order).to(self.device))
        rows = self._order[2][place * size : (place + 1) * size]
        images = self.normalise(self.train_split.images[rows])
        return self.augment(images, seed, step), self.train_split.labels[rows]

    def normalise(self, images: Tensor) -> Tensor:
        out = (images.float() - self.mean) / self.std
        return out.contiguous(memory_format=torch.channels_last)

    def augment(self, images: Tensor, seed: int, step: int) -> Tensor:
        """Random crops (and mirror images) of a normalised batch, one gather for all."""
        kind = self.config.data.augment
        if kind == "none":
            return images
        pad = 2 if kind == "shift" else 4
        size, _, height, width = images.shape
        draw = np.random.default_rng([seed, step, 1]).integers(
            0, [2 * pad + 1, 2 * pad + 1, 2], size=(size, 3)
        )
        top, left, mirror = torch.from_numpy(draw).to(self.device).unbind(1)
        rows = top[:, None] + torch.arange(height, device=self.device)
        columns = left[:, None] + torch.arange(width, device=self.device)
        if kind == "crop_flip":
            columns = torch.where(mirror[:, None] == 1, columns.flip(1), columns)
        padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
        index = torch.arange(size, device=self.device)[:, None, None]
        return padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    @torch.no_grad()
    def score(self, child: Child, split: Resident) -> tuple[float, float, np.ndarray]:
        """Mean cross-entropy in nats, accuracy in 0..1, and which images were right (bool [N]).

        Raises: Diverged when the loss is not finite.
        """
        child.network.eval()
        loss, right = 0.0, []
        for start in range(0, len(split.labels), EVALUATION_BATCH):
            images = self.normalise(split.images[start : start + EVALUATION_BATCH])
            labels = split.labels[start : start + EVALUATION_BATCH]
            with self.precision():
                logits = child.network(images).float()
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            right.append((logits.argmax(1) == labels).cpu().numpy())
        if not math.isfinite(loss):
            raise Diverged(f"loss is {loss} in evaluation after step {child.step}")
        correct = np.concatenate(right)
        return loss / len(correct), float(correct.mean()), correct


def save_child(child: Child, path: Path) -> None:
    """Write weights, BatchNorm statistics, optimiser, curve and step, atomically."""
    note = {"step": child.step, "seed": child.seed, "curve": child.curve}
    more = {"recent": torch.stack(child.recent)} if child.recent else {}
    write_checkpoint(path, child.network, child.optimizer, note, more)


def load_child(child: Child, path: Path, at_most: int) -> bool:
    """Put a saved state into a fresh child; False where there is none that is usable.

    A checkpoint that is missing, damaged, or further than `at_most` steps only costs time: the
    child is then trained from its start, with the same result.
    """
    found = read_checkpoint(path)
    if found is None or found.note["step"] > at_most or found.note["seed"] != child.seed:
        return False
    found.restore(child.network, child.optimizer)
    child.recent = list(found.tensors["recent"].unbind()) if "recent" in found.tensors else []
    child.step = found.note["step"]
    child.curve = [(int(s), float(v)) for s, v in found.note["curve"]]
    return True
