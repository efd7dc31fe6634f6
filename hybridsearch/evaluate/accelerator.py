"""What training asks of a device beyond tensors: streams, graphs, memory, numerics.

All that only CUDA has is reached through this one object, so that the code above it runs on a CPU
and is tested with an object that records calls, replays graphs and runs out of memory on demand.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch

Stream = Any  # a torch.cuda.Stream; None on a CPU
Replay = Callable[[], None]

# cuBLAS is reproducible across streams only with workspaces of a fixed size (its manual, section
# Results Reproducibility); read when the first handle is made.
_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# How libraries word what PyTorch does not raise as OutOfMemoryError.
_EXHAUSTED = ("out of memory", "STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class Memory:
    """Bytes of a device. free: unused by anyone; total; held: reserved by this process; peak: the
    most that it held since `reset_peak`.
    """

    free: float
    total: float
    held: float
    peak: float


class Accelerator(Protocol):
    """One device of one process.

    captures: whether steps are worth capturing; set to False by who found that they cannot be.
    asynchronous: work is queued, so that looking at a value makes the host wait.
    """

    device: torch.device
    captures: bool
    asynchronous: bool

    def session(self) -> AbstractContextManager[None]:
        """Inside: the device is current, and computes reproducibly and in the stated precision."""
        ...

    def stream(self) -> Stream:
        """A new stream, in order after what is queued now on the current one."""
        ...

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Inside: work is queued on `stream`. It is not ordered with work on other streams."""
        ...

    def lane(self) -> int:
        """The current stream as a number. A tensor that is made on one and kept for others would
        be read before it is there, and its memory used again while it is read: what is kept for
        later steps is kept per lane.
        """
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Inside: a stream that may capture, in order with the caller's before and after."""
        ...

    def capture(self, work: Callable[[], None]) -> Replay:
        """Record what `work` queues on the current stream, without running it; what is returned
        runs it. Raises: RuntimeError when work does what a graph cannot hold.
        """
        ...

    def synchronize(self) -> None:
        """Wait for all that is queued."""
        ...

    def memory(self) -> Memory: ...

    def reset_peak(self) -> None: ...

    def release(self) -> None:
        """Give memory that nothing uses back to the device."""
        ...

    def exhausted(self, error: BaseException) -> bool:
        """Whether an exception says that the device's memory is used up."""
        ...

    def healthy(self) -> bool:
        """False after an error that the process cannot recover from (its context is lost)."""
        ...

    def identity(self) -> dict[str, str]:
        """What of the device and its libraries can change a number."""
        ...


class Host:
    """The CPU: no streams, no graphs, memory without end."""

    captures = asynchronous = False

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stream(self) -> Stream:
        return None

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        return nullcontext()

    def lane(self) -> int:
        return 0

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def capture(self, work: Callable[[], None]) -> Replay:
        raise RuntimeError("a CPU has no graphs")

    def synchronize(self) -> None:
        """Nothing is queued."""

    def memory(self) -> Memory:
        return Memory(float("inf"), float("inf"), 0.0, 0.0)

    def reset_peak(self) -> None:
        """Nothing is counted."""

    def release(self) -> None:
        """Nothing is held."""

    def exhausted(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def healthy(self) -> bool:
        return True

    def identity(self) -> dict[str, str]:
        return {"type": self.device.type}


class Cuda:
    """One CUDA device. It is first touched in `session`, not when this object is made."""

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", device.index or 0)
        self.captures = self.asynchronous = True
        os.environ.setdefault(*_WORKSPACE)

    @contextmanager
    def session(self) -> Iterator[None]:
        """fp32 is fp32 (no TF32), convolutions choose no algorithm by timing and none that sums
        in an order of its own: the same task gives the same bits, alone or in a pack.
        """
        matmul = torch.get_float32_matmul_precision()
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.cuda.device(self.device), exact:
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(matmul)

    def stream(self) -> Stream:
        made = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        made.wait_stream(torch.cuda.current_stream(self.device))
        return made

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream)

    def lane(self) -> int:
        return int(torch.cuda.current_stream(self.device).cuda_stream)

    @contextmanager
    def aside(self) -> Iterator[None]:
        before = torch.cuda.current_stream(self.device)
        if before != torch.cuda.default_stream(self.device):
            yield
            return
        side = self.stream()
        with torch.cuda.stream(side):
            yield
        before.wait_stream(side)

    def capture(self, work: Callable[[], None]) -> Replay:
        # On the stream that warmed up: library handles, workspaces and autograd's accumulation
        # nodes belong to a stream. One live graph per stream, since graphs of one stream share
        # its cuBLAS workspace (pytorch issue 193402).
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(self.device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            work()
        return graph.replay

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)

    def memory(self) -> Memory:
        free, total = torch.cuda.mem_get_info(self.device)
        held = torch.cuda.memory_reserved(self.device)
        return Memory(free, total, held, torch.cuda.max_memory_reserved(self.device))

    def reset_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()

    def exhausted(self, error: BaseException) -> bool:
        chain: BaseException | None = error
        while chain is not None:  # the end of a failed capture raises an error of its own
            if isinstance(chain, torch.cuda.OutOfMemoryError):
                return True
            if isinstance(chain, RuntimeError) and any(w in str(chain) for w in _EXHAUSTED):
                return True
            chain = chain.__context__
        return False

    def healthy(self) -> bool:
        try:
            self.synchronize()
        except RuntimeError:
            return False
        return True

    def identity(self) -> dict[str, str]:
        about = torch.cuda.get_device_properties(self.device)
        return {
            "type": "cuda",
            "name": about.name,
            "capability": f"{about.major}.{about.minor}",
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }


@cache
def accelerator_for(device: torch.device) -> Accelerator:
    """The object of a device, one per process."""
    return Cuda(device) if device.type == "cuda" else Host(device)


@cache
def say_once(message: str) -> None:
    """A warning in one line, the first time that it is due in this process."""
    warnings.warn(message, stacklevel=2)
