"""One forward on example inputs: where activations are called, by whom, and on which channels."""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hybridsearch.errors import UserError, told
from hybridsearch.evaluate.draws import kept
from hybridsearch.transplant.axes import channels_of, follow, tensors
from hybridsearch.transplant.names import KNOWN, Wanted, is_activation, name_of, title
from hybridsearch.transplant.runtime import CHECKPOINT_FILE, MODULE_FILE

Place = tuple[tuple[CodeType, int], ...]
_BETWEEN = {MODULE_FILE, torch.nn.functional.__file__, torch.overrides.__file__, __file__}
_CHANGES = "_hybridsearch_in_place"  # of a memory: what activations changed in it
_SINCE = "_hybridsearch_since"  # of a tensor: the number of the last change before it was made
_NUMBERS = itertools.count(1)  # of the changes of all traces, which may share tensors


@dataclass
class Call:
    """One call of an activation.

    owner: path of the module whose forward called. run: the number of that forward. place: where
    in the source, from the call up to that forward; methods: what of a module's runs there, if it
    is one. axis: of the channels, from the front; None: not known. source: the module that made the
    channels. read: it changed its input in place, and what it changed was read again under an older
    name. recomputed: in a checkpoint within that forward, and not in a method of a module that it
    calls. named: the input was not the first argument, but came by a name.
    """

    what: str
    owner: str
    run: int
    place: Place
    methods: tuple[tuple[nn.Module, str] | None, ...]
    shape: tuple[int, ...]
    axis: int | None
    source: str
    read: bool = False
    recomputed: bool = False
    named: bool = False


@dataclass(frozen=True)
class Slot:
    """A place that holds an activation module; a shared module has several."""

    path: str
    parent: nn.Module
    name: str
    module: nn.Module

    def put(self, module: nn.Module) -> None:
        self.parent._modules[self.name] = module


@dataclass
class Trace:
    """modules: slot's path -> its calls. functions: owner's path -> its own calls of activation
    functions. callees: owner -> paths of the modules that it called. owners: id of a module and its
    method's name -> the owners whose calls of functions came through it. astray: slots whose module
    was called otherwise than through its slots.
    """

    modules: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    functions: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    callees: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    owners: dict[tuple[int, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    astray: set[str] = field(default_factory=set)


def find_slots(model: nn.Module, wanted: Wanted) -> list[Slot]:
    """Every place in the model that holds an activation, wanted or not."""

    def counts(module: nn.Module) -> bool:
        return is_activation(module) or wanted.module(module)

    return [
        Slot(f"{path}.{name}" if path else name, parent, name, child)
        for path, parent in model.named_modules()
        if not counts(parent)
        for name, child in parent._modules.items()
        if child is not None and counts(child)
    ]


def trace(model: nn.Module, inputs: Any, slots: list[Slot], wanted: Wanted) -> Trace:
    """Run the model once and note what it calls; it is left as it was.

    Every slot gets a copy of its module for the time being, so that a module that several share
    is told apart. Raises: UserError when the model does not run on the inputs.
    """
    tracer = _Tracer(wanted)
    held = {id(slot.module) for slot in slots}
    twins = [copy.deepcopy(slot.module) for slot in slots]
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if id(module) not in held:
                stack.callback(module.register_forward_pre_hook(tracer.enter(path)).remove)
                stack.callback(module.register_forward_hook(tracer.leave).remove)
        for slot, twin in zip(slots, twins, strict=True):
            original = slot.module
            stack.callback(original.register_forward_pre_hook(tracer.stray(slot.path)).remove)
            done = original.register_forward_hook(tracer.returned, with_kwargs=True)
            stack.callback(done.remove)
            called = tracer.called(slot.path)
            twin.register_forward_pre_hook(called, prepend=True, with_kwargs=True)
            twin.register_forward_hook(tracer.returned, with_kwargs=True)
            stack.callback(slot.put, original)
            slot.put(twin)
        with tracer:
            out = run(model, inputs)
    values = list(out.values()) if isinstance(out, Mapping) else out
    tracer.reads(tensors(values))
    return tracer.found


def run(model: nn.Module, inputs: Any) -> Any:
    """The model's output in evaluation, without gradients, its mode and generators left alone."""
    with evaluating(model), torch.no_grad(), kept():
        try:
            if isinstance(inputs, Mapping):
                return model(**inputs)
            return model(*inputs) if isinstance(inputs, list | tuple) else model(inputs)
        except Exception as error:
            raise UserError(
                "expected example_inputs that the model runs on (a tensor, a tuple, or a dict of "
                f"keyword arguments), got {told(error)}"
            ) from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, then each in its own again."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


class _Tracer(TorchFunctionMode):
    """Sees every torch call of the forward, and by its hooks whose call it is."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.found = Trace()
        self.names = KNOWN | wanted.names
        self.running: list[tuple[str, int]] = []
        self.runs: Counter[str] = Counter()
        self.inside = 0  # of an activation, where every call is its own affair
        self.last: Call | None = None  # of a module
        self.number = 0  # of the last change in place

    # Hooks ------------------------------------------------------------------------------------

    def enter(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if self.running:
                self.found.callees[self.running[-1][0]].add(path)
            self.runs[path] += 1
            self.running.append((path, self.runs[path]))

        return hook

    def leave(self, module: nn.Module, args: Any, out: Any) -> None:
        self.running.pop()

    def called(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            x = _first(args, kwargs)
            if isinstance(x, Tensor) and not self.inside:
                self.last = self._call(title(module), x)
                self.last.named = not args
                self.found.modules[path].append(self.last)
            self.inside += 1

        return hook

    def returned(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        self.inside -= 1
        if self.inside or not self.last or not isinstance(out, Tensor):
            return None
        same = out is _first(args, kwargs)
        return self._changed(self.last, out, out.view_as(out)) if same else None

    def stray(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            self.found.astray.add(path)
            self.inside += 1

        return hook

    # Calls ------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        owner = self.running[-1][0] if self.running else ""
        x = args[0] if args else kwargs.get("input")
        call = None
        if not self.inside and name_of(func) in self.names and isinstance(x, Tensor):
            call = self._call(func.__name__, x)
            self.found.functions[owner].append(call)
            for module, name in filter(None, call.methods):
                self.found.owners[id(module), name].add(owner)
        out = func(*args, **kwargs)
        if any(True for _ in tensors(out)):
            self.reads(tensors([*args, *kwargs.values()]))
            follow(func, args, kwargs, out, owner)
            self._made(tensors(out))
        if call and out is x:
            out = self._changed(call, x, x.view_as(x))
            follow(func, args, kwargs, out, owner)
        return out

    def reads(self, used: Iterator[Tensor]) -> None:
        """Who reads what was changed in place, through a tensor made before, relies on the change.

        That may be the input itself, what the input is a view of, or another view of that.
        """
        for x in used:
            since = getattr(x, _SINCE, 0)
            for change in getattr(_memory(x), _CHANGES, ()):
                if since < change.number and _meet(change.spot, _spot(x)):
                    change.call.read = True

    def _made(self, results: Iterator[Tensor]) -> None:
        for x in results:
            if not isinstance(x, nn.Parameter):
                setattr(x, _SINCE, self.number)

    def _changed(self, call: Call, x: Tensor, out: Tensor) -> Tensor:
        """An activation has changed x in place; its result goes on as `out`, a view of x."""
        self.number = next(_NUMBERS)
        memory, change = _memory(x), _Change(call, self.number, _spot(x))
        setattr(memory, _CHANGES, [*getattr(memory, _CHANGES, ()), change])
        self._made(iter([out]))
        return out

    def _call(self, what: str, x: Tensor) -> Call:
        owner, number = self.running[-1] if self.running else ("", 0)
        mark = channels_of(x)
        axis, source = (mark.axis, mark.source) if mark else (None, "")
        frames = _frames()
        place = tuple((frame.f_code, frame.f_lasti) for frame in frames)
        methods = tuple(map(_method, frames))
        files = [frame.f_code.co_filename for frame in frames]
        within = next((k for k, method in enumerate(methods) if method), len(files))
        recomputed = CHECKPOINT_FILE in files[:within]
        shape = tuple(x.shape)
        return Call(what, owner, number, place, methods, shape, axis, source, recomputed=recomputed)


@dataclass(frozen=True)
class _Spot:
    """Which elements of its memory a tensor consists of."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        steps = zip(self.size, self.stride, strict=True)
        return self.offset + 1 + sum((count - 1) * step for count, step in steps)


@dataclass(frozen=True)
class _Change:
    """A change in place, and where it was made."""

    call: Call
    number: int
    spot: _Spot | None


def _memory(x: Tensor) -> Any:
    """What all tensors hold that have elements in common; a sparse one has none with others."""
    try:
        return x.untyped_storage()
    except RuntimeError:
        return x


def _spot(x: Tensor) -> _Spot | None:
    try:
        return _Spot(x.dtype, tuple(x.shape), tuple(x.stride()), int(x.storage_offset()))
    except RuntimeError:  # sparse or nested: not told by strides
        return None


def _meet(one: _Spot | None, other: _Spot | None) -> bool:
    """Whether tensors of one memory have elements in common; True where that is not known."""
    if one is None or other is None or one == other or one.dtype != other.dtype:
        return True
    # The chunks of a tensor lie between each other, so limits would not do.
    marked = torch.zeros(max(one.end, other.end, 0), dtype=torch.bool, device="cpu")
    marked.as_strided(one.size, one.stride, one.offset).fill_(True)
    return bool(marked.as_strided(other.size, other.stride, other.offset).any())


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a module was called on, by whatever name."""
    return next(iter([*args, *kwargs.values()]), None)


def _frames() -> list[FrameType]:
    """From the call of an activation up to the forward it belongs to."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    found = []
    while frame.f_back is not None and frame.f_code.co_filename != MODULE_FILE:
        found.append(frame)
        frame = frame.f_back
    return found


def _method(frame: FrameType) -> tuple[nn.Module, str] | None:
    """The module and the name of the method that runs in a frame, if one does."""
    code = frame.f_code
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    if not isinstance(first, nn.Module):
        return None
    written = inspect.getattr_static(type(first), code.co_name, None)
    if isinstance(written, staticmethod | classmethod):
        return None
    while written is not None and getattr(written, "__code__", None) is not code:
        written = getattr(written, "__wrapped__", None)
    return (first, code.co_name) if written is not None else None
