"""Which images of a test split were classified rightly, as text for the log."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridsearch.errors import UserError


def pack(correct: ArrayLike) -> str:
    """[images] bool as the base64 text of its bits; image 0 is the highest bit of byte 0."""
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=np.bool_)).tobytes()).decode(
        "ascii"
    )


def unpack(text: str, n: int) -> NDArray[np.bool_]:
    """The inverse of `pack` for n images: [n] bool.

    Raises: UserError when `text` is not base64 of the bits of n images.
    """
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except binascii.Error as error:
        raise UserError(f"expected base64 text, got {text[:20]!r}: {error}") from None
    if len(data) != (n + 7) // 8:
        raise UserError(
            f"expected the bits of {n} images in {(n + 7) // 8} bytes, got {len(data)} bytes; "
            "was this recorded on another test set?"
        )
    return np.unpackbits(data, count=n).astype(np.bool_)
