from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hybridsearch.evaluate import input as input_module
from hybridsearch.evaluate.data import Split
from hybridsearch.evaluate.data.splits import make_search_data
from hybridsearch.evaluate.given import GivenInput
from hybridsearch.evaluate.input import TrainingInput

KINDS = ["none", "shift", "crop_flip"]
CPU = torch.device("cpu")


def make_data(count=90, channels=3, side=12, kind="uint8", width=None):
    rng = np.random.default_rng(7)
    shape = (count, channels, side, width or side)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == "float32":
        images = rng.normal(2.0, 3.0, shape).astype(np.float32)
    split = Split(images, rng.integers(0, 10, count))
    return make_search_data("made", split, split, 10)


def reference(data, batch_size, kind, seed, step):
    """The batch as it was first written: normalise, pad, one gather for all."""
    images, count = torch.from_numpy(data.train.images), len(data.train)
    size = min(batch_size, count)
    epoch, place = divmod(step, count // size)
    order = torch.from_numpy(np.random.default_rng([seed, epoch, 0]).permutation(count))
    rows = order[place * size : (place + 1) * size]
    scale = 255.0 if data.train.images.dtype == np.uint8 else 1.0
    mean, std = (torch.from_numpy(v).reshape(1, -1, 1, 1) * scale for v in (data.mean, data.std))
    out = ((images[rows].float() - mean) / std).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(data.train.labels)[rows]
    if kind == "none":
        return out, labels
    pad = 2 if kind == "shift" else 4
    _, _, height, width = out.shape
    draw = np.random.default_rng([seed, step, 1]).integers(
        0, [2 * pad + 1, 2 * pad + 1, 2], size=(size, 3)
    )
    top, left, mirror = torch.from_numpy(draw).unbind(1)
    at = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    if kind == "crop_flip":
        columns = torch.where(mirror[:, None] == 1, columns.flip(1), columns)
    padded = F.pad(out, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    index = torch.arange(size)[:, None, None]
    return padded[index, at[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2), labels


def same_bits(a, b):
    a, b = (t.permute(0, 2, 3, 1) for t in (a, b))
    return (
        a.dtype == b.dtype and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    )


@pytest.mark.parametrize("augment", KINDS)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("by_index", [False, True])
def test_batches_are_those_of_the_reference_bit_for_bit(
    monkeypatch, augment, kind, channels, small, by_index
):
    """Kept normalised or normalised per batch; copied in pieces (CPU) or by index (GPU)."""
    if not small:
        monkeypatch.setattr(input_module, "SMALL", 0)
    data = make_data(channels=channels, kind=kind, width=9)
    made = TrainingInput(data, 16, augment, CPU)
    made.by_index = by_index
    for seed, step in [(1, 0), (1, 3), (1, 4), (1, 5), (2, 5), (1, 5), (2**32 - 1, 1000)]:
        images, labels = made.batch(seed, step)
        wanted, wanted_labels = reference(data, 16, augment, seed, step)
        assert same_bits(images, wanted)
        assert torch.equal(labels, wanted_labels)
        assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("augment", KINDS)
def test_a_batch_larger_than_the_data_is_all_of_them(augment):
    data = make_data(count=10)
    images, labels = TrainingInput(data, 64, augment, CPU).batch(5, 3)
    wanted, wanted_labels = reference(data, 64, augment, 5, 3)
    assert same_bits(images, wanted)
    assert sorted(labels.tolist()) == sorted(data.train.labels.tolist())
    assert torch.equal(labels, wanted_labels)


def test_what_is_not_finite_does_not_leak_into_the_padding():
    data = make_data(kind="float32")
    data.train.images[3] = np.nan
    made = TrainingInput(data, 90, "crop_flip", CPU)
    images, _ = made.batch(1, 0)
    wanted, _ = reference(data, 90, "crop_flip", 1, 0)
    assert np.array_equal(images.numpy(), wanted.numpy(), equal_nan=True)
    assert torch.isnan(images).flatten(1).any(1).sum() == 1


@pytest.mark.parametrize("augment", KINDS)
def test_stacked_seeds_have_the_batches_of_each(augment):
    data = make_data()
    made = TrainingInput(data, 16, augment, CPU)
    images, labels = made.stacked([4, 9, 4], 7)
    assert images.shape == (3, 16, 3, 12, 12)
    assert labels.shape == (3, 16)
    for k, seed in enumerate([4, 9, 4]):
        one, its_labels = made.batch(seed, 7)
        assert torch.equal(images[k], one)
        assert torch.equal(labels[k], its_labels)


def test_a_batch_is_not_touched_by_later_ones():
    """A convolution keeps its input until backward; a buffer used again would change it."""
    made = TrainingInput(make_data(), 16, "crop_flip", CPU)
    images, labels = made.batch(1, 0)
    images_then, labels_then = images.clone(), labels.clone()
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    out = F.conv2d(images, weight).square().sum()
    (alone,) = torch.autograd.grad(out, weight, retain_graph=True)
    for step in range(1, 8):
        later, _ = made.batch(1, step)
        later.add_(1.0)  # and the store is not touched through a batch
    (after,) = torch.autograd.grad(out, weight)
    assert torch.equal(images, images_then)
    assert torch.equal(labels, labels_then)
    assert torch.equal(alone, after)
    assert torch.equal(made.batch(1, 0)[0], images_then)


def test_the_split_is_seen_as_it_was_given():
    for augment in KINDS:
        data = make_data()
        made = TrainingInput(data, 16, augment, CPU)
        assert np.array_equal(made.split.images.numpy(), data.train.images)
        assert np.array_equal(made.split.labels.numpy(), data.train.labels)


def test_data_orders_of_many_seeds_are_forgotten_and_made_again():
    made = TrainingInput(make_data(), 16, "none", CPU)
    first = made.batch(0, 0)[0].clone()
    for seed in range(3 * input_module.SEEDS):
        made.batch(seed, 0)
    assert max(len(made._order._orders), len(made._plans)) <= input_module.SEEDS
    assert torch.equal(made.batch(0, 0)[0], first)


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("augment", [*KINDS, "given"])
def test_batches_on_cuda_are_those_of_the_cpu_and_wait_for_nothing(augment):
    data = make_data(side=32)

    def made(device):
        if augment == "given":
            return GivenInput(data, 16, torch.device(device), normalised=False)
        return TrainingInput(data, 16, augment, torch.device(device))

    here, there = made("cpu"), made("cuda:0")
    there.batch(0, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        images, labels = there.batch(1, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted, wanted_labels = here.batch(1, 5)
    assert torch.equal(images.cpu(), wanted)
    assert torch.equal(labels.cpu(), wanted_labels)
