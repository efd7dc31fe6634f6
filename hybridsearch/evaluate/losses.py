"""The losses and metrics that ship, and which of them fit which targets."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.data import SearchData

OWN = "package.module:callable"

PerExample = Callable[[Tensor, Tensor], Tensor]


def columns(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and targets of a regression as [B, columns]."""
    return outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)


def _over_columns(loss: PerExample) -> PerExample:
    """A loss of numbers as one of examples: the mean over their columns."""
    return lambda outputs, targets: loss(*columns(outputs, targets)).mean(1)


# Name -> loss of every example, [B].
LOSSES: dict[str, PerExample] = {
    "cross_entropy": lambda o, t: F.cross_entropy(o, t, reduction="none"),
    "mse": _over_columns(lambda o, t: (o - t).square()),
    "l1": _over_columns(lambda o, t: (o - t).abs()),
    "huber": _over_columns(lambda o, t: F.huber_loss(o, t, reduction="none")),
    "bce": _over_columns(lambda o, t: F.binary_cross_entropy_with_logits(o, t, reduction="none")),
}
STANDARDISED = ("mse", "l1", "huber")  # their targets are, for the network

# Name -> whether more is better, and the best value.
METRICS = {
    "accuracy": (True, 1.0),
    "r2": (True, 1.0),
    "mse": (False, 0.0),
    "mae": (False, 0.0),
    "loss": (False, 0.0),
}


def loss_for(name: str, data: SearchData) -> str:
    """The loss that `training.loss` means: a name of LOSSES, or the user's own.

    Raises: UserError when it is unknown or does not fit the targets.
    """
    targets = data.train.labels
    got = f"{targets.dtype} of shape {list(targets.shape)}"
    if ":" in name:
        return name
    if name == "auto":
        if not (data.classes or targets.dtype.kind == "f"):
            raise UserError(
                f"training.loss: no loss of ours fits targets that are {got}; expected one of "
                f"yours, {OWN}"
            )
        return "cross_entropy" if data.classes else "mse"
    if name not in LOSSES:
        raise UserError(
            f"training.loss: unknown loss {name!r} (your own: {OWN}){nearest(name, LOSSES)}"
        )
    fits = data.classes if name == "cross_entropy" else targets.dtype.kind == "f"
    if not fits:
        wants = "classes, integers of shape [N]" if name == "cross_entropy" else "numbers (floats)"
        raise UserError(f"training.loss: {name} expects targets that are {wants}, got {got}")
    return name


def metric_for(name: str, loss: str) -> str:
    """The metric that `metric` means beside a loss: a name of METRICS, or the user's own.

    Raises: UserError when it is unknown or does not fit the loss.
    """
    if name == "auto":
        if loss in ("cross_entropy", "bce"):
            return "accuracy"
        return "r2" if loss in STANDARDISED else "loss"
    if ":" in name or name == "loss":
        return name
    if name not in METRICS:
        raise UserError(
            f"metric: unknown metric {name!r} (your own: {OWN}){nearest(name, METRICS)}"
        )
    fits = ("cross_entropy", "bce") if name == "accuracy" else STANDARDISED
    if loss not in fits:
        raise UserError(
            f"metric: {name} fits the losses {', '.join(fits)}, but training.loss is {loss}"
        )
    return name
