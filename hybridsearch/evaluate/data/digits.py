"""The 1,797 hand-written 8x8 digits that ship inside scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hybridsearch.evaluate.data.splits import Split, draw

CLASSES = 10
TEST = 713  # images kept for the test; 1,084 remain for training and validation
TEST_SEED = 20171  # constant, so that no setting can move an image into or out of the test part


def read(part: Literal["train", "test"]) -> Split:
    """The digits as [N, 1, 8, 8] uint8, N = 1,084 or 713; ink 0..16 is scaled to 0..255.

    Source: sklearn.datasets.load_digits (UCI "Optical Recognition of Handwritten Digits").
    """
    from sklearn.datasets import load_digits

    ink, labels = load_digits(return_X_y=True)
    images = np.rint(ink * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    everything = Split(images, labels.astype(np.int64))
    test, rest = draw(everything.labels, (TEST, len(labels) - TEST), (TEST_SEED,))
    return everything.take(test if part == "test" else rest)
