"""Values as text with a fixed order, and checksums: what notices a flipped bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

# One encoder for all: json.dumps would make one per call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def dump(value: Any) -> str:
    """JSON with a fixed order and no spare space, so that equal values are equal bytes."""
    return _encode(value)


def checksum(*parts: str | bytes | memoryview, digits: int = 32) -> str:
    """Hex digits that stand for all parts in their order."""
    digest = blake2b(digest_size=digits // 2)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def checksum_of_arrays(arrays: Mapping[str, NDArray[np.generic]], *more: str) -> str:
    """Hex digits that stand for arrays by name, their types and shapes, and texts beside them."""
    parts: list[str | bytes] = list(more)
    for name in sorted(arrays):
        array = arrays[name]
        parts += [name, str(array.dtype), str(array.shape), array.tobytes()]
    return checksum(*parts)
