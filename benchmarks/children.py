"""Children set up exactly as the evaluator sets them up, for programs that look inside a step.

The evaluator decides what a child is computed with (number format, kernel) when it makes a task;
a worker's Trainer then builds it. Here both happen in one process.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from hybridsearch.config import Config, DataConfig
from hybridsearch.evaluate.data import SearchData, load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.training import Child, Trainer
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve
from hybridsearch.pools.base import InlinePool


class Children:
    """The children of one config on a device. Raises: UserError as the evaluator does."""

    def __init__(self, config: Config, device: str = "cpu") -> None:
        chosen = config.model_copy(update={"device": device, "workers": 1})
        nowhere = Path(tempfile.gettempdir())  # nothing is kept
        self.evaluator = TrainingEvaluator(chosen, nowhere, InlinePool())
        data = data_for(config.data)
        self.trainer = Trainer(self.evaluator.config, data, torch.device(device))
        self.steps = config.training.steps

    def new(self, formula: str, seed: int = 0) -> Child:
        """A fresh child, computed as the evaluator's task says."""
        function = resolve(formula)
        task = self.evaluator.task(function.spec, function.key, self.steps, seed)
        return self.trainer.new_child(function, seed, task.kernel)


@lru_cache(maxsize=4)
def data_for(config: DataConfig) -> SearchData:
    """The data, read once per process."""
    return load_search_data(config)


def kernel_name(network: nn.Module) -> str:
    """What computes the activations of a network, as far as they tell."""
    kernels = [m.kernel for m in network.modules() if isinstance(m, Activation)]
    names = {getattr(k, "name", type(k).__name__) if k is not None else "eager" for k in kernels}
    return "+".join(sorted(map(str, names))) or "none"
