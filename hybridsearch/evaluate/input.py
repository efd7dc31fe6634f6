"""Data input: the normalised, augmented training batch of every (seed, step).

The training split lies on the device as one flat row of channels-last pixels. A crop shifted by
(dy, dx) is then a contiguous piece of that row, dy*W+dx pixels from where the image begins, so
all crops of a batch are copied by one gather. What such a piece holds of neighbouring rows and
images are exactly the pixels that padding would have supplied; they are set to zero at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridsearch.evaluate.data import SearchData, Split

PAD = {"none": 0, "shift": 2, "crop_flip": 4}  # pixels of zeros around an image before its crop
SMALL = 32 << 20  # bytes: a split no larger than this is kept normalised, in float32
SEEDS = 64  # seeds whose data order and next draws are remembered
AHEAD = 8  # steps drawn at once: warm code draws three times as fast

Augment = Literal["none", "shift", "crop_flip"]
Array = NDArray[np.int64]


@dataclass
class Resident:
    """One split on the device: images as uint8 or float32 [N, C, H, W] or other inputs, labels [N]
    or targets [N, ...].
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def load(cls, split: Split, device: torch.device) -> Resident:
        return cls(
            torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)
        )


class Order:
    """Which examples a step sees: every epoch is a permutation, a function of (seed, epoch)."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._orders: dict[int, tuple[int, Array]] = {}  # seed -> epoch, order

    def rows(self, seed: int, step: int) -> Array:
        """The examples of a step, [size]."""
        epoch, place = divmod(step, self.count // self.size)
        kept = self._orders.get(seed)
        if kept is None or kept[0] != epoch:
            if len(self._orders) >= SEEDS:
                self._orders.clear()
            order = np.random.default_rng([seed, epoch, 0]).permutation(self.count)
            kept = self._orders[seed] = (epoch, order)
        return kept[1][place * self.size : (place + 1) * self.size]


def sent(drawn: Array, device: torch.device) -> Tensor:
    """An array of this host on the device; to a GPU from pinned memory, so that nobody waits."""
    host = torch.from_numpy(drawn)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class Draw(NamedTuple):
    """What is random in a batch, on the host.

    rows: [B] images; top, left: [B] in 0..2*pad, where the crop begins in the padded image;
    mirror: [B], 1 for a mirror image.
    """

    rows: Array
    top: Array
    left: Array
    mirror: Array


class TrainingInput:
    """The training split on the device, and its batches.

    A batch depends on (seed, step) alone: same draws, same order, same bits on every device. Each
    call returns tensors of its own, so autograd may keep them for as long as it likes. It is made
    in two halves: `plan` draws on the host, `made` computes on the device and may be captured.

    lane: tells the stream that work is queued on; what is kept on the device is kept per stream.
    by_index: whether crops are copied with an index per number, which a graph can hold; the result
    is the same. last: whether images are handed out channels last, or contiguous.
    """

    def __init__(
        self,
        data: SearchData,
        batch_size: int,
        augment: Augment,
        device: torch.device,
        lane: Callable[[], int] = lambda: 0,
        by_index: bool = False,
        last: bool = True,
    ) -> None:
        self.device, self.augment, self.pad, self._lane = device, augment, PAD[augment], lane
        images = data.train.images
        self.count, self.channels, self.height, self.width = images.shape
        self.size = min(batch_size, self.count)
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        self.mean = torch.from_numpy(data.mean).to(device) * scale
        self.std = torch.from_numpy(data.std).to(device) * scale
        pixels = self.height * self.width
        self._mean, self._std = self.mean.repeat(pixels), self.std.repeat(pixels)  # [H*W*C]

        self._length = pixels * self.channels
        guard = (self.pad * self.width + self.pad) * self.channels
        flat = np.zeros(2 * guard + images.size, images.dtype)
        inner = slice(guard, guard + images.size)
        resting = flat[inner].reshape(self.count, self.height, self.width, self.channels)
        resting[:] = images.transpose(0, 2, 3, 1)
        raw = torch.from_numpy(flat).to(device)
        self.labels = torch.from_numpy(data.train.labels).to(device)
        # The same memory, seen as [N, C, H, W]: nothing is held twice.
        shape = (self.count, self.height, self.width, self.channels)
        self.split = Resident(raw[inner].view(shape).permute(0, 3, 1, 2), self.labels)
        self._ready = images.size * 4 <= SMALL
        if self._ready:
            ready = torch.zeros(len(flat), device=device)
            ready[inner] = self._normalised(raw[inner].view(self.count, -1)).reshape(-1)
            raw = ready
        self._flat = raw
        # [pieces, H*W*C], piece k begins at number k: a view, which costs nothing
        self._pieces = raw.as_strided((len(flat) - self._length + 1, self._length), (1, 1))
        self._rows_kept, self._columns_kept = self._masks()
        self._order = Order(self.count, self.size)
        self._plans: dict[tuple[int, int], tuple[int, Tensor]] = {}  # seed, lane -> number, plan
        self.by_index = by_index or device.type != "cpu"
        self.last = last

    def normalise(self, images: Tensor) -> Tensor:
        """[N, C, H, W] as they are stored -> float32 of mean 0 and deviation 1."""
        mean, std = (v.reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        out = (images.float() - mean) / std
        return self._laid(out)

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: float32 [B, C, H, W], and labels [B] int64 or targets [B, ...]."""
        return self.made(self.plan(seed, step))

    def made(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of a plan."""
        images, labels = self._make(plan, 1)
        return self._laid(images[0].permute(0, 3, 1, 2)), labels[0]

    def _laid(self, images: Tensor) -> Tensor:
        if self.last:
            return images.contiguous(memory_format=torch.channels_last)
        # A copy in any case: with one channel both orders are contiguous, and strides tell them
        # apart, by which a convolution chooses the order of what it gives.
        return images.clone(memory_format=torch.contiguous_format)

    def stacked(self, seeds: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
        """The batches of several seeds for a stacked network, each with the values of `batch`.

        Returns: float32 [K, B, C, H, W], channels last in memory, and labels [K, B] int64.
        """
        plans = [self.plan(seed, step) for seed in seeds]
        images, labels = self._make(torch.cat(plans, 1), len(seeds))
        return images.permute(0, 1, 4, 2, 3), labels

    def draw(self, seed: int, step: int) -> Draw:
        """The random numbers of a batch."""
        rows = self._order.rows(seed, step)
        if not self.pad:
            none = np.zeros_like(rows)
            return Draw(rows, none, none, none)
        span = 2 * self.pad + 1
        numbers = np.random.default_rng([seed, step, 1]).integers(
            0, [span, span, 2], size=(self.size, 3)
        )
        top, left, mirror = np.ascontiguousarray(numbers.T)
        if self.augment == "shift":
            mirror = np.zeros_like(mirror)
        return Draw(rows, top, left, mirror)

    def plan(self, seed: int, step: int) -> Tensor:
        """What to copy for a step, on the device: int64 [5, B].

        Rows are: image, where its crop begins in the flat row, 1 for a mirror image, and the
        offsets of the crop's rows and columns. Steps are planned AHEAD at a time.
        """
        number, place = divmod(step, AHEAD)
        key = seed, self._lane()
        kept = self._plans.get(key)
        if kept is None or kept[0] != number:
            draws = [self.draw(seed, number * AHEAD + k) for k in range(AHEAD)]
            rows, top, left, mirror = map(np.stack, zip(*draws, strict=True))  # [AHEAD, B]
            begin = rows * self._length + (top * self.width + left) * self.channels
            # In the mirror image left and right edge of the crop change places.
            edge = np.where(mirror, 2 * self.pad - left, left)
            drawn = np.stack([rows, begin, mirror, top, edge], axis=1)
            if len(self._plans) >= SEEDS:
                self._plans.clear()
            kept = self._plans[key] = (number, sent(drawn, self.device))
        return kept[1][place]

    def _make(self, plan: Tensor, seeds: int) -> tuple[Tensor, Tensor]:
        """Images [K, B, H, W, C] float32 and labels [K, B, ...] of K seeds, whose plans lie in a
        row.
        """
        rows, begins, mirrored, top, edge = plan.unbind()
        if self.by_index:
            out = self._gather(begins, mirrored)
        else:
            out = self._pieces.index_select(0, begins)
            self._mirror(out.numpy(), np.flatnonzero(mirrored.numpy()))
        if not self._ready:
            out = self._normalised(out)
        if self.pad:
            self._clear_edges(out, top, edge)
        labels = self.labels.index_select(0, rows)
        group = (seeds, self.size)
        shape = (*group, self.height, self.width, self.channels)
        return out.view(shape), labels.view(*group, *labels.shape[1:])

    def _mirror(self, crops: NDArray[np.generic], which: Array) -> None:
        """Mirror some crops [n, H*W*C] in place; by channel, since NumPy copies long runs fast."""
        if not len(which):
            return
        image = crops.reshape(-1, self.height, self.width, self.channels)
        before = image[which]
        after = np.empty_like(before)
        for channel in range(self.channels):
            after[..., channel] = before[:, :, ::-1, channel]
        image[which] = after

    def _gather(self, begins: Tensor, mirrored: Tensor) -> Tensor:
        """The same crops with an index per number, as a GPU has it: [n, H*W*C]."""
        span = torch.arange(self.width, device=self.device)
        columns = torch.where(mirrored[:, None] == 1, self.width - 1 - span, span)  # [n, W]
        rows = torch.arange(self.height, device=self.device) * self.width
        pixel = (rows[:, None] + columns[:, None, :]) * self.channels  # [n, H, W]
        channel = torch.arange(self.channels, device=self.device)
        index = (begins[:, None, None] + pixel)[..., None] + channel
        return self._flat[index.view(-1, self._length)]

    def _normalised(self, pieces: Tensor) -> Tensor:
        """[n, H*W*C] as stored -> float32, normalised; the bits of `normalise`."""
        out = pieces.to(torch.float32, copy=True)
        return out.sub_(self._mean).div_(self._std)

    def _masks(self) -> tuple[Tensor, Tensor]:
        """Which rows and columns of a crop lie in the image, by the crop's offset: all bits set
        there, none elsewhere. int32 [2*pad+1, H] and [2*pad+1, W*C].
        """
        shift = torch.arange(2 * self.pad + 1)[:, None] - self.pad

        def inside(length: int) -> Tensor:
            at = torch.arange(length) + shift
            return -((at >= 0) & (at < length)).to(torch.int32)

        columns = inside(self.width).repeat_interleave(self.channels, 1)
        return inside(self.height).to(self.device), columns.to(self.device)

    def _clear_edges(self, crops: Tensor, top: Tensor, edge: Tensor) -> None:
        """Set to zero in place what lies outside the image; through the bits, so that even what
        is not finite there becomes 0.
        """
        bits = crops.view(torch.int32).view(len(crops), self.height, -1)
        bits.bitwise_and_(self._rows_kept[top][:, :, None])
        bits.bitwise_and_(self._columns_kept[edge][:, None, :])
