"""What a swapped model runs: one activation per call site, chosen by the order of the calls.

Hooks get the module that runs as an argument and hold only a path, so they also work in a deep
copy, after unpickling and in the replicas of DataParallel.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from hybridsearch.transplant.names import name_of

MODULE_FILE = nn.Module.__call__.__code__.co_filename  # of torch's frames around a forward
CHECKPOINT_FILE = torch.utils.checkpoint.__file__
ENTRANCES: list[CodeType] = []  # what leads methods to their sites, see `methods`
OUTSIDE = -1
_HELD = "_hybridsearch_held"
Hook = Any  # a RemovableHandle; torch exports the class under no stable name


class Original(nn.Module):
    """The place of a function's call that is left as it was."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("an original call has no module of its own")


class Sites(nn.ModuleList):
    """The activations of the call sites that one module, or one forward, uses.

    counted: one per call of its owner's forward, in their order; the first is the first call's.
    Otherwise one for all calls. `calls`: of the forward that runs; OUTSIDE while none does.
    `token`: tells them, and copies of them, from all others.
    """

    def __init__(self, sites: Iterable[nn.Module], counted: bool) -> None:
        super().__init__(sites)
        self.counted, self.calls, self.thread = counted, OUTSIDE, 0
        self.token = secrets.token_hex(8)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.turn()(x)
        return result

    def turn(self) -> nn.Module:
        """The activation whose turn it is. Raises: RuntimeError when the count does not hold."""
        if not self.counted:
            return self[0]
        number = self.calls
        if number == OUTSIDE:
            raise RuntimeError(
                "an activation was called outside the forward that it belongs to (by a checkpoint "
                "within it, or by .forward()); swap with betas='scalar'"
            )
        if number >= len(self):
            self.wrong(number + 1)
        self.calls = number + 1
        return self[number]

    def begin(self, thread: int, first: int = 0) -> None:
        """The site that the next call goes to. Raises: RuntimeError while another thread runs."""
        # Of the same thread it is a forward that was interrupted.
        if self.calls != OUTSIDE and self.thread != thread:
            raise RuntimeError(
                "expected one forward of a swapped model at a time, got a second of another "
                "thread; give each thread a copy, or swap with betas='scalar'"
            )
        self.thread, self.calls = thread, first

    def wrong(self, calls: int) -> None:
        raise RuntimeError(
            f"expected {len(self)} calls of an activation in one forward, as on the example "
            f"inputs, got {calls}; swap with betas='scalar'"
        )

    def extra_repr(self) -> str:
        return "one per call" if self.counted else "one for all calls"

    def __getstate__(self) -> dict[str, Any]:
        """A copy is in no forward, whatever this one is in, or was in when it was interrupted."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return state | {"calls": OUTSIDE}


@dataclass(frozen=True)
class Begin:
    """Before the forward of an owner: its first call comes next."""

    path: str

    def __call__(self, owner: nn.Module, args: Any) -> None:
        sites = _sites(owner, self.path)
        if torch.compiler.is_compiling():
            sites.calls = 0
        else:
            sites.begin(threading.get_ident())


@dataclass(frozen=True)
class End:
    """After it, also when it failed (there is no output then): all calls were made."""

    path: str

    def __call__(self, owner: nn.Module, args: Any, out: Any) -> None:
        sites = _sites(owner, self.path)
        calls, sites.calls = sites.calls, OUTSIDE
        if out is not None and calls != len(sites):
            sites.wrong(calls)


def _sites(owner: nn.Module, path: str) -> Sites:
    found = owner.get_submodule(path)
    assert isinstance(found, Sites)
    return found


class Redirect(TorchFunctionMode):
    """While an owner's forward runs: calls of activation functions go to its sites.

    frame: of that forward. A KeyboardInterrupt ends a forward without its hooks, so the mode stays
    behind; it is dead then, and passes everything on.
    """

    def __init__(self, sites: Sites, names: frozenset[str], frame: FrameType) -> None:
        super().__init__()
        self.sites, self.names, self.frame = sites, names, frame

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if name_of(func) in self.names and self.alive():
            self.check(func)
            site = self.sites.turn()
            if not isinstance(site, Original):
                return site(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def alive(self) -> bool:
        """Whether its forward is running, that is, among the callers."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not self.frame:
            frame = frame.f_back
        return frame is not None

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def check(self, func: Callable[..., Any]) -> None:
        """Raises: RuntimeError where a checkpoint would call again without coming by here."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not self.frame:
            # By identity: code that Dynamo has made may have no hash.
            if any(frame.f_code is code for code in ENTRANCES):
                return
            if frame.f_code.co_filename == CHECKPOINT_FILE:
                raise RuntimeError(
                    f"a replaced call of {name_of(func)}() was made within a checkpoint inside the "
                    "forward that it belongs to, where its recomputation would not be replaced; "
                    "checkpoint a module or a method of one instead"
                )
            frame = frame.f_back

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of what holds a mode holds None: no forward of it is running."""
        return type(None), ()


def running() -> Redirect | None:
    """The mode that calls of functions go to now."""
    stack = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    modes = (mode for mode in reversed(stack) if isinstance(mode, Redirect))
    return next((mode for mode in modes if mode.alive()), None)


def _current() -> TorchFunctionMode | None:
    mode: TorchFunctionMode | None = _get_current_function_mode()  # type: ignore[no-untyped-call]
    return mode


def _push(mode: TorchFunctionMode) -> None:
    _push_mode(mode)  # type: ignore[no-untyped-call]


def _pop() -> None:
    _pop_mode()  # type: ignore[no-untyped-call]


def forward_frame() -> FrameType:
    """The frame of torch's that runs a module's hooks and forward, from within them; the
    outermost frame where there is none.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != MODULE_FILE:
        frame = frame.f_back
    return frame


def _top() -> Redirect | None:
    """The mode that a module's own calls go to now; dead ones are thrown away."""
    while isinstance(mode := _current(), Redirect):
        if mode.alive():
            return mode
        _pop()
    return None


@contextmanager
def redirected(mode: Redirect) -> Iterator[None]:
    """Let calls go to a mode for the time being."""
    _top()
    _push(mode)
    try:
        yield
    finally:
        if _top() is mode:  # not where a child paused it and was interrupted
            _pop()


# torch.compile would trace these hooks and lose the mode, so it has to stop at them: it breaks the
# graph there, and `fullgraph=True` is answered with an error.
@dataclass(frozen=True)
class Enter:
    """Before the forward of an owner with functional calls."""

    path: str
    names: frozenset[str]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, owner: nn.Module, args: Any) -> None:
        _top()
        _push(Redirect(_sites(owner, self.path), self.names, forward_frame()))


class Leave:
    """After it, also when it failed."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, owner: nn.Module, args: Any, out: Any) -> None:
        if _top():
            _pop()


class Pause:
    """Before the forward of an owner's child: what the child calls is no call of the owner's."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, child: nn.Module, args: Any) -> None:
        mode = _top()
        if mode:
            _pop()
        held = child.__dict__.setdefault(_HELD, {})
        # Dead ones would gather, each with the frames of its forward; None holds a call's place.
        alive = [m for m in held.get(threading.get_ident(), []) if m is None or m.alive()]
        held[threading.get_ident()] = [*alive, mode]


class Resume:
    """After it, also when it failed."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, child: nn.Module, args: Any, out: Any) -> None:
        held = child.__dict__.get(_HELD, {})
        modes = held.get(threading.get_ident(), [])
        mode = modes.pop() if modes else None
        if mode and mode.alive():
            _push(mode)
        if not any(m and m.alive() for m in modes):  # what interrupts left behind goes with it
            held.pop(threading.get_ident(), None)


class Positional:
    """Before an activation that is called with its input by a name, `act(input=x)`: what took its
    place may have another name for it.
    """

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        return (*args, *kwargs.values()), {}


@dataclass(frozen=True, eq=False)
class Kept:
    """A hook of a module that was replaced, for what took its place.

    hooks: those of that module, by number. The handle that whoever registered the hook has removes
    it from there, and then it is gone here too.
    """

    hooks: Mapping[int, Hook]
    number: int

    def __call__(self, *args: Any) -> Any:
        hook = self.hooks.get(self.number)
        return None if hook is None else hook(*args)


_OURS = (Begin, End, Enter, Leave, Pause, Resume, Positional)


def keep_hooks(old: nn.Module, new: nn.Module) -> None:
    """Let what others have hooked to a module be called for what takes its place."""
    for number, hook in old._forward_pre_hooks.items():
        if not isinstance(hook, _OURS):
            new.register_forward_pre_hook(
                Kept(old._forward_pre_hooks, number),
                with_kwargs=number in old._forward_pre_hooks_with_kwargs,
            )
    for number, hook in old._forward_hooks.items():
        if not isinstance(hook, _OURS):
            new.register_forward_hook(
                Kept(old._forward_hooks, number),
                with_kwargs=number in old._forward_hooks_with_kwargs,
                always_call=number in old._forward_hooks_always_called,
            )
    for number in old._backward_pre_hooks:
        new.register_full_backward_pre_hook(Kept(old._backward_pre_hooks, number))
    whole = old._is_full_backward_hook
    for number in old._backward_hooks:
        add = new.register_full_backward_hook if whole else new.register_backward_hook
        add(Kept(old._backward_hooks, number))


def count(owner: nn.Module, path: str) -> list[Hook]:
    """Let an owner count the calls of the sites at a path below it."""
    return [
        owner.register_forward_pre_hook(Begin(path)),
        owner.register_forward_hook(End(path), always_call=True),
    ]


def redirect(
    owner: nn.Module, path: str, names: frozenset[str], children: Iterable[nn.Module]
) -> list[Hook]:
    """Let an owner's own calls of functions with these names go to its sites.

    A child may be an owner too: it pauses its parent's before it enters its own, and leaves that
    before it resumes the parent's.
    """
    hooks = [
        owner.register_forward_pre_hook(Enter(path, names)),
        owner.register_forward_hook(Leave(), prepend=True, always_call=True),
    ]
    for child in children:
        hooks += pause(child)
    return hooks


def positional(module: nn.Module) -> None:
    """Let a module be called with its input by any name."""
    module.register_forward_pre_hook(Positional(), with_kwargs=True)


def pause(child: nn.Module) -> list[Hook]:
    """Let what a child calls be no call of its owner's."""
    return [
        child.register_forward_pre_hook(Pause(), prepend=True),
        child.register_forward_hook(Resume(), always_call=True),
    ]


def paused(child: nn.Module) -> bool:
    """Whether a module does so, and then what takes its place has to."""
    return any(isinstance(hook, Pause) for hook in child._forward_pre_hooks.values())
