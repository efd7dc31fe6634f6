"""Images of noise with the shapes of real data sets, for machines that do not have those.

Speed does not depend on what the pixels show. Read as custom data, `synthetic:cifar10`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import DataConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.fetch import FILE_SETS
from hybridsearch.evaluate.data.files import locate

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
SIZES = {"train": 20_000, "validation": 5_000, "test": 1_000}
NOISE = 256  # images of `noise_C_H_W`: one batch and some


def _images(part: str, shape: tuple[int, int, int]) -> Images:
    """Ten classes; each has its own mean image under the noise, so that training gets somewhere."""
    count = SIZES[part]
    means = np.random.default_rng(0).uniform(64, 192, (10, *shape))
    rng = np.random.default_rng([1, len(part)])
    labels = np.arange(count) % 10
    noise = rng.normal(0, 64, (count, *shape)).astype(np.float32)
    return np.clip(means[labels] + noise, 0, 255).astype(np.uint8), labels


def cifar10(part: str) -> Images:
    return _images(part, (3, 32, 32))


def fashion_mnist(part: str) -> Images:
    return _images(part, (1, 28, 28))


def data_config(name: str, train: int, validation: int, augment: str) -> DataConfig:
    """The real data set where it is there, else noise of its shape."""
    try:
        locate(FILE_SETS[name], None)
    except UserError:
        name = f"synthetic:{name}"
    settings = {"name": name, "train": train, "validation": validation, "augment": augment}
    return DataConfig.model_validate(settings)


def __getattr__(name: str) -> Callable[[str], tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """`noise_C_H_W`: standard normal float32 images of that shape, two classes."""
    kind, *sizes = name.split("_")
    if kind != "noise" or len(sizes) != 3:
        raise AttributeError(name)

    def noise(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng(0)
        images = rng.standard_normal((NOISE, *map(int, sizes)), dtype=np.float32)
        return images, np.arange(NOISE) % 2

    return noise
