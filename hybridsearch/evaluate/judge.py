"""Config and data -> the objective: which loss and metric are meant, and what chance is in them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from hybridsearch.config import Config
from hybridsearch.digests import checksum, dump
from hybridsearch.errors import UserError, told
from hybridsearch.evaluate.data import SearchData
from hybridsearch.evaluate.draws import seeded
from hybridsearch.evaluate.losses import METRICS, STANDARDISED, loss_for, metric_for
from hybridsearch.evaluate.networks import check_network
from hybridsearch.evaluate.objective import Objective, Score, Tally
from hybridsearch.evaluate.own import digest_of_code, import_callable, own_code
from hybridsearch.evaluate.probe import probe
from hybridsearch.types import Measure, accuracy_of

PROBED = 10_000  # validation examples from which chance is estimated where it is not known
PIECE = 1 << 24  # numbers in the outputs that are judged at a time: 64 MiB


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
        loss,
        metric,
        data.outputs,
        measure,
        chance,
        prior=_prior(data) if loss == "cross_entropy" else None,
        mean=mean,
        std=std,
        own_loss=own_loss,
        own_metric=own_metric,
    )
    if objective.plain:
        return objective
    found = probe(config, data) if own_loss or not data.outputs else None
    probed = found.outputs if found else None
    objective = replace(objective, given=(max(1, data.outputs),) if probed is None else probed)
    try:
        nothing = _of_nothing(objective, data)
    except UserError as error:
        if found and found.fault:  # then it was given outputs of another shape than it expects
            name = config.network.name
            raise UserError(
                f"{error}; network {name!r} itself failed with {found.fault}"
            ) from error
        raise
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
    measure = _measure(config, metric, nothing.metric)
    return replace(objective, measure=measure, chance_loss=nothing.loss)


def _prior(data: SearchData) -> tuple[float, float] | None:
    """Cross-entropy and accuracy on validation data of the training frequencies of the classes;
    None where a class is missing in training.
    """
    seen, asked = (
        np.bincount(split.labels, minlength=data.classes) / len(split)
        for split in (data.train, data.validation)
    )
    if not seen.all():
        return None
    return -float(asked @ np.log(seen)), float(asked[seen.argmax()])


def _measure(config: Config, metric: str, chance: float) -> Measure:
    if metric in METRICS:
        higher, perfect = METRICS[metric]
        return Measure(metric, higher, chance, perfect)
    higher, best = config.metric.goal == "max", config.metric.perfect
    name = metric.partition(":")[2].rpartition(".")[2]
    if name in METRICS:  # what is known of that one need not be so of the user's
        name = metric
    return Measure(name, higher, chance, float(higher) if best is None else best)


def _of_nothing(objective: Objective, data: SearchData) -> Score:
    """What a network scores on validation data whose outputs are all 0: that is chance.

    Raises: UserError where a loss or metric of the user's fails there, or gives no finite number.
    """
    # A metric of the user's may need all, as one of ranks or of rare classes does.
    targets = torch.from_numpy(data.validation.labels[: None if objective.own_metric else PROBED])
    names = [n for n in (objective.loss_name, objective.metric_name) if ":" in n]
    shape = [len(targets), *objective.given]
    who = f"{' or '.join(names) or objective.loss_name}, given outputs {shape} that are all 0,"
    size = max(1, min(len(targets), PIECE // math.prod(objective.given)))
    zeros, tally = torch.zeros(size, *objective.given), Tally(objective)
    try:
        with seeded(0):
            objective.check(zeros, targets[:size])
            for part in torch.split(targets, size):
                tally.add(zeros[: len(part)], part)
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


def all_code_of(config: Config) -> dict[str, str]:
    """The same with the network, where that is the user's."""
    names = own_code(config)
    for name in names.values():  # all before any: what one does to sys.path is there for the others
        import_callable(name)
    found = code_of(config)
    if "network" in names:
        found["network"] = check_network(config.network)
    return found


def code_digest(config: Config) -> str:
    """16 hex digits that stand for all code of the user's that this process trains and judges
    children with; "" where there is none.
    """
    found = all_code_of(config)
    return checksum(dump(found), digits=16) if found else ""
