"""How children are judged: the loss that training lowers, and the metric that people read.

Classes have cross-entropy and accuracy. A regression's targets are standardised for the network
with mean and deviation of the training targets, and its outputs turned back for the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hybridsearch.errors import UserError
from hybridsearch.evaluate.losses import LOSSES, PerExample, columns
from hybridsearch.types import Measure, Scale


class Score(NamedTuple):
    """Mean loss, the metric, and the metric of every example ([N] bool or float32; [1] where it has
    no value per example).
    """

    loss: float
    metric: float
    each: NDArray[np.bool_] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Objective:
    """Loss and metric of a config on its data.

    loss_name, metric_name: those of `losses`, or package.module:callable. outputs: classes, or
    columns of the targets; 0 where only a network of the user's knows. measure, chance_loss: what
    metric and loss mean. given: shape of what a network gives for an example, where the loss is not
    cross-entropy. prior: cross-entropy and accuracy on validation data of who always says how
    frequent the classes are in training, where there are classes. mean, std: [columns] of the
    training targets where they are standardised, else None. own_loss, own_metric: the user's, or
    None.
    """

    loss_name: str
    metric_name: str
    outputs: int
    measure: Measure
    chance_loss: float
    given: tuple[int, ...] = ()
    prior: tuple[float, float] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None
    own_loss: PerExample | None = None
    own_metric: PerExample | None = None

    @property
    def plain(self) -> bool:
        """Whether it is cross-entropy and accuracy, which stacks and recordings know."""
        return (self.loss_name, self.metric_name) == ("cross_entropy", "accuracy")

    def scale(self, fitness: str) -> Scale:
        """What a score means.

        Raises: UserError for accuracy where that is not the metric, and where perfect is no better
        than chance.
        """
        if fitness == "accuracy" and self.metric_name != "accuracy":
            raise UserError(
                "fitness: expected loss or metric, got accuracy, but the metric is "
                f"{self.metric_name}"
            )
        scale = Scale.of(fitness, self.measure, self.chance_loss)
        if scale.perfect <= scale.chance:
            raise UserError(self._no_scale())
        return scale

    def _no_scale(self) -> str:
        """That perfect is no better than chance in the metric, which rewards cannot be made of."""
        name, chance, perfect = self.measure.name, self.measure.chance, self.measure.perfect
        if self.own_metric is None:
            return (
                f"fitness: {name} is already {chance:g} for outputs that are all 0, and the best "
                f"is {perfect:g}; take fitness loss, or a metric of your own"
            )
        side = "above" if self.measure.higher else "below"
        return (
            f"metric.perfect: expected a number {side} what {name} is for outputs that are all 0, "
            f"{chance:g}, got {perfect:g}; set it to the best value there is, or see "
            "whether metric.goal is right"
        )

    def to(self, device: torch.device) -> Objective:
        """The same on a device."""
        if self.mean is None or self.std is None:
            return self
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar; outputs: [B, ...] float32."""
        if self.loss_name == "cross_entropy":
            return F.cross_entropy(outputs, targets)  # one call where `losses` takes two
        return self.losses(outputs, targets).mean()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of every example, [B]; a loss of the user's may give their mean instead."""
        if self.own_loss is not None:
            return self.own_loss(outputs, targets)
        return LOSSES[self.loss_name](outputs, self.standardised(targets))

    def standardised(self, targets: Tensor) -> Tensor:
        """Targets as the network is to give them."""
        if self.mean is None or self.std is None:
            return targets
        return (targets.reshape(len(targets), -1) - self.mean) / self.std

    def in_units(self, outputs: Tensor) -> Tensor:
        """Outputs in the units and the shape of the targets, where these are standardised."""
        if self.mean is None or self.std is None:
            return outputs
        flat = outputs.reshape(len(outputs), -1) * self.std + self.mean
        return flat.reshape(outputs.shape)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """A built-in metric of every example, [B]."""
        if self.metric_name == "loss":
            return self.losses(outputs, targets)
        if self.metric_name == "accuracy" and self.loss_name == "cross_entropy":
            return outputs.argmax(1) == targets
        if self.metric_name == "r2":
            outputs, wanted = columns(outputs, self.standardised(targets))
            return 1 - (outputs - wanted).square().mean(1)
        outputs, targets = columns(self.in_units(outputs), targets)
        if self.metric_name == "accuracy":
            return ((outputs > 0) == (targets > 0.5)).float().mean(1)
        gap = outputs - targets
        return (gap.square() if self.metric_name == "mse" else gap.abs()).mean(1)

    def prior_score(self, fitness: str) -> float | None:
        """The score of `prior`; None where there is none."""
        if self.prior is None:
            return None
        if fitness == "loss":
            return -self.prior[0]
        return self.prior[1] if self.plain else None

    def loss_of_nothing(self, targets: Tensor) -> float:
        """The mean loss of a batch's targets for outputs that are all 0."""
        zeros = torch.zeros(len(targets), *self.given, device=targets.device)
        return float(self.loss(zeros, targets))

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """See whether the loss can judge outputs of a batch. Raises: ValueError in one line where
        it cannot.
        """
        if self.loss_name == "cross_entropy":
            expected = [len(targets), self.outputs]
            if list(outputs.shape) != expected:
                raise ValueError(f"expected logits of shape {expected}, got {list(outputs.shape)}")
        elif self.own_loss is None and outputs.numel() != targets.numel():
            raise ValueError(
                f"expected outputs of shape {list(targets.shape)}, as the targets, got "
                f"{list(outputs.shape)}"
            )
        if self.own_loss is not None:
            made = self.own_loss(outputs, targets)
            got = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
            if got not in ([], [1], [len(targets)]):
                raise ValueError(
                    "expected of your loss a tensor with that of every example, "
                    f"[{len(targets)}], or their mean, got {got}"
                )


@dataclass
class Tally:
    """Adds up batches of a split. Values stay on the device until the end: the host waits once."""

    objective: Objective
    count: int = 0
    _lumped: bool = False  # whether a loss of the user's gave means of batches
    _losses: list[Tensor] = field(default_factory=list)
    _each: list[Tensor] = field(default_factory=list)
    _pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Outputs of a network, [B, ...] float32, and their targets."""
        objective = self.objective
        self.count += len(targets)
        if objective.loss_name == "cross_entropy":
            self._losses.append(F.cross_entropy(outputs, targets, reduction="sum"))
        else:
            self._losses.append(objective.losses(outputs, targets).mean() * len(targets))
        if objective.own_metric is None:
            each = objective.metric(outputs, targets).reshape(-1)
            self._lumped |= len(each) != len(targets)
            self._each.append(each.expand(len(targets)))
        else:
            self._pairs.append((objective.in_units(outputs), targets))

    def score(self) -> Score:
        """Loss and metric of all that was added; they may be infinite or nan. A metric of the
        user's is asked only where the loss is finite: it may raise at the outputs of a network that
        has diverged, which is not the machine's fault.

        Raises: ValueError where a metric of the user's gives neither one number nor one per
        example.
        """
        loss = sum(torch.stack(self._losses).tolist()) / self.count
        if self.objective.own_metric is None:
            each = torch.cat(self._each).cpu().numpy()
            if self._lumped:  # examples that share a mean tell nothing of how examples differ
                each = each.mean(keepdims=True)
        elif not math.isfinite(loss):
            each = np.full(1, math.nan, dtype=np.float32)
        else:
            outputs, targets = (torch.cat(parts).cpu() for parts in zip(*self._pairs, strict=True))
            made = self.objective.own_metric(outputs, targets)
            each = np.asarray(made, dtype=np.float32)
            if each.shape not in ((), (1,), (self.count,)):
                raise ValueError(
                    "expected of your metric a value per example, "
                    f"[{self.count}], or one number, got shape {list(each.shape)}"
                )
            each = each.reshape(-1)
        return Score(loss, float(each.mean()), each)
