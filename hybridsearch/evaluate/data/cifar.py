"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32x32, in the official binary layout.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. A record is one label byte (CIFAR-100: two,
the coarse and the fine class; the fine one is used) and 3,072 pixels (planes R, G, B).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.files import FileSet, check_labels, read_bytes
from hybridsearch.evaluate.data.splits import Split

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


def read_records(path: Path, label_bytes: int, classes: int) -> Split:
    """The records of one file, images [N, 3, 32, 32] uint8; the last label byte is the class.

    Raises: UserError when the file is empty, no whole number of records, or has another class.
    """
    content = np.frombuffer(read_bytes(path), np.uint8)
    record = label_bytes + PIXELS
    if not len(content) or len(content) % record:
        raise UserError(
            f"{path}: expected whole records of {record:,} bytes, got {len(content):,} bytes; "
            "get the binary version of the data again"
        )
    records = content.reshape(-1, record)
    labels = records[:, label_bytes - 1].astype(np.int64)
    check_labels(path, int(labels.max()), classes)
    return Split(records[:, label_bytes:].reshape(-1, *SHAPE), labels)


def _file_set(
    name: str, classes: int, label_bytes: int, train: tuple[str, ...], test: str, subfolder: str
) -> FileSet:
    def parse(folder: Path, names: tuple[str, ...]) -> Split:
        files = [read_records(folder / n, label_bytes, classes) for n in names]
        return Split(
            np.concatenate([f.images for f in files]), np.concatenate([f.labels for f in files])
        )

    return FileSet(name, classes, train, (test,), parse, subfolder)


CIFAR10 = _file_set(
    "cifar10",
    classes=10,
    label_bytes=1,
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    test="test_batch.bin",
    subfolder="cifar-10-batches-bin",
)
CIFAR100 = _file_set(
    "cifar100",
    classes=100,
    label_bytes=2,
    train=("train.bin",),
    test="test.bin",
    subfolder="cifar-100-binary",
)
