"""What was published: the accuracies of the paper's tables, and how the networks are trained.

Source: Ramachandran, Zoph and Le 2017 (arXiv 1710.05941), tables 1, 2, 4 and 5, median test
accuracy of five trainings in percent; the training settings are those of the networks' papers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from hybridsearch.config import Config, DataConfig, NetworkConfig, TrainingConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import VALIDATION
from hybridsearch.genome.function import BASELINES, PAPER_FOUND, Function, resolve
from hybridsearch.types import Json

LABELS = {  # the columns of the tables, network -> heading
    "preresnet164": "ResNet-164",
    "wrn28-10": "WRN-28-10",
    "densenet100-12": "DenseNet-100-12",
}
NETWORKS = tuple(LABELS)
SETS = {"baselines": BASELINES, "paper-found": PAPER_FOUND}  # functions with a name together
FULL_WIDTH = 16  # channels of the first stage, of a wide ResNet times its factor
NUMBERS = {"cifar10": 4, "cifar100": 5}  # of the tables of baselines
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

_ROWS = {
    "LReLU": (94.2, 95.6, 94.7, 74.2, 78.0, 83.3),
    "PReLU": (94.1, 95.1, 94.5, 74.5, 77.3, 81.5),
    "Softplus": (94.6, 94.9, 94.7, 76.0, 78.4, 83.7),
    "ELU": (94.1, 94.1, 94.4, 75.0, 76.0, 80.6),
    "SELU": (93.0, 93.2, 93.9, 73.2, 74.3, 80.8),
    "GELU": (94.3, 95.5, 94.8, 74.7, 78.0, 83.8),
    "ReLU": (93.8, 95.3, 94.8, 74.2, 77.8, 83.7),
    "Swish-1": (94.7, 95.5, 94.8, 75.1, 78.5, 83.8),
    "Swish": (94.5, 95.5, 94.8, 75.1, 78.0, 83.9),
    "max(x, sigmoid(x))": (94.3, 95.3, 94.8, 74.8, 78.6, 84.2),
    "cos(x)-x": (94.1, 94.8, 94.6, 75.2, 76.6, 81.8),
    "min(x, sin(x))": (94.0, 95.1, 94.4, 73.4, 77.1, 74.3),
    "atan(x)^2-x": (93.9, 94.7, 94.9, 75.2, 76.7, 83.1),
    "max(x, tanh(x))": (93.9, 94.2, 94.5, 74.8, 76.0, 78.6),
    "sinc(x)+x": (91.5, 92.1, 92.0, 66.1, 68.3, 67.9),
    "x*asinh(x)^2": (85.1, 92.1, 91.1, 52.8, 70.6, 68.1),
}


@cache
def _names() -> dict[str, str]:
    """Key -> name of the published functions."""
    return {resolve(name).key: name for name in _ROWS}


def name_of(function: Function) -> str | None:
    """The name under which a function was published, however it is spelt."""
    return _names().get(function.key)


def accuracy(data: str, network: str, function: Function) -> float | None:
    """The published accuracy of a function, in 0..1; None where there is none. Of a network that
    the paper does not have it is the mean over those that it has.
    """
    name = name_of(function)
    if data not in NUMBERS or name is None:
        return None
    first = 0 if data == "cifar10" else len(NETWORKS)
    row = _ROWS[name][first : first + len(NETWORKS)]
    if network in NETWORKS:
        return row[NETWORKS.index(network)] / 100
    return sum(row) / len(row) / 100


@dataclass(frozen=True)
class Settings:
    """How a network is trained. steps: optimiser steps on CIFAR, 50,000 images an epoch."""

    source: str
    steps: int
    batch_size: int
    weight_decay: float
    drops: tuple[float, ...]
    drop: float = 0.1
    warmup: int = 0
    lr: float = 0.1

    def training(self) -> dict[str, Json]:
        names = ("steps", "batch_size", "weight_decay", "drops", "drop", "warmup", "lr")
        return {name: getattr(self, name) for name in names}


_OF_FAMILY = {
    r"resnet\d+": Settings("He et al. 2016, 4.2", 64_000, 128, 1e-4, (0.5, 0.75)),
    r"preresnet\d+": Settings("He et al. 2016b", 64_000, 128, 1e-4, (0.5, 0.75), warmup=400),
    r"wrn\d+-\d+": Settings(
        "Zagoruyko and Komodakis 2016, 3", 78_200, 128, 5e-4, (0.3, 0.6, 0.8), 0.2
    ),
    r"densenet\d+-\d+": Settings("Huang et al. 2017, 4.2", 234_600, 64, 1e-4, (0.5, 0.75)),
}


def settings(network: str) -> Settings | None:
    """How the family of a network is trained; None for others."""
    found = (one for pattern, one in _OF_FAMILY.items() if re.fullmatch(pattern, network))
    return next(found, None)


@dataclass(frozen=True)
class Scale:
    """A size of the experiment. training: what differs from the published settings."""

    networks: tuple[str, ...]
    width: int = FULL_WIDTH
    training: Mapping[str, Json] = field(default_factory=dict)
    seeds: int = 5


SCALES = {
    "full": Scale(NETWORKS),
    "small": Scale(
        ("resnet8",),
        training={"steps": 750, "batch_size": 64, "warmup": 40},
    ),
    "tiny": Scale(
        ("resnet8",),
        width=8,
        training={"steps": 200, "batch_size": 64, "warmup": 20},
    ),
}


# What a benchmark takes of these sections: it changes nothing of what was published.
_OWN = {
    "data": ("folder", "split_seed", "validation"),
    "network": (),
    "training": ("kernel", "graph", "recompute", "stack", "diverged_above"),
}
# Asked for by options of the command, of no use beside `drops`, or taken where it is set.
_ELSEWHERE = ("name", "width", "steps", "hold", "precision")


def config_of(base: Config, data: str, network: str, scale: Scale) -> Config:
    """The config of one column: published settings, and what the scale changes of them.

    base: gives seed, workers, device, where the data are and what else is _OWN. Weights are drawn
    as He et al. 2015 for every function, since that is how the tables were made.
    """
    known = settings(network)
    own = {s: {n: getattr(getattr(base, s), n) for n in names} for s, names in _OWN.items()}
    precise = "precision" in base.training.model_fields_set
    training = {
        **own["training"],
        **(known.training() if known else {}),
        **scale.training,
        "precision": base.training.precision if precise else "auto",
    }
    return base.model_copy(
        update={
            "fitness": "accuracy",
            "data": DataConfig(**own["data"], name=data, augment="crop_flip"),
            "network": NetworkConfig(name=network, width=scale.width, init="he"),
            "training": TrainingConfig(**training),
        }
    )


def expect_published(base: Config, columns: Sequence[tuple[str, Config]]) -> None:
    """That base asks for nothing that `config_of` passes over. columns: networks and their configs.

    Raises: UserError that names the first setting that is neither the default nor one of theirs.
    """
    for section, own in _OWN.items():
        asked = getattr(base, section)
        for name, about in type(asked).model_fields.items():
            if name in _ELSEWHERE or (name in own and name != "validation"):
                continue
            value = getattr(asked, name)
            fine = [getattr(getattr(config, section), name) for _, config in columns]
            if name == "validation":
                fine = [VALIDATION[config.data.name] for _, config in columns]
            if section == "training":  # a scale may have changed it
                fine += [getattr(settings(network), name, fine[0]) for network, _ in columns]
            if value not in (about.default, *fine):
                usual = "its default" if fine[0] is None else repr(fine[0])
                other = "try others with --lr-grid" if name == "lr" else "leave it out"
                raise UserError(
                    f"{section}.{name}: a benchmark trains as was published, with {usual}, "
                    f"not {value!r}; {other}"
                )
