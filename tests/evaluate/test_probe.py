"""What a network of ReLUs tells of itself before anything is trained."""

from __future__ import annotations

import numpy as np

from hybridsearch.evaluate.data.splits import Split, make_search_data
from hybridsearch.evaluate.probe import probe


def data(shape, classes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2 * classes, *shape)).astype(np.uint8)
    split = Split(images, np.arange(2 * classes) % classes)
    return make_search_data("made", split, split, classes)


def test_sizes_are_those_of_a_batch(tiny):
    config = tiny(network={"name": "resnet8", "width": 4}, training={"batch_size": 32})
    found = probe(config, data((3, 16, 16), 10))
    assert found.sizes[0] == 32 * 4 * 16 * 16
    assert found.sizes[-1] == 32 * 16 * 4 * 4
    assert len(found.sizes) == 7
    assert found.outputs == (10,)
    mlp = probe(tiny(network={"name": "digits_mlp"}), data((1, 8, 8), 10))
    assert mlp.sizes == (32 * 32,) * 2
