"""A user's own data: `package.module:callable`, called with 'train', 'validation' or 'test'."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.materialise import is_loadable, materialise
from hybridsearch.evaluate.data.splits import Array, Split
from hybridsearch.evaluate.own import import_callable, one_line

Inputs = Literal["normalised", "as_given"]


def read(spec: str, part: Literal["train", "validation", "test"], inputs: Inputs) -> Split:
    """What the callable returns for `part`: inputs and targets, as arrays, tensors, or a Dataset or
    DataLoader that gives pairs of them.

    inputs "normalised": images [N, C, H, W] or [N, H, W] (as [N, 1, H, W]), or features [N, F];
    uint8 is kept, any other number becomes float32. "as_given": any shape; integers become int64,
    other numbers float32. Targets are int64 or float32, [N] or [N, ...].
    Raises: UserError when the callable fails or returns else.
    """
    from hybridsearch.evaluate.draws import seeded  # it brings torch, as the user's code may

    source = f"{spec}({part!r})"
    function = import_callable(spec)
    try:
        with seeded(0):  # so that parts which are drawn from one whole do not overlap
            returned = function(part)
        if is_loadable(returned):
            returned = materialise(returned)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    except Exception as error:
        raise UserError(f"{source} failed with {one_line(error)}") from error
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise UserError(f"{source}: expected (inputs, targets), got {type(returned).__name__}")
    first, second = (_as_array(source, values) for values in returned)
    made = _images(source, first) if inputs == "normalised" else _given(source, first)
    return Split(made, _targets(source, second, len(made)))


def count_classes(spec: str, train: Split) -> int:
    """Number of classes in the training targets; 0 where they are none, being numbers or of more
    dimensions than one. Raises: UserError unless classes are 0..classes-1.
    """
    if not train.has_classes:
        return 0
    found = np.unique(train.labels)
    if len(found) < 2 or found[0] != 0 or found[-1] != len(found) - 1:
        raise UserError(
            f"{spec}('train'): expected every label of 0..classes-1 and two classes or more, got "
            f"{len(found)} different labels from {found[0]} to {found[-1]} (targets of a "
            "regression are floats)"
        )
    return len(found)


def check_alike(spec: str, part: str, train: Split, other: Split) -> None:
    """Raises: UserError when a part's inputs or targets do not fit the training data."""
    for what, ours, theirs in (
        ("inputs", train.images, other.images),
        ("targets", train.labels, other.labels),
    ):
        expected, got = (f"{a.shape[1:]} {a.dtype}" for a in (ours, theirs))
        if expected != got:
            raise UserError(
                f"{spec}({part!r}): expected {what} {expected} as in 'train', got {got}"
            )
    if not train.has_classes:
        return
    highest, most = int(other.labels.max()), int(train.labels.max())
    if highest > most:
        raise UserError(f"{spec}({part!r}): label {highest}, but those of 'train' end at {most}")


def _as_array(source: str, values: Any) -> Array:
    try:
        return np.asarray(values)
    except Exception as error:  # ragged lists, tensors on a GPU
        raise UserError(f"{source}: expected NumPy arrays; {one_line(error)}") from error


def _images(source: str, images: Array) -> Array:
    """Images or features in the types and shapes of a `Split`."""
    if images.ndim not in (2, 3, 4) or not images.size:
        raise UserError(
            f"{source}: expected images [N, C, H, W], [N, H, W] or [N, F], got {images.shape}; "
            "data.inputs as_given takes any shape"
        )
    if images.dtype.kind not in "biuf":
        raise UserError(f"{source}: expected numbers as inputs, got dtype {images.dtype}")
    if images.dtype != np.uint8:
        images = _finite(source, images, "inputs")
    return images[:, None] if images.ndim == 3 else images


def _given(source: str, inputs: Array) -> Array:
    if inputs.ndim < 1 or not inputs.size or inputs.dtype.kind not in "biuf":
        raise UserError(
            f"{source}: expected inputs [N, ...] of numbers, got {inputs.dtype} {inputs.shape}"
        )
    return (
        inputs.astype(np.int64) if inputs.dtype.kind in "iu" else _finite(source, inputs, "inputs")
    )


def _targets(source: str, targets: Array, count: int) -> Array:
    """Targets as int64 or float32, [N, ...]; [N, 1] of integers are labels too."""
    if targets.shape[:1] != (count,) or targets.dtype.kind not in "biuf" or not targets.size:
        raise UserError(
            f"{source}: expected {count} targets, one per input: integer labels or numbers, got "
            f"{targets.dtype} {targets.shape}"
        )
    if targets.dtype.kind == "f":
        return _finite(source, targets, "targets")
    if targets.shape == (count, 1):
        targets = targets[:, 0]
    if targets.ndim == 1 and targets.min() < 0:
        raise UserError(f"{source}: expected labels 0..classes-1, got {targets.min()}")
    return targets.astype(np.int64)


def _finite(source: str, values: Array, what: str) -> Array:
    """Values as float32. Raises: UserError for those that are none."""
    with np.errstate(over="ignore"):  # found by the next line
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{source}: {what} hold NaN, infinity or values beyond float32")
    return values
