"""Methods that a forward calls and others call too, such as the `decode` of an autoencoder.

The hooks of `runtime` see calls of a module alone, so `model.decode(z)` and `model.forward(x)`
would pass the sites by. An instance with such methods gets a class of its own, which leads them
there. It is the class and not the instance that has them: a replica of DataParallel shares what its
original holds, and would run the original's.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn

from hybridsearch.transplant.runtime import (
    ENTRANCES,
    MODULE_FILE,
    Redirect,
    Sites,
    forward_frame,
    redirected,
    running,
)
from hybridsearch.transplant.trace import Call

_PARTS = "_hybridsearch_parts"
_SHARED = "_hybridsearch_shared"  # of an owner: parts of others whose methods it calls, by name
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # which torch 2.6 has not
Method = tuple[nn.Module, str]


@dataclass(frozen=True)
class Part:
    """What a method calls of the sites that its owner's forward takes turns in.

    path: of the sites, below the method's module; None: they are not, or forwards of other owners
    call the method too. names: of the functions.
    first, end: of the sites that one call of the method takes; end None: not the same ones always.
    """

    path: str | None
    token: str
    names: frozenset[str]
    first: int
    end: int | None

    def runs(self, module: nn.Module) -> bool:
        """Whether the owner's forward is running, so that calls reach the sites without help."""
        mode = running()
        if mode is None:
            return False
        if self.path is None:
            return mode.sites.token == self.token
        return mode.sites is module.get_submodule(self.path)

    @contextmanager
    def begun(self, module: nn.Module, name: str, frame: FrameType) -> Iterator[None]:
        """Lead the calls of a method, in a frame, to the sites. Raises: RuntimeError."""
        if self.path is None or self.end is None:
            raise RuntimeError(
                f"{name}() was called outside the forward that its activations belong to, and it "
                "cannot be told which are its own; "
                + ("call that forward" if self.path is None else "swap with betas='scalar'")
            )
        sites = module.get_submodule(self.path)
        assert isinstance(sites, Sites)
        before = sites.calls, sites.thread
        if sites.counted:
            sites.begin(threading.get_ident(), self.first)
        try:
            with redirected(Redirect(sites, self.names, frame)):
                yield
            if sites.counted and sites.calls != self.end:
                raise RuntimeError(
                    f"expected {self.end - self.first} calls of an activation in {name}(), as on "
                    f"the example inputs, got {sites.calls - self.first}; swap with betas='scalar'"
                )
        finally:
            sites.calls, sites.thread = before


class Led(nn.Module):
    """What the class of an instance with such methods has besides."""

    # What it was written as. Names of the class hide submodules: by this one nobody has any.
    _hybridsearch_base: type[nn.Module]

    def __init_subclass__(cls) -> None:
        """No registry of subclasses hears of it."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle knows classes by name, and by this one's it finds the written one."""
        made = super().__reduce_ex__(protocol)
        assert not isinstance(made, str)  # which names what is there once in a program
        make, args, *rest = made
        args = tuple(type(self)._hybridsearch_base if arg is type(self) else arg for arg in args)
        return _again, (make, args, tuple(self.__dict__[_PARTS])), *rest


def _again(make: Callable[..., nn.Module], args: tuple[Any, ...], names: tuple[str, ...]) -> Any:
    """What `__reduce_ex__` has taken apart."""
    module = make(*args)
    base: Any = type(module)
    object.__setattr__(module, "__class__", _class(base, frozenset(names)))
    return module


@functools.cache
def _class(base: Any, names: frozenset[str]) -> type[nn.Module]:
    """The class with these methods led to their sites, whatever names the written one has for them;
    it goes by the name of that.
    """
    written: dict[str, Any] = {}
    for kind in reversed(base.__mro__):
        written |= vars(kind)

    def body(space: dict[str, Any]) -> None:
        for name in sorted(names):
            led = _led(getattr(base, name), name)
            space |= {other: led for other, one in written.items() if one is written[name]}
        space |= {n: getattr(base, n) for n in ("__module__", "__qualname__", "__doc__")}
        space["_hybridsearch_base"] = base

    return types.new_class(base.__name__, (Led, base), {}, body)


def _led(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A method whose calls of functions reach their sites, whoever calls it."""

    def led(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        part = _alone(self, name)
        if part is None:
            return method(self, *args, **kwargs)
        with part.begun(self, name, sys._getframe()):
            return method(self, *args, **kwargs)

    if led.__code__ not in ENTRANCES:
        ENTRANCES.append(led.__code__)
    broken = torch.compiler.disable(led, recursive=False)  # type: ignore[no-untyped-call]

    # Without `updated`, torch.compiler would take the marks of the method for those of this one.
    @functools.wraps(method, updated=())
    def either(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        # torch.compile stops here, as at the hooks; torch.export refuses what does, and need not.
        return (led if _exporting() else broken)(self, *args, **kwargs)

    return either


def _alone(module: nn.Module, name: str) -> Part | None:
    """The part to begin where a method is called outside the forward of an owner."""
    parts: Sequence[Part] = module.__dict__[_PARTS][name]
    if any(part.runs(module) for part in parts):
        return None
    # No mode tells that the forward of an owner is running which is left as it was.
    shared = _within().get(_SHARED, ())
    if any((name, part) in shared for part in parts):
        return None
    if len(parts) == 1:
        return parts[0]
    return Part(None, "", frozenset(), 0, None)  # of several owners


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _within() -> dict[str, Any]:
    """What the module holds whose forward is running; empty: none is."""
    frame = forward_frame()
    module = frame.f_locals.get("self") if frame.f_code.co_filename == MODULE_FILE else None
    return module.__dict__ if isinstance(module, nn.Module) else {}


def lead(
    model: nn.Module,
    sites: Sites,
    each: Iterable[Sequence[Call]],
    names: frozenset[str],
    owners: Mapping[tuple[int, str], set[str]],
) -> Callable[[], None]:
    """Lead the methods that calls came through to the sites. Returns how to undo it.

    each: the calls of every site, in their order; names: of the functions that are called; owners:
    of each method, as in `Trace`.
    """
    known = {id(module) for module in model.modules()}
    found: dict[tuple[int, str], list[tuple[int, Any]]] = {}
    modules: dict[int, nn.Module] = {}
    own: set[str] = set()
    for number, calls in enumerate(each):
        for call in calls:
            own.add(call.owner)
            for depth, method in enumerate(call.methods):
                if method is not None and id(method[0]) in known:
                    modules[id(method[0])] = method[0]
                    # From where it was called: several places may be several parts.
                    seen = found.setdefault((id(method[0]), method[1]), [])
                    seen.append((number, call.place[depth + 1 :]))
    added: list[tuple[nn.Module, str, Part]] = []
    shared: list[tuple[nn.Module, tuple[str, Part]]] = []
    for (key, name), seen in found.items():
        module = modules[key]
        others = owners[key, name] - own
        below = (path for path, one in module.named_modules() if one is sites)
        path = None if others else next(below, None)
        numbers = {number for number, _ in seen}
        first, end = min(numbers), max(numbers) + 1
        one = len(numbers) == end - first and len({place for _, place in seen}) == 1
        certain = (one or not sites.counted) and not inspect.isgeneratorfunction(
            inspect.unwrap(getattr(type(module), name))
        )
        part = Part(path, sites.token, names, first, end if certain else None)
        added.append((module, name, part))
        shared += [(model.get_submodule(other), (name, part)) for other in sorted(others)]
    for owner, mark in shared:
        owner.__dict__[_SHARED] = {*owner.__dict__.get(_SHARED, ()), mark}
    for module, name, part in added:
        parts = module.__dict__.setdefault(_PARTS, {})
        parts[name] = (*parts.get(name, ()), part)
        _settle(module)

    def back() -> None:
        for owner, mark in shared:
            owner.__dict__[_SHARED] = owner.__dict__[_SHARED] - {mark}
            if not owner.__dict__[_SHARED]:
                del owner.__dict__[_SHARED]
        for module, name, part in added:
            parts = module.__dict__[_PARTS]
            parts[name] = tuple(one for one in parts[name] if one is not part)
            if not parts[name]:
                del parts[name]
            _settle(module)

    return back


def _settle(module: nn.Module) -> None:
    """Give a module the class that its parts need."""
    base: Any = type(module)._hybridsearch_base if isinstance(module, Led) else type(module)
    names = frozenset(module.__dict__[_PARTS])
    if not names:
        del module.__dict__[_PARTS]
    made = _class(base, names) if names else base
    object.__setattr__(module, "__class__", made)
