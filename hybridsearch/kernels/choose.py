"""Which kernel computes a function: a rule, not a stopwatch.

The bits of a training depend on the kernel, so two runs that should be equal must not time their
way to different ones. The rule looks at the function's program, at the tensors of the network and
at the length of a training; docs/decisions/0009-kernels.md has the measurements behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from hybridsearch.errors import UserError
from hybridsearch.genome.activation import Kernel, is_exact
from hybridsearch.genome.function import Function
from hybridsearch.kernels import build
from hybridsearch.kernels.compiled import CompiledKernel
from hybridsearch.kernels.compiled import identity as triton
from hybridsearch.kernels.native import NativeKernel
from hybridsearch.kernels.program import has_programs, programs
from hybridsearch.kernels.tape import TapeKernel

VERSION = 2  # raised by every change after which a kernel computes other bits
EAGER = ""  # the spec of plain PyTorch
KERNELS: dict[str, Callable[[Function], Kernel]] = {
    "tape": TapeKernel,
    "native": NativeKernel,
    "compiled": CompiledKernel,
}

# Forward and backward together, on one thread. Seconds per call, seconds per element. They need
# not be right, only so that what they prefer is never slower: benchmarks/evaluator.py checks it.
EAGER_CALL, EAGER_ELEMENT = 12e-6, 1.5e-9  # per operation ...
EAGER_SLOW = {"max": 12e-9, "min": 12e-9, "sinc": 60e-9, "asinh": 15e-9}  # ... but for these
NATIVE_CALL, NATIVE_ELEMENT, NATIVE_OPERATION = 35e-6, 1.5e-9, 0.1e-9
TAPE_CALL, TAPE_ELEMENT, TAPE_OPERATION = 200e-6, 1.5e-9, 0.6e-9
COMPILE = 0.4  # seconds, once per function
MARGIN = 0.9  # a kernel must look at least this much faster
# On a GPU it is memory traffic that counts. Measured once: an H200 saved 0.22 ms of a ResNet-8 step
# with swish at batch 16, where this says 0.17. The compile time is that of one core of a Xeon.
GPU_BYTES = 1e12  # per second
GPU_EAGER = 24  # bytes per operation and element: six passes of float32, forward and backward
GPU_COMPILE = 1.0  # seconds per size of tensor


@dataclass(frozen=True)
class Workload:
    """What a kernel is chosen for.

    sizes: elements of the input of every activation of the network, at the batch size. steps: of
    a full training. half: whether activations are bfloat16.
    """

    sizes: tuple[int, ...]
    steps: int
    half: bool = False


def eager_cost(function: Function, work: Workload) -> float:
    """Seconds per training step that plain PyTorch needs, roughly."""
    forward, _ = programs(function)
    # Per beta one sum over all elements; in bfloat16 two conversions, unless nothing is rounded.
    extra = 1.5 * forward.betas + 2 * (work.half and not is_exact(function))
    operations = max(1, forward.operations) + extra
    slow = [EAGER_SLOW[i.op] for i in forward.instructions if i.op in EAGER_SLOW]
    element = EAGER_ELEMENT * (operations - len(slow)) + sum(slow)
    return sum(EAGER_CALL * operations + element * n for n in work.sizes)


def native_cost(function: Function, work: Workload) -> float:
    """Seconds per training step of the generated kernel, compilation shared out."""
    _, backward = programs(function)
    element = NATIVE_ELEMENT + NATIVE_OPERATION * backward.operations
    return sum(NATIVE_CALL + element * n for n in work.sizes) + COMPILE / work.steps


def tape_cost(function: Function, work: Workload) -> float:
    """Seconds per training step of the chunked kernel."""
    forward, backward = programs(function)
    element = TAPE_ELEMENT + TAPE_OPERATION * (forward.operations + backward.operations)
    return sum(TAPE_CALL + element * n for n in work.sizes)


def gpu_saving(function: Function, work: Workload) -> float:
    """Seconds that compilation saves in a whole training, its own time taken off."""
    forward, _ = programs(function)
    operations = max(1, forward.operations) + 1.5 * forward.betas + 2 * work.half
    passes = 5 + 2 * (forward.betas > 0)  # the sums for betas read x and the gradient again
    bytes_ = GPU_EAGER * operations - passes * (2 if work.half else 4)
    saved = work.steps * sum(work.sizes) * bytes_ / GPU_BYTES
    return saved - GPU_COMPILE * len(set(work.sizes))


def choose(function: Function, work: Workload, kind: str = "auto", device: str = "cpu") -> str:
    """The spec of the kernel for a function: "" (eager), "tape-2" or "native-2-IDENTITY";
    on a GPU "" or "compiled-1-TRITON".

    kind: auto, or the one that the user insists on. Raises: UserError when that is not to be had.
    """
    if kind == "eager" or not has_programs(function):
        return EAGER
    if device != "cpu":
        if kind not in ("auto", "compiled"):
            raise UserError(f"training.kernel {kind} is not for {device}; take auto")
        compiler = triton("cuda")
        if kind == "compiled" and not compiler:
            raise UserError("training.kernel compiled needs Triton: pip install triton, or auto")
        pays = kind == "compiled" or gpu_saving(function, work) > 0
        return _spec("compiled") if compiler and pays else EAGER
    if kind == "auto":
        costs = {"tape": tape_cost(function, work)}
        if compiler_identity():
            costs["native"] = native_cost(function, work)
        kind = min(costs, key=lambda name: costs[name])
        if costs[kind] > MARGIN * eager_cost(function, work):
            return EAGER
    if kind not in ("tape", "native"):
        raise UserError(f"training.kernel {kind} is not for a CPU; take auto")
    if kind == "native" and not compiler_identity():
        raise UserError(
            "training.kernel native needs a C++ compiler (g++ or clang++, or CXX=...): install "
            "one or take auto"
        )
    return _spec(kind)


def _spec(kind: str) -> str:
    """The name of a kind of kernel as this machine makes it."""
    if kind == "tape":
        return f"{kind}-{VERSION}"
    return f"{kind}-{VERSION}-{compiler_identity() if kind == 'native' else triton('cuda')}"


def compiler_identity() -> str:
    """8 hex digits for the compiler, its flags and the processor; "" where there is no compiler
    or it fails on a first kernel.
    """
    return _probe()[0]


def why_no_compiler() -> str:
    """In one line why there are no native kernels here; "" where there are."""
    return _probe()[1]


@lru_cache(maxsize=1)
def _probe() -> tuple[str, str]:
    try:
        _, identity = build.compiler()
        build.load('extern "C" int hybridsearch_probe() { return 1; }\n')
    except build.NoCompiler as error:
        return "", str(error)
    return hashlib.blake2b(identity.encode(), digest_size=4).hexdigest(), ""


@lru_cache(maxsize=256)
def make(spec: str, function: Function) -> Kernel | None:
    """The kernel of a spec; None for eager.

    Raises: RuntimeError where this machine cannot run it, as a worker elsewhere may find.
    """
    if spec == EAGER:
        return None
    kind = spec.partition("-")[0]
    if kind not in KERNELS or spec != _spec(kind):
        raise RuntimeError(f"kernel {spec} is not to be had here (other compiler or processor)")
    return KERNELS[kind](function)
