"""A device that exists only in tests (queues, graphs and memory of a GPU, computed on the CPU)."""

from __future__ import annotations

import gc
from contextlib import contextmanager

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hybridsearch.evaluate.accelerator import Host, Memory
from hybridsearch.threads import one_thread

GIB = 2**30


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class RecordedGraph(TorchDispatchMode):
    """What a CUDA graph does, on the CPU: the operations of a capture and the memory they use are
    written down, nothing of it has happened when the capture ends, and a replay runs them again in
    the same memory. Python between the operations is not run again; looking at a value is refused.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.undo, self.own = [], {}, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        read = {t.untyped_storage().data_ptr(): t for t in tensors((args, kwargs))}
        for where in read.keys() - self.own:  # whether it is written or not: schemas do not tell
            storage = read[where].untyped_storage()
            self.undo.setdefault(where, (storage, storage.clone()))
        out = func(*args, **kwargs)
        made = {t.untyped_storage().data_ptr() for t in tensors(out)} - read.keys()
        self.own |= made
        self.calls.append((func, args, kwargs, tensors(out), bool(made)))
        return out

    def __exit__(self, *error):
        super().__exit__(*error)
        for storage, saved in self.undo.values():
            storage.copy_(saved)

    def replay(self):
        with torch.no_grad():
            for func, args, kwargs, outs, fresh in self.calls:
                again = tensors(func(*args, **kwargs))
                for old, new in zip(outs, again, strict=True) if fresh else ():
                    old.copy_(new)


class Lanes(TorchDispatchMode):
    """Refuses that a stream touches what was made on another: on a GPU that is a race. What was
    there when all was waited for may be read by all.
    """

    def __init__(self):
        super().__init__()
        self.stream = None
        self.owners = {}
        self.wait()

    def wait(self):
        for thing in gc.get_objects():
            if issubclass(type(thing), torch.Tensor) and thing.device.type == "cpu":
                self.own(thing, None)

    def own(self, tensor, stream):
        reference = StorageWeakRef(tensor.untyped_storage())
        known = self.owners.get(reference.cdata)
        if known is None or known[0].expired():
            self.owners[reference.cdata] = (reference, stream)
        return self.owners[reference.cdata][1]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in tensors((args, kwargs)):
            owner = self.own(tensor, self.stream)
            if owner not in (None, self.stream):
                raise AssertionError(f"{func} on stream {self.stream}, tensor of stream {owner}")
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(out):
            self.own(tensor, self.stream)
        return out


class FakeGpu(Host):
    """Counts, replays, runs out of memory, and notices races between streams.

    total: its bytes. child: bytes that a child takes from its first turn until its stream is
    given to another child or memory is released.
    """

    def __init__(self, total=80 * GIB, child=1 * GIB):
        super().__init__()
        self.captures = self.asynchronous = True
        self.total, self.child = total, child
        self.streams = 0
        self.current = self.lanes = None
        self.log, self.holders = [], set()
        self.sick = False
        self.most = 0  # children that held memory at one time

    def stream(self):
        self.streams += 1
        return self.streams

    @contextmanager
    def on(self, stream):
        assert self.current is None, "a child kept its stream"
        self.current = stream
        self.holders.add(stream)
        self.most = max(self.most, len(self.holders))
        self.lanes = self.lanes or Lanes()
        self.lanes.stream = stream
        try:
            if len(self.holders) * self.child > self.total:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nx")
            with self.lanes:
                yield
        finally:
            self.current = None

    def lane(self):
        return self.current or 0

    def capture(self, work):
        self.log.append("capture")
        with RecordedGraph() as graph:
            work()
        return graph.replay

    def synchronize(self):
        self.log.append("synchronize")
        if self.lanes:
            self.lanes.wait()

    def release(self):
        self.log.append("release")
        self.holders.clear()  # who still is there takes it again in its next turn

    def memory(self):
        held = len(self.holders) * self.child
        return Memory(self.total - held, self.total, held, held)

    def exhausted(self, error):
        return isinstance(error, torch.cuda.OutOfMemoryError)

    def healthy(self):
        return not self.sick

    def identity(self):
        return {"type": "cuda", "name": "fake"}


@pytest.fixture(autouse=True)
def single_thread():
    """As workers compute; two threads on a busy machine wait for each other."""
    with one_thread():
        yield


@pytest.fixture
def fake_gpu():
    """The class of the fake device."""
    return FakeGpu
