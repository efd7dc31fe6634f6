"""The data sets by name. A search loads training and validation images, and never a test image."""

from __future__ import annotations

import numpy as np

from hybridsearch.config import DataConfig
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.data import custom, digits, stock
from hybridsearch.evaluate.data.fetch import FILE_SETS, fetch
from hybridsearch.evaluate.data.files import Part, data_home, read_part
from hybridsearch.evaluate.data.splits import SearchData, Split, draw, make_search_data

__all__ = ["SearchData", "Split", "data_home", "fetch", "load_search_data", "load_test_data"]


# Validation images drawn from the official training images where the config names no number.
VALIDATION = {"digits": 700, "fashion_mnist": 5000, "cifar10": 5000, "cifar100": 5000}


def load_search_data(config: DataConfig) -> SearchData:
    """Exactly config.train training and config.validation validation images, stratified; their
    defaults are explained in `DataConfig`.

    Built-in sets draw both from the official training images with config.split_seed; custom data
    draw each from its own part. The validation images do not depend on config.train.
    Raises: UserError for an unknown name, missing or damaged files, or too few images.
    """
    if (sent := stock.search_data()) is not None:
        return sent
    name, seed = config.name, (config.split_seed,)
    if ":" in name:
        train, validation = (
            custom.read(name, part, config.inputs) for part in ("train", "validation")
        )
        classes = custom.count_classes(name, train)
        custom.check_alike(name, "validation", train, validation)
        if config.augment != "none" and train.labels.ndim > 2:
            raise UserError(
                f"data.augment {config.augment} moves images, but not the targets of {name}, which "
                f"are maps of shape {train.labels.shape[1:]}; take none"
            )
        train = _some(train, config.train, f"data.train asks for %s, but {name}('train')", seed)
        asks = f"data.validation asks for %s, but {name}('validation')"
        validation = _some(validation, config.validation, asks, seed)
        normalised = config.inputs == "normalised"
        return make_search_data(name, train, validation, classes, normalised)
    pool, classes = _read(config, "train")
    for_validation = config.validation or VALIDATION[name]
    for_training = config.train or max(1, len(pool) - for_validation)
    if for_training + for_validation > len(pool):
        raise UserError(
            f"data.train {for_training:,} + data.validation {for_validation:,} = "
            f"{for_training + for_validation:,} images, but {name} has {len(pool):,} for both; "
            "lower one of them"
        )
    validation_index, train_index = draw(pool.labels, (for_validation, for_training), seed)
    return make_search_data(name, pool.take(train_index), pool.take(validation_index), classes)


def _some(split: Split, size: int | None, asks: str, seed: tuple[int]) -> Split:
    """`size` images of a split, stratified; all of them where it is None."""
    if size is not None and size > len(split):
        raise UserError(f"{asks % f'{size:,} images'} has {len(split):,}; ask for that or less")
    return split.take(draw(split.labels, (size or len(split),), seed)[0])


def load_test_data(config: DataConfig) -> Split:
    """All test images; only called once the winner is named. Nothing but name and folder matter.

    Raises: UserError as `load_search_data`, and where custom test data are unlike the training
    data (so the callable is called with 'train' as well).
    """
    if (sent := stock.test_data()) is not None:
        return sent
    if ":" in config.name:
        train, test = (custom.read(config.name, part, config.inputs) for part in ("train", "test"))
        custom.check_alike(config.name, "test", train, test)
        return test.take(np.arange(len(test)))  # a writable copy that is ours
    return _read(config, "test")[0]


def _read(config: DataConfig, part: Part) -> tuple[Split, int]:
    """All official images of a part of a built-in data set, and its number of classes."""
    if config.name == "digits":
        return digits.read(part), digits.CLASSES
    if config.name not in FILE_SETS:
        raise UserError(
            f"unknown data set {config.name!r} (own data: package.module:callable)"
            f"{nearest(config.name, ['digits', *FILE_SETS])}"
        )
    data = FILE_SETS[config.name]
    return read_part(data, part, config.folder), data.classes
