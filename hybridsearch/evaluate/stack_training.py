"""Training the replicates of a stack side by side, each as it would be trained alone.

Weights, data order and augmentation of a replicate are those of the child with its seed. The loss
is the sum of the replicates' mean losses, so every gradient is that of separate training; what
differs is the rounding. A replicate that diverges is set aside with the step at which it did, and
the others never notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from hybridsearch.evaluate.checkpoint import (
    read_checkpoint,
    trained_parameters,
    write_checkpoint,
)
from hybridsearch.evaluate.graph import set_rate
from hybridsearch.evaluate.input import Resident, TrainingInput
from hybridsearch.evaluate.objective import Score
from hybridsearch.evaluate.stacked import StackedNetwork
from hybridsearch.evaluate.training import LOG_EVERY, Trainer
from hybridsearch.genome.function import Function


@dataclass
class Stack:
    """K replicates in training.

    step: optimiser steps done. curve: (step, mean training loss in nats over the last LOG_EVERY
    per replicate). recent: the losses [K] of the steps since the curve's last point. diverged: by
    the place of a replicate, how it ended.
    """

    network: StackedNetwork
    optimizer: Optimizer
    seeds: tuple[int, ...]
    step: int = 0
    curve: list[tuple[int, list[float]]] = field(default_factory=list)
    recent: list[Tensor] = field(default_factory=list)
    diverged: dict[int, str] = field(default_factory=dict)

    def curve_of(self, place: int) -> tuple[tuple[int, float], ...]:
        """The training curve of one replicate."""
        return tuple((step, losses[place]) for step, losses in self.curve)


class StackTrainer:
    """Trains and scores stacks on a processor, with the data and settings of a trainer."""

    def __init__(self, trainer: Trainer) -> None:
        assert isinstance(trainer.input, TrainingInput)  # networks of ours read images
        self.trainer, self.training, self.input = trainer, trainer.training, trainer.input

    def new_stack(self, function: Function, seeds: Sequence[int], kernel: str = "") -> Stack:
        """A stack with the fresh weights of the children with these seeds."""
        trainer = self.trainer
        network = StackedNetwork([trainer.network(function, seed, kernel) for seed in seeds])
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Stack(network, trainer.optimizer(network), tuple(seeds))

    def train(self, stack: Stack, steps: int, alive: Iterator[None] | None = None) -> None:
        """Train up to `steps` optimiser steps in all, or until all replicates have diverged.

        `alive` is advanced once per step and may raise, for instance OutOfTime.
        """
        stack.network.train()
        parameters = trained_parameters(stack.optimizer)
        half = self.training.precision == "bf16"
        while stack.step < steps and len(stack.diverged) < len(stack.seeds):
            if alive is not None:
                next(alive)
            images, labels = self.input.stacked(stack.seeds, stack.step)
            set_rate(stack.optimizer, self.trainer.learning_rate(stack.step))
            for parameter in parameters:
                parameter.grad = None
            with self.trainer.precision() if half else nullcontext():
                logits = stack.network(images).float()
            losses = F.cross_entropy(logits, labels, reduction="none").mean(1)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            stack.optimizer.step()
            stack.step += 1
            stack.recent.append(losses.detach())
            if stack.step % LOG_EVERY == 0 or stack.step == steps:
                self._look(stack)

    def _look(self, stack: Stack) -> None:
        """Set aside what has diverged, and add a point to the curve when it is due."""
        recent = torch.stack(stack.recent)  # [steps, K]
        ceiling = self.training.diverged_above * self.trainer.objective.chance_loss
        bad = ~(recent <= ceiling)
        for place in bad.any(0).nonzero().flatten().tolist():
            row = int(bad[:, place].nonzero()[0])
            step = stack.step - len(recent) + row + 1
            message = f"training loss {float(recent[row, place]):.3g} at step {step}"
            stack.diverged.setdefault(place, message)
        if stack.step % LOG_EVERY == 0:
            stack.curve.append((stack.step, recent.mean(0).tolist()))
            stack.recent = []

    @torch.no_grad()
    def score(self, stack: Stack, split: Resident) -> list[Score]:
        """The score of every replicate; its loss is not finite where it blew up."""
        stack.network.eval()
        count, images = len(stack.seeds), len(split.labels)
        loss, right = torch.zeros(count, dtype=torch.float64), []
        size = max(1, self.trainer.evaluation_batch // count)
        for start in range(0, images, size):
            batch = self.trainer.normalise(split.images[start : start + size])
            labels = split.labels[start : start + size].expand(count, -1)
            with self.trainer.precision():
                logits = stack.network(batch.expand(count, *batch.shape)).float()
            loss += F.cross_entropy(logits, labels, reduction="none").sum(1).cpu()
            right.append((logits.argmax(1) == labels).cpu().numpy())
        correct = np.concatenate(right, axis=1)
        return [
            Score(total / images, float(row.mean()), row)
            for total, row in zip(loss.tolist(), correct, strict=True)
        ]


def save_stack(stack: Stack, path: Path) -> None:
    """Write a stack as it stands, atomically."""
    note = {
        "step": stack.step,
        "seeds": stack.seeds,
        "curve": stack.curve,
        "diverged": list(stack.diverged.items()),
    }
    more = {"recent": torch.stack(stack.recent)} if stack.recent else {}
    write_checkpoint(path, stack.network, stack.optimizer, note, more)


def load_stack(stack: Stack, path: Path, at_most: int) -> bool:
    """Put a saved state into a fresh stack; False where there is none that is usable, and the
    stack is to be trained from its start.
    """
    found = read_checkpoint(path)
    if found is None or found.note["step"] > at_most or tuple(found.note["seeds"]) != stack.seeds:
        return False
    found.restore(stack.network, stack.optimizer)
    stack.recent = list(found.tensors["recent"].unbind()) if "recent" in found.tensors else []
    stack.step = found.note["step"]
    stack.curve = [(int(step), losses) for step, losses in found.note["curve"]]
    stack.diverged = {int(place): message for place, message in found.note["diverged"]}
    return True
