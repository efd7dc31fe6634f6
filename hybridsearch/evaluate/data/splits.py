"""What a search trains and validates on: drawn class by class, and identified by a digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK = 1024  # images per step of the statistics: float64 copies stay small (25 MB on CIFAR)
CONSTANT = (
    1e-6  # a channel that varies less than this share of its mean is rounding (float32: 6e-8)
)


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    images: [N, C, H, W] uint8 (0..255), or float32 for custom data; of these also features [N, F];
    [N, ...] float32 or int64 as given. labels: [N] int64, 0..classes-1, or targets of another
    kind: float32 [N, ...] of a regression, int64 [N, ...] of a loss of the user's.
    """

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_classes(self) -> bool:
        """Whether the targets are one class per example."""
        return self.labels.ndim == 1 and self.labels.dtype.kind == "i"

    @cached_property
    def digest(self) -> str:
        """Hex digits that stand for its content."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()

    def take(self, index: Array) -> Split:
        """A copy of the images and labels at `index`, in that order."""
        return Split(np.ascontiguousarray(self.images[index]), self.labels[index])


@dataclass(frozen=True, eq=False)
class SearchData:
    """What a search may see; it holds no test image.

    classes: 0 where targets are no classes. mean, std: [C] float32 per channel of the training
    images, of the values 0..1 for uint8 (which are divided by 255) and of the raw values for
    float32; std is 1 where a channel is constant; of inputs as given 0 and 1.
    digest: sha256 over contents, dtypes and shapes of train and validation.
    """

    name: str
    train: Split
    validation: Split
    classes: int
    mean: Array
    std: Array
    digest: str

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (F,), or the shape of an input as it was given."""
        return self.train.images.shape[1:]

    @property
    def outputs(self) -> int:
        """What a network gives per example: a logit per class, or a number per column of the
        targets; 0 where only a loss of the user's knows.
        """
        targets = self.train.labels
        return self.classes or (math.prod(targets.shape[1:]) if targets.dtype.kind == "f" else 0)


def make_search_data(
    name: str, train: Split, validation: Split, classes: int, normalised: bool = True
) -> SearchData:
    """Training and validation data with their digest, and with statistics if to be normalised."""
    none = np.zeros(1, np.float32), np.ones(1, np.float32)
    mean, std = channel_statistics(train.images) if normalised else none
    return SearchData(name, train, validation, classes, mean, std, digest(train, validation))


def allocate(counts: Array, size: int) -> Array:
    """`size` shared out in proportion to `counts` [classes], by largest remainder.

    Exact (integers only); equal remainders go to the lower class. Never above `counts` as long as
    size <= counts.sum().
    """
    share, remainder = np.divmod(counts.astype(np.int64) * size, counts.sum())
    share[np.argsort(-remainder, kind="stable")[: size - share.sum()]] += 1
    return np.asarray(share)


def draw(labels: Array, sizes: Sequence[int], seed: Sequence[int]) -> list[Array]:
    """Disjoint stratified draws: for each of `sizes` the indices [size] into `labels`, shuffled.
    Where these are no classes, the draws are plain.

    A part depends on the sizes of the parts before it, not on those after it. The caller has
    checked that sum(sizes) <= len(labels).
    """
    rest = np.random.default_rng(list(seed)).permutation(len(labels))
    if labels.ndim > 1 or labels.dtype.kind == "f":
        labels = np.zeros(len(labels), np.int64)
    parts = []
    for size in sizes:
        classes = labels[rest]
        counts = np.bincount(classes)
        by_class = np.argsort(classes, kind="stable")
        rank = np.empty_like(rest)  # the how-manieth of its class an image is, in shuffled order
        rank[by_class] = np.arange(len(rest)) - (np.cumsum(counts) - counts)[classes[by_class]]
        taken = rank < allocate(counts, size)[classes]
        parts.append(rest[taken])
        rest = rest[~taken]
    return parts


def channel_statistics(images: Array) -> tuple[Array, Array]:
    """Mean and standard deviation per channel, [C] float32 each; see `SearchData`. Of features
    [N, F] per column.
    """
    images = images if images.ndim == 4 else images[:, :, None, None]
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    blocks = range(0, len(images), BLOCK)
    count = images.size // images.shape[1]
    mean = np.zeros(images.shape[1])
    for start in blocks:
        mean += images[start : start + BLOCK].sum(axis=(0, 2, 3), dtype=np.float64) / count
    squares = np.zeros_like(mean)  # around the mean: no cancellation
    for start in blocks:
        centred = images[start : start + BLOCK] - mean[:, None, None]
        squares += np.square(centred).sum(axis=(0, 2, 3))
    mean32 = (mean / scale).astype(np.float32)
    std = (np.sqrt(squares / count) / scale).astype(np.float32)
    return mean32, np.where(std > CONSTANT * np.abs(mean32), std, np.float32(1))


def digest(*splits: Split) -> str:
    """sha256, in hex, over dtype, shape and content of all images and labels."""
    sha = hashlib.sha256()
    for split in splits:
        for array in (split.images, split.labels):
            sha.update(f"{array.dtype.str} {array.shape};".encode())
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
