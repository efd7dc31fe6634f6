"""Fashion-MNIST: 60,000 + 10,000 images of 28x28, in MNIST's IDX files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.files import FileSet, check_labels, read_bytes
from hybridsearch.evaluate.data.splits import Array, Split

CLASSES = 10
SIDE = 28
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


def read_idx(path: Path, axes: int) -> Array:
    """The uint8 array with `axes` axes in an IDX file (plain, or with .gz added to its name).

    Raises: UserError when the magic number, the number of axes or the length is another, or when
    there is nothing.
    Source: the file format in http://yann.lecun.com/exdb/mnist/ (big-endian: 0, 0, type 8 for
    unsigned byte, number of axes; the length of each axis as int32; the values).
    """
    content = read_bytes(path)
    magic = bytes((0, 0, 8, axes))
    header = 4 + 4 * axes
    if content[:4] != magic or len(content) < header:
        raise UserError(
            f"{path}: expected an IDX file of bytes with {axes} axes (magic {magic.hex()}), "
            f"got {content[:4].hex() or 'an empty file'}"
        )
    shape = struct.unpack(f">{axes}I", content[4:header])
    size = int(np.prod(shape, dtype=object))
    if len(content) - header != size:
        raise UserError(
            f"{path}: expected {size:,} bytes for shape {shape}, got {len(content) - header:,}; "
            "get the file again"
        )
    if not size:  # NumPy has none of shape (0, 2^32, 2^32)
        raise UserError(f"{path}: an array of shape {shape} holds nothing; get the file again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()  # writable


def _parse(folder: Path, names: tuple[str, ...]) -> Split:
    images, labels = (
        read_idx(folder / name, axes) for name, axes in zip(names, (3, 1), strict=True)
    )
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or not len(images):
        raise UserError(
            f"{folder}: expected as many {SIDE}x{SIDE} images as labels in {names[0]} and "
            f"{names[1]}, got shapes {images.shape} and {labels.shape}"
        )
    check_labels(folder / names[1], int(labels.max()), CLASSES)
    return Split(images[:, None], labels.astype(np.int64))


FASHION_MNIST = FileSet(
    "fashion_mnist",
    CLASSES,
    train=("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    test=("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    parse=_parse,
    elsewhere=(DEBIAN,),
    advice=", or on Debian with `apt-get install dataset-fashion-mnist`",
)
