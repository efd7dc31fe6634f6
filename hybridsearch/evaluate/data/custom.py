"""A user's own data: `package.module:callable`, called with 'train', 'validation' or 'test'."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.splits import Array, Split


def import_callable(spec: str) -> Callable[..., Any]:
    """The object that `package.module:callable` names; the current directory is searched as well.

    Raises: UserError when the spec has no such form, the import fails, or it is not callable.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise UserError(f"expected package.module:callable, got {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(f"{spec}: cannot import {module_name}: {_one_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"{spec}: {module_name} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{spec}: expected a callable, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def read(spec: str, part: Literal["train", "validation", "test"]) -> Split:
    """What the callable returns for `part`, as [N, C, H, W] uint8 or float32 and int64 labels.

    Images may be [N, C, H, W], [N, H, W] or [N, F] (features, as [N, F, 1, 1]); uint8 is kept, any
    other number becomes float32. Raises: UserError when the callable fails or returns else.
    """
    source = f"{spec}({part!r})"
    function = import_callable(spec)
    try:
        returned = function(part)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{source} failed with {_one_line(error)}") from error
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise UserError(f"{source}: expected (images, labels), got {type(returned).__name__}")
    images, labels = returned
    return Split(*_checked(source, _as_array(source, images), _as_array(source, labels)))


def count_classes(spec: str, train: Split) -> int:
    """Number of classes in the training labels. Raises: UserError unless they are 0..classes-1."""
    found = np.unique(train.labels)
    if len(found) < 2 or found[0] != 0 or found[-1] != len(found) - 1:
        raise UserError(
            f"{spec}('train'): expected every label of 0..classes-1 and two classes or more, got "
            f"{len(found)} different labels from {found[0]} to {found[-1]}"
        )
    return len(found)


def check_alike(spec: str, part: str, train: Split, other: Split) -> None:
    """Raises: UserError when a part's image shape, dtype or labels do not fit the training data."""
    expected, got = (f"{s.images.shape[1:]} {s.images.dtype}" for s in (train, other))
    if expected != got:
        raise UserError(f"{spec}({part!r}): expected images {expected} as in 'train', got {got}")
    highest, most = int(other.labels.max()), int(train.labels.max())
    if highest > most:
        raise UserError(f"{spec}({part!r}): label {highest}, but those of 'train' end at {most}")


def _as_array(source: str, values: Any) -> Array:
    try:
        return np.asarray(values)
    except Exception as error:  # ragged lists, tensors on a GPU
        raise UserError(f"{source}: expected NumPy arrays; {_one_line(error)}") from error


def _checked(source: str, images: Array, labels: Array) -> tuple[Array, Array]:
    """Images and labels in the types and shapes of a `Split`."""
    if images.ndim not in (2, 3, 4) or not images.size:
        raise UserError(
            f"{source}: expected images [N, C, H, W], [N, H, W] or [N, F], got {images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(
            f"{source}: expected {len(images)} integer labels, one per image, got "
            f"{labels.dtype} {labels.shape}"
        )
    if labels.min() < 0:
        raise UserError(f"{source}: expected labels 0..classes-1, got {labels.min()}")
    if images.dtype.kind not in "biuf":
        raise UserError(f"{source}: expected numbers as images, got dtype {images.dtype}")
    if images.dtype != np.uint8:
        with np.errstate(over="ignore"):  # found by the next line
            images = images.astype(np.float32)
        if not np.isfinite(images).all():
            raise UserError(f"{source}: images hold NaN, infinity or values beyond float32")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 2:
        images = images[:, :, None, None]
    return images, labels.astype(np.int64)


def _one_line(error: Exception) -> str:
    """Type, first line and place of a user's error: the command line shows no traceback."""
    text = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    theirs = [f for f in frames if f.filename not in ours and not f.filename.startswith("<")]
    if theirs:
        text += f" ({Path(theirs[-1].filename).name} line {theirs[-1].lineno})"
    return text
