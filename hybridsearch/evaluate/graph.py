"""The optimiser step of one child, captured as a CUDA graph and replayed.

A small network's step is hundreds of short kernels, and launching them takes longer than running
them; a graph is launched at once. What a graph reads must stay where it was at capture: the plan of
the batch is copied into a buffer, and the learning rate is a tensor on the device. The batch itself
is made inside: gathering, normalising and augmenting it are twenty launches more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from hybridsearch.errors import first_line
from hybridsearch.evaluate.accelerator import Accelerator, Replay, say_once

# Steps run plainly before the capture, as PyTorch's notes on CUDA graphs ask: libraries set
# themselves up, kernels compile, the optimiser makes its buffers. They are real steps of the child.
WARM_UP = 3
WORTH = 4  # steps to go from which a capture (the time of one or two of them) pays

Update = Callable[[Tensor], Tensor]


class GraphedStep:
    """Calls `update(plan) -> loss` a few times, then captures it and replays it.

    update must do the same work at every call and never look at a value. Losses go into a ring of
    `keep` places on the device: a loss that was returned is overwritten `keep` steps later.
    """

    def __init__(self, accelerator: Accelerator, update: Update, keep: int) -> None:
        self.accelerator, self.update, self.keep = accelerator, update, keep
        self._steps = 0
        self._replay: Replay | None = None
        self._plan = self._loss = self._ring = torch.empty(0)

    def __call__(self, plan: Tensor) -> Tensor:
        """One step; returns its loss, on the device. Raises: what `update` raises, and the
        device's exception where memory does not suffice for a capture.
        """
        self._steps += 1
        if self._replay is None and self._steps > WARM_UP and self.accelerator.captures:
            self._replay = self._capture(plan)
        if self._replay is None:
            return self.update(plan)
        self._plan.copy_(plan)
        self._replay()
        if len(self._ring) != self.keep:
            self._ring = self._loss.new_empty((self.keep, *self._loss.shape))
        place = self._ring[self._steps % self.keep]
        return place.copy_(self._loss)

    def _capture(self, plan: Tensor) -> Replay | None:
        """None where the step cannot be captured; then no other child of this process tries."""
        self._plan = plan.clone()
        try:
            return self.accelerator.capture(self._work)
        except RuntimeError as error:
            if self.accelerator.exhausted(error):
                raise
            self.accelerator.captures = False
            reason = first_line(error.__context__ or error)
        say_once(f"training steps run without a CUDA graph, more slowly: {reason}")
        return None

    def _work(self) -> None:
        self._loss = self.update(self._plan)


def steer(optimizer: Optimizer, device: torch.device) -> None:
    """Make the learning rate of all groups one tensor on the device, which a graph can read."""
    rate = torch.full((), float(optimizer.param_groups[0]["lr"]), device=device)
    for group in optimizer.param_groups:
        group["lr"] = rate


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """The learning rate of the next step, wherever it is kept; the host does not wait."""
    if isinstance(shared := optimizer.param_groups[0]["lr"], Tensor):
        shared.fill_(rate)
        return
    for group in optimizer.param_groups:
        group["lr"] = rate
