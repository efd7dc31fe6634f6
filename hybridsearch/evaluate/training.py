"""Training one child, step by step, so that it can stop at a rung and go on later.

A child's course depends on its function, seed and settings alone: the order of the data, the
augmentation and what a network of the user's draws at random (`draws`) are functions of (seed,
step), and the learning rate of the step, never of how far the child will be trained. A child
stopped at a rung and continued from its checkpoint therefore equals one that was trained straight
through, bit for bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridsearch.config import Config
from hybridsearch.evaluate import draws
from hybridsearch.evaluate.accelerator import Accelerator, accelerator_for, say_once
from hybridsearch.evaluate.checkpoint import (
    read_checkpoint,
    trained_parameters,
    write_checkpoint,
)
from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.given import GivenInput
from hybridsearch.evaluate.graph import WARM_UP, WORTH, GraphedStep, Update, set_rate, steer
from hybridsearch.evaluate.initialise import second_moment
from hybridsearch.evaluate.input import Resident, TrainingInput
from hybridsearch.evaluate.judge import make_objective
from hybridsearch.evaluate.networks import build_network, built_in
from hybridsearch.evaluate.objective import Score, Tally
from hybridsearch.evaluate.own import own_code
from hybridsearch.evaluate.recompute import NormActivation
from hybridsearch.genome.activation import Activation, parameter_groups
from hybridsearch.genome.function import Function
from hybridsearch.kernels.choose import make

EVALUATION_BATCH = 1000  # images per forward pass when scoring on a device
CPU_EVALUATION_BATCH = 250  # and on a CPU, whose caches hold no more: 1.5 times as fast as 1000
LOG_EVERY = 10  # steps per point of the training curve, and between looks at the loss on a GPU


class Diverged(Exception):
    """The training blew up; the message says at which step and how."""


class OutOfTime(Exception):
    """The training took longer than its limit."""


@dataclass
class Child:
    """A network in training.

    step: optimiser steps done. curve: (step, mean training loss in nats over the last LOG_EVERY).
    recent: the losses of the steps since the curve's last point.
    """

    network: nn.Module
    optimizer: Optimizer
    seed: int
    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    recent: list[Tensor] = field(default_factory=list)

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in the optimiser's order."""
        return trained_parameters(self.optimizer)


class Trainer:
    """Trains and scores children on one data set; holds the whole set on the device."""

    def __init__(
        self,
        config: Config,
        data: SearchData,
        device: torch.device,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.config, self.training, self.device = config, config.training, device
        self.accelerator = accelerator or accelerator_for(device)
        self.objective = make_objective(config, data).to(device)
        self.shape = data.in_shape
        normalised = config.data.inputs == "normalised"
        self.images = normalised and len(self.shape) == 3
        # For networks of ours, which are faster so; one of the user's may count on torch's order.
        self.last = self.images and built_in(config.network.name) is not None
        size = self.training.batch_size
        batch = CPU_EVALUATION_BATCH if device.type == "cpu" else EVALUATION_BATCH
        # A network of the user's may be as large as memory allows at its batch size.
        self.evaluation_batch = batch if built_in(config.network.name) else min(batch, 4 * size)
        self.own = bool(own_code(config))  # then something may draw at random
        self.input = (
            TrainingInput(
                data,
                size,
                config.data.augment,
                device,
                self.accelerator.lane,
                by_index=self.accelerator.asynchronous,
                last=self.last,
            )
            if self.images
            else GivenInput(data, size, device, normalised)
        )
        self.train_split = self.input.split
        self.validation = Resident.load(data.validation, device)

    def new_child(self, function: Function, seed: int, kernel: str = "") -> Child:
        """A child with fresh weights.

        kernel: how its activations are computed (`kernels.choose`).
        """
        network = self.network(function, seed, kernel)
        optimizer = self.optimizer(network)
        if self.accelerator.asynchronous:
            steer(optimizer, self.device)
        return Child(network, optimizer, seed)

    def network(self, function: Function, seed: int, kernel: str = "") -> nn.Module:
        """A network with fresh weights, on the device."""
        network = build_network(
            self.config.network,
            lambda channels, axis: Activation(function, channels, axis),
            self.shape,
            self.objective.outputs,
            seed,
            second_moment(function),
        ).to(self.device)
        if self.last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        made = make(kernel, function)
        for module in network.modules():
            if isinstance(module, Activation) and module.function.key == function.key:
                module.kernel = made
            elif isinstance(module, NormActivation):
                module.recompute = self.training.recompute
        return network

    def optimizer(self, network: nn.Module) -> Optimizer:
        """SGD or AdamW; weight decay spares betas, biases and norms."""
        # In one call for all parameters; with gaps in memory that would silently be wrong.
        dense = all(_is_dense(p) and p.is_floating_point() for p in network.parameters())
        groups = parameter_groups(network, self.training.weight_decay)
        fused = dense and self.device.type != "meta"
        if self.training.optimizer == "adamw":
            return torch.optim.AdamW(
                groups,
                lr=self.training.lr,
                fused=fused,
                capturable=self.accelerator.asynchronous,  # asked for by graphs, fused or not
            )
        momentum = self.training.momentum
        sgd = torch.optim.SGD(
            groups, lr=self.training.lr, momentum=momentum, nesterov=momentum > 0, fused=fused
        )
        if momentum and built_in(self.config.network.name) is None:
            # PyTorch's fused SGD fails where a layer that was skipped at first gets its gradient
            # later than others: it wants buffers for all or for none.
            for p in network.parameters():
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then constant, then 1/sqrt(step) after `hold`: no horizon in it. With
        `drops`, constant between them.
        """
        t = self.training
        rise = min(1.0, (step + 1) / t.warmup) if t.warmup else 1.0
        if t.drops:
            return t.lr * rise * t.drop ** sum(step >= round(at * t.steps) for at in t.drops)
        return t.lr * rise * min(1.0, math.sqrt(t.hold / (step + 1)))

    def train(self, child: Child, steps: int, alive: Iterator[None] | None = None) -> None:
        """Train up to `steps` optimiser steps in all.

        `alive` is advanced once per step and may raise, for instance OutOfTime.
        Raises: Diverged when the loss is not finite or far above chance.
        """
        with self.accelerator.aside():
            for _ in self.course(child, steps, alive):
                pass

    def course(
        self, child: Child, steps: int, alive: Iterator[None] | None = None
    ) -> Iterator[None]:
        """`train` as a generator that gives way after every step, so that children take turns on
        a device. It looks at the loss in its next turn, when the others have work queued.
        """
        child.network.train()
        ceiling = self.training.diverged_above * self.objective.chance_loss
        every = LOG_EVERY if self.accelerator.asynchronous else 1  # a look waits for a GPU
        take_step = self._step(child, steps)
        while child.step < steps:
            if alive is not None:
                next(alive)
            plan = self.input.plan(child.seed, child.step)
            set_rate(child.optimizer, self.learning_rate(child.step))
            child.recent.append(take_step(plan))
            child.step += 1
            yield
            if child.step % every == 0 or child.step == steps:
                worst = float(torch.stack(child.recent).max())
                if not worst <= ceiling and not self._is_tail(child):
                    raise Diverged(f"training loss {worst:.3g} at step {child.step}")
            if child.step % LOG_EVERY == 0:
                child.curve.append((child.step, float(torch.stack(child.recent).mean())))
                child.recent = []

    def _is_tail(self, child: Child) -> bool:
        """Whether recent losses are above the ceiling for their targets alone, as a batch of a
        heavy-tailed regression may be: then outputs of 0 have such a loss there too.
        """
        if self.objective.loss_name == "cross_entropy":
            return False
        first = child.step - len(child.recent)
        for step, loss in enumerate(torch.stack(child.recent).tolist(), first):
            nothing = self.objective.loss_of_nothing(self.batch(child.seed, step)[1])
            chance = max(nothing, self.objective.chance_loss)
            if not loss <= self.training.diverged_above * chance:
                return False
        return True

    def update(self, child: Child, images: Tensor, labels: Tensor) -> Tensor:
        """Forward, backward and one optimiser step; returns the loss, detached."""
        child.optimizer.zero_grad(set_to_none=True)
        with self.precision():
            loss = self.objective.loss(child.network(images).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        child.optimizer.step()
        return loss.detach()

    @property
    def graphed(self) -> bool:
        """Whether steps are captured as graphs, where that pays."""
        own = built_in(self.config.network.name) is None or not self.objective.plain
        allowed = self.training.graph == "on" or (self.training.graph == "auto" and not own)
        return allowed and self.accelerator.captures

    def _step(self, child: Child, steps: int) -> Update:
        """The step of a child from the plan of its batch, as a graph where that is allowed and
        pays.
        """

        def plain(plan: Tensor) -> Tensor:
            return self.update(child, *self.input.made(plan))

        if self.graphed and steps - child.step >= WARM_UP + WORTH:
            graph = GraphedStep(self.accelerator, plain, LOG_EVERY)
            return self._drawing(child, plain, graph) if self.own else graph
        return self._drawing(child, plain) if self.own else plain

    def _drawing(self, child: Child, plain: Update, graph: GraphedStep | None = None) -> Update:
        """A step with code of the user's, which draws from a seed of its own (`draws`); captured
        only where its first call draws nothing: graphs share what they draw from.
        """
        step: Update = graph or plain
        unseen = graph is not None

        def drawing(plan: Tensor) -> Tensor:
            nonlocal step, unseen
            draws.begin("step", child.seed, child.step)
            if not unseen:
                return step(plan)
            unseen, before = False, draws.states()
            loss = step(plan)
            if draws.states() != before:
                say_once("training steps draw at random and run without a CUDA graph, more slowly")
                step = plain
            return loss

        return drawing

    def precision(self) -> torch.autocast:
        """The number format of the forward pass; weights stay fp32."""
        half = self.training.precision == "bf16"
        # A graph may not read bf16 copies of the weights that were cached before its capture.
        cached = not self.accelerator.asynchronous
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=half, cache_enabled=cached
        )

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The normalised, augmented batch of a step: [B, C, H, W] float32 and [B] int64, or inputs
        and targets as they were given.
        """
        return self.input.batch(seed, step)

    def normalise(self, images: Tensor) -> Tensor:
        return self.input.normalise(images)

    @torch.no_grad()
    def examine(self, child: Child) -> None:
        """See whether an untrained network can be trained and scored at all, as a user's own may
        not: on a batch of training, and one of scoring. Raises: ValueError for outputs of another
        shape, or that are not finite, or that the loss cannot judge; and what the network raises.
        """
        images, labels = self.batch(0, 0)
        draws.begin("examine")
        for training in (True, False):
            child.network.train(training)
            with self.precision():
                outputs = child.network(images)
            if not isinstance(outputs, Tensor):
                raise ValueError(f"expected a tensor as output, got {type(outputs).__name__}")
            self.objective.check(outputs.float(), labels)
            if not bool(outputs.isfinite().all()):
                mode = "training" if training else "evaluation"
                raise ValueError(f"the outputs are not finite before any step, in {mode} mode")
        if self.own:  # ours scores what it trains
            with self.precision():
                child.network(self.normalise(self.validation.images[: self.evaluation_batch]))

    @torch.no_grad()
    def score(self, child: Child, split: Resident) -> Score:
        """Mean loss, metric, and the metric of every example: of classes cross-entropy in nats,
        accuracy in 0..1, and which were right (bool [N]).

        Raises: Diverged when the loss is not finite.
        """
        child.network.eval()
        if self.own:
            draws.begin("score", child.seed, child.step)
        tally = Tally(self.objective)
        size = self.evaluation_batch
        for start in range(0, len(split.labels), size):
            images = self.normalise(split.images[start : start + size])
            labels = split.labels[start : start + size]
            with self.precision():
                tally.add(child.network(images).float(), labels)
        score = tally.score()
        if not math.isfinite(score.loss):
            raise Diverged(f"loss is {score.loss} in evaluation after step {child.step}")
        return score


def _is_dense(x: Tensor) -> bool:
    """Whether a tensor fills its memory, in one of the orders that networks use."""
    return x.is_contiguous() or (
        x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    )


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
    recent = found.tensors.get("recent", torch.empty(0))
    child.recent = list(recent.to(child.parameters()[0].device).unbind())
    child.step = found.note["step"]
    child.curve = [(int(s), float(v)) for s, v in found.note["curve"]]
    return True
