"""The object between training and a device; CUDA's calls are replaced where there is no CUDA."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager, nullcontext

import pytest
import torch

from hybridsearch.evaluate.accelerator import Cuda, Host, accelerator_for, say_once

OOM = torch.cuda.OutOfMemoryError


class Stream:
    def __init__(self, name):
        self.name, self.log = name, []
        self.cuda_stream = hash(name)

    def wait_stream(self, other):
        self.log.append(other.name)


class FakeDriver:
    """torch.cuda's streams and graphs, written down."""

    def __init__(self, monkeypatch):
        self.default, self.made, self.log = Stream("default"), [], []
        self.current = self.default
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "Stream", self.new)
        monkeypatch.setattr(cuda, "current_stream", lambda device: self.current)
        monkeypatch.setattr(cuda, "default_stream", lambda device: self.default)
        monkeypatch.setattr(cuda, "stream", self.on)
        monkeypatch.setattr(cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(cuda, "graph", self.graph)

    def new(self, device):
        self.made.append(Stream(f"side {len(self.made)}"))
        return self.made[-1]

    @contextmanager
    def on(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert graph is self
        self.log.append(("capture", stream.name, capture_error_mode))
        yield

    def replay(self):
        self.log.append("replay")


@pytest.fixture
def driver(monkeypatch):
    return FakeDriver(monkeypatch)


@pytest.fixture
def cuda():
    return Cuda(torch.device("cuda"))


def test_gpus_are_hidden_from_these_tests():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_device_has_one_object():
    assert accelerator_for(torch.device("cuda:1")) is accelerator_for(torch.device("cuda:1"))
    assert accelerator_for(torch.device("cuda:1")).device == torch.device("cuda:1")
    assert isinstance(accelerator_for(torch.device("cpu")), Host)
    assert isinstance(accelerator_for(torch.device("meta")), Host)


def test_making_it_touches_no_gpu(cuda):
    assert cuda.device == torch.device("cuda:0")
    assert cuda.captures
    assert cuda.asynchronous
    assert not torch.cuda.is_initialized()


def test_the_numerics_are_exact_inside_and_the_users_outside(cuda, driver):
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(KeyError), cuda.session():
            assert (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (False, True, False)
            assert cudnn.enabled
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before


def test_aside_is_in_order_with_the_caller(cuda, driver):
    with cuda.aside():
        (side,) = driver.made
        assert driver.current is side
        assert side.log == ["default"]  # after what was queued before
        assert driver.default.log == []
        with cuda.aside():  # already aside
            assert driver.current is side
    assert driver.default.log == ["side 0"]  # and before what is queued after
    assert driver.current is driver.default
    assert len(driver.made) == 1


def test_children_are_not_ordered_among_each_other(cuda, driver):
    first, second = cuda.stream(), cuda.stream()
    lanes = set()
    assert first.log == second.log == ["default"]
    for stream in (first, second, first):
        with cuda.on(stream):
            assert driver.current is stream
            lanes.add(cuda.lane())
    assert len(lanes) == 2
    assert cuda.lane() not in lanes
    assert first.log == second.log == ["default"]
    assert driver.default.log == []


def test_a_capture_is_on_the_stream_that_warmed_up(cuda, driver):
    with cuda.aside():
        replay = cuda.capture(lambda: driver.log.append("work"))
    assert driver.log == [("capture", "side 0", "thread_local"), "work"]
    replay()
    assert driver.log[-1] == "replay"


def raised(inner, outer):
    try:
        try:
            raise inner
        finally:
            raise outer
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error, exhausted",
    [
        (OOM("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (ValueError("out of memory"), False),
        (raised(OOM("CUDA out of memory"), RuntimeError("capture was invalidated")), True),
        (raised(KeyError(), RuntimeError("capture was invalidated")), False),
    ],
)
def test_exhausted_memory_is_known_however_it_is_worded(cuda, error, exhausted):
    assert cuda.exhausted(error) is exhausted


def test_a_lost_context_is_noticed(cuda, monkeypatch):
    def lost(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    assert not cuda.healthy()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert cuda.healthy()


def test_the_cpu_has_nothing_of_this():
    host = Host()
    with host.session(), host.aside(), host.on(host.stream()):
        pass
    with pytest.raises(RuntimeError, match="no graphs"):
        host.capture(lambda: None)
    assert host.memory().free == float("inf")
    assert host.exhausted(MemoryError())
    assert not host.exhausted(RuntimeError("out of memory"))
    assert host.identity() == {"type": "cpu"}


def test_a_warning_is_given_once():
    say_once.cache_clear()
    with pytest.warns(UserWarning, match="only now"):
        say_once("only now")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_once("only now")
