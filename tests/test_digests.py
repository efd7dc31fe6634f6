from __future__ import annotations

import numpy as np

from hybridsearch.digests import checksum, checksum_of_arrays


def test_parts_of_a_checksum_do_not_run_together():
    assert (
        len({checksum("ab", "c"), checksum("a", "bc"), checksum("abc"), checksum("", "abc")}) == 4
    )
    assert checksum("ab") == checksum(b"ab")
    assert len(checksum("x", digits=16)) == 16


def test_arrays_differ_by_name_type_shape_and_content():
    ones = np.ones((2, 3), dtype=np.float32)
    different = [{"a": ones}, {"b": ones}, {"a": ones.astype(np.int32)}, {"a": ones.reshape(3, 2)}]
    different += [{"a": 2 * ones}, {}, {"a": ones, "b": ones}]
    assert len({checksum_of_arrays(arrays) for arrays in different}) == len(different)
    assert checksum_of_arrays({"a": ones}, "x") != checksum_of_arrays({"a": ones}, "y")
    both = {"a": ones, "b": 2 * ones}
    assert checksum_of_arrays(both) == checksum_of_arrays(dict(reversed(both.items())))
