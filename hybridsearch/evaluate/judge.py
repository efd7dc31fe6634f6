"""Config and data -> the objective: which loss and metric are meant, and what chance is in them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from hybridsearch.config import Config
from hybridsearch.errors import UserError, told
from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.draws import seeded
from hybridsearch.evaluate.losses import METRICS, STANDARDISED, loss_for, metric_for
from hybridsearch.evaluate.objective import Objective, Score, Tally
from hybridsearch.evaluate.own import digest_of_code, import_callable, own_code
from hybridsearch.evaluate.probe import probe
from hybridsearch.types import Measure, accuracy_of

PROBED = 10_000  # validation examples from which chance is estimated where it is not known


def make_objective(config: Config, data: SearchData) -> Objective:
    """The objective of a config on its data.

    Raises: UserError when loss and metric do not fit the targets, or cannot be imported, or when
    the loss is not above 0 for outputs that are all 0.
    """
    loss = loss_for(config.training.loss, data)
    metric = metric_for(config.metric.name, loss)
    mean = std = None
    if loss in STANDARDISED:
        columns = data.train.labels.reshape(len(data.train), -1).astype(np.float64)
        deviation = columns.std(0)
        mean = torch.tensor(columns.mean(0), dtype=torch.float32)
        std = torch.tensor(np.where(deviation > 0, deviation, 1.0), dtype=torch.float32)
    own_loss = import_callable(loss) if ":" in loss else None
    own_metric = import_callable(metric) if ":" in metric else None
    measure, chance = accuracy_of(max(2, data.classes)), math.log(max(2, data.classes))
    objective = Objective(
        loss, metric, data.outputs, measure, chance, mean, std, own_loss, own_metric
    )
    if objective.plain:
        return objective
    nothing = _of_nothing(objective, config, data)
    if nothing.loss <= 0:  # where it ends, and above which multiple a training has diverged
        what = (
            "add a constant to yours, so that it is 0 at best"
            if own_loss
            else "the validation targets do not differ from what it says then"
        )
        raise UserError(
            f"training.loss {loss}: expected a loss above 0 for outputs that are all 0, got "
            f"{nothing.loss:g}; the best loss is taken to be 0: {what}"
        )
    found = _measure(config, metric, nothing.metric)
    return replace(objective, measure=found, chance_loss=nothing.loss)


def _measure(config: Config, metric: str, chance: float) -> Measure:
    if metric in METRICS:
        higher, perfect = METRICS[metric]
        return Measure(metric, higher, chance, perfect)
    higher, best = config.metric.goal == "max", config.metric.perfect
    name = metric.partition(":")[2].rpartition(".")[2]
    return Measure(name, higher, chance, float(higher) if best is None else best)


def _of_nothing(objective: Objective, config: Config, data: SearchData) -> Score:
    """What a network scores on validation data whose outputs are all 0: that is chance.

    Raises: UserError where a loss or metric of the user's fails there, or gives no finite number.
    """
    targets = torch.from_numpy(data.validation.labels[:PROBED])
    found = probe(config, data) if objective.own_loss or not data.outputs else None
    probed = found.outputs if found else None
    shape = [len(targets), *((max(1, data.outputs),) if probed is None else probed)]
    names = [n for n in (config.training.loss, config.metric.name) if ":" in n]
    who = f"{' or '.join(names) or objective.loss_name}, given outputs {shape} that are all 0,"
    tally = Tally(objective)
    try:
        with seeded(0):
            objective.check(torch.zeros(shape), targets)
            tally.add(torch.zeros(shape), targets)
            score = tally.score()
    except Exception as error:
        raise UserError(f"{who} failed with {told(error)}") from error
    if not (math.isfinite(score.loss) and math.isfinite(score.metric)):
        raise UserError(
            f"{who} should give finite numbers, got loss {score.loss:g}, metric {score.metric:g}"
        )
    return score


def code_of(config: Config) -> dict[str, str]:
    """What identifies the code of a loss and a metric of the user's, by setting."""
    names = own_code(config)
    return {word: digest_of_code(names[word]) for word in ("loss", "metric") if word in names}
