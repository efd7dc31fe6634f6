"""The metric of every example of a test split as text for the log: bits, or numbers."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridsearch.errors import UserError

NUMBERS = "f4:"  # in front of numbers; ":" is no character of base64


def pack(values: ArrayLike) -> str:
    """[examples] as base64 text: bool as bits, example 0 the highest bit of byte 0; any other
    numbers as little-endian float32, led by NUMBERS.
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return base64.b64encode(np.packbits(array).tobytes()).decode("ascii")
    return NUMBERS + base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def unpack(text: str, n: int) -> NDArray[np.float64]:
    """The inverse of `pack` for n examples: [n] float64, 0 and 1 for bits; [1] for a metric of the
    whole split.

    Raises: UserError when `text` is not the base64 text of n examples.
    """
    try:
        data = base64.b64decode(text.removeprefix(NUMBERS), validate=True)
    except binascii.Error as error:
        raise UserError(f"expected base64 text, got {text[:20]!r}: {error}") from None
    if text.startswith(NUMBERS):
        if len(data) not in (4, 4 * n):
            raise UserError(
                f"expected {n} numbers in {4 * n} bytes, or one, got {len(data)} bytes; was this "
                "recorded on another test set?"
            )
        return np.frombuffer(data, "<f4").astype(np.float64)
    if len(data) != (n + 7) // 8:
        raise UserError(
            f"expected the bits of {n} images in {(n + 7) // 8} bytes, got {len(data)} bytes; "
            "was this recorded on another test set?"
        )
    return np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(np.float64)
