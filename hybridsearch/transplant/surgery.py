"""The changes of a swap to a model, each of which can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace as changed
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from hybridsearch.errors import UserError
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function
from hybridsearch.transplant.methods import lead
from hybridsearch.transplant.names import title
from hybridsearch.transplant.plan import Plan, plan, width
from hybridsearch.transplant.report import Site, Swapped
from hybridsearch.transplant.runtime import (
    Original,
    Sites,
    count,
    keep_hooks,
    pause,
    paused,
    positional,
    redirect,
)
from hybridsearch.transplant.trace import Call, Slot, Trace, run

FUNCTIONAL = "functional"  # the name below its owner of what replaces calls such as F.relu(x)


class Surgery:
    """A swap under way: what was put in, and how to take it out again."""

    def __init__(
        self,
        model: nn.Module,
        function: Function,
        axis: int | None,
        per_channel: bool,
        skip: str | Sequence[str],
    ) -> None:
        self.model, self.function = model, function
        self.axis, self.per_channel = axis, per_channel
        self.skip = [skip] if isinstance(skip, str) else list(skip)
        self.fitting: set[str] = set()  # patterns that have a site
        self.replaced: list[Site] = []
        self.kept: list[Site] = []
        self.could_not: list[Site] = []
        # What the next verification has to see called (None: nothing), and how to undo its group.
        self.new: list[tuple[Site, nn.Module | None, Callable[[], None]]] = []

    def slot(self, slot: Slot, traced: Trace, undo: ExitStack) -> None:
        """Replace a module."""
        calls = traced.modules[slot.path]
        was = title(slot.module)
        made = plan(calls, self.axis, self.per_channel)
        counted = len(made.sites) > 1
        paths = [f"{slot.path}.{i}" for i in range(len(made.sites))] if counted else [slot.path]
        if self._nothing_left(slot.path, was, calls, paths):
            return
        owner = calls[0].owner if calls else ""
        if slot.path in traced.astray:
            made = Plan((), "called by another reference than its place in the model")
        elif counted and owner and not slot.path.startswith(f"{owner}."):
            made = Plan((), f"called by {owner}, which does not hold it")
        if made.refusal:
            self._refuse(slot.path, was, calls, made.refusal)
            return
        acts = self._activations(slot.parent, paths, made)
        hooks: list[Any] = []
        sites = [act or slot.module for act in acts]
        new = Sites(sites, counted=True) if counted else sites[0]
        slot.put(new)
        if any(call.named for call in calls):
            positional(new)
        for act in filter(None, acts):
            keep_hooks(slot.module, act)
        if counted:
            holder = self.model.get_submodule(owner)
            hooks = count(holder, slot.path.removeprefix(f"{owner}.") if owner else slot.path)
        if paused(slot.module):
            pause(new)
        fast = _no_fast_path(self.model, slot.parent)

        def back() -> None:
            slot.put(slot.module)
            _remove(hooks)
            fast()

        undo.callback(back)
        self._note(paths, made, acts, was, back)

    def functions(
        self,
        owner: str,
        calls: list[Call],
        names: frozenset[str],
        traced: Trace,
        undo: ExitStack,
    ) -> None:
        """Replace the calls of functions that one module's forward makes."""
        holder = self.model.get_submodule(owner)
        path = f"{owner}.{FUNCTIONAL}" if owner else FUNCTIONAL
        was = ", ".join(dict.fromkeys(f"{call.what}()" for call in calls))
        made = plan(calls, self.axis, self.per_channel)
        paths = [f"{path}.{i}" for i in range(len(made.sites))]
        if self._nothing_left(path, was, calls, paths):
            return
        if isinstance(getattr(holder, FUNCTIONAL, None), Sites):
            made = Plan((), "other calls of its forward were replaced before; name all at once")
        elif hasattr(holder, FUNCTIONAL):
            made = Plan((), f"its module has an attribute {FUNCTIONAL!r} of its own")
        elif any(call.recomputed for call in calls):
            made = Plan(
                (), "called in a checkpoint within its forward; checkpoint a method instead"
            )
        if made.refusal:
            self._refuse(path, was, calls, made.refusal)
            return
        acts = self._activations(holder, paths, made)
        below = {id(m): m for m in _children(holder)}
        below |= {id(m): m for m in map(self.model.get_submodule, sorted(traced.callees[owner]))}
        counted = len(made.sites) > 1
        new = Sites([act or Original() for act in acts], counted)
        holder.add_module(FUNCTIONAL, new)
        unlead = lead(self.model, new, made.sites, names, traced.owners)
        hooks = redirect(holder, FUNCTIONAL, names, below.values())
        if counted:
            hooks += count(holder, FUNCTIONAL)
        fast = _no_fast_path(self.model, holder)

        def back() -> None:
            _remove(hooks)
            unlead()
            holder._modules.pop(FUNCTIONAL, None)
            fast()

        undo.callback(back)
        self._note(paths, made, acts, "", back)

    def verify(self, inputs: Any) -> None:
        """Run the model: what is not called now, though it was in the trace, is taken out."""
        called: set[int] = set()

        def seen(module: nn.Module, args: Any) -> None:
            called.add(id(module))

        new = [(module, back) for _, module, back in self.new if module]
        hooks = [module.register_forward_pre_hook(seen) for module, _ in new]
        try:
            run(self.model, inputs)
        finally:
            _remove(hooks)
        idle = {id(back): back for module, back in new if id(module) not in called}
        for back in idle.values():
            back()
        for site, _, back in self.new:
            if id(back) not in idle:
                self.replaced.append(site)
            else:
                note = "the model did not call what was put there"
                self.could_not.append(changed(site, channels=None, axis=None, note=note))
        self.new = []

    def answer(self) -> Swapped:
        """Raises: UserError when nothing was replaced, or a pattern of `skip` has no site."""
        names = [site.name for site in [*self.replaced, *self.kept, *self.could_not]]
        for pattern in self.skip:
            if pattern not in self.fitting and not any(fnmatchcase(n, pattern) for n in names):
                raise UserError(
                    f"expected patterns of sites to skip, got {pattern!r}, which fits none; "
                    f"sites are {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
                )
        if not self.replaced:
            why = [f"{site.name}: {site.note}" for site in [*self.could_not, *self.kept][:3]]
            raise UserError(
                f"expected activations to replace in {type(self.model).__name__}, got none"
                + ("; " + "; ".join(why) if why else "; name them with replace=")
            )
        groups = (tuple(self.replaced), tuple(self.kept), tuple(self.could_not))
        return Swapped(self.function, self.model, *groups)

    def _skipped(self, path: str) -> bool:
        fitting = {pattern for pattern in self.skip if fnmatchcase(path, pattern)}
        self.fitting |= fitting
        return bool(fitting)

    def _nothing_left(self, path: str, was: str, calls: Sequence[Call], sites: list[str]) -> bool:
        """Whether a path is skipped, or all of its sites are; then it is noted as kept."""
        below = [self._skipped(site) for site in sites]
        if not self._skipped(path) and not (below and all(below)):
            return False
        self.kept.append(Site(path, was, calls[0].shape if calls else None, note="skipped"))
        return True

    def _activations(
        self, holder: nn.Module, paths: list[str], made: Plan
    ) -> list[Activation | None]:
        """A new activation for every site; None where it is skipped."""
        like = next(_floats(holder, self.model), torch.empty(0))
        result: list[Activation | None] = []
        for path, calls in zip(paths, made.sites, strict=True):
            if self._skipped(path):
                result.append(None)
                continue
            fits = width(calls[0], self.axis) if self.per_channel else None
            new = Activation(
                self.function, fits.channels if fits else None, fits.axis if fits else None
            )
            result.append(new.to(like.device, like.dtype).train(holder.training))
        return result

    def _note(
        self,
        paths: list[str],
        made: Plan,
        acts: list[Activation | None],
        was: str,
        back: Callable[[], None],
    ) -> None:
        """was: the module that was replaced; empty: calls of functions were."""
        for path, calls, act in zip(paths, made.sites, acts, strict=True):
            first = calls[0] if calls else None
            shape, source = (first.shape, first.source) if first else (None, "")
            old = was or ", ".join(dict.fromkeys(f"{call.what}()" for call in calls))
            site = Site(path, old, shape, after=source)
            if act is None:
                self.kept.append(changed(site, note="skipped"))
                continue
            if first and self.per_channel:
                fits = width(first, self.axis)
                site = changed(site, channels=fits.channels, axis=fits.axis)
                site = changed(site, note="axis by rule") if fits.guessed else site
            self.new.append((site, act if first else None, back))

    def _refuse(self, path: str, was: str, calls: Sequence[Call], why: str) -> None:
        first = calls[0] if calls else None
        shape, source = (first.shape, first.source) if first else (None, "")
        self.could_not.append(Site(path, was, shape, after=source, note=why))


def _floats(holder: nn.Module, model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters of the nearest module, whose dtype and device new betas get."""
    for module in (holder, model):
        yield from (p for p in module.parameters() if p.is_floating_point())


def _children(holder: nn.Module) -> Iterator[nn.Module]:
    """The modules that a forward can call by itself: its children, and those in its lists."""
    for child in holder.children():
        yield child
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _children(child)


def _no_fast_path(model: nn.Module, holder: nn.Module) -> Callable[[], None]:
    """torch's encoder layer computes ReLU and GELU in one fused call in evaluation, whatever its
    `activation` is by then, unless this is 0. That call alone takes the nested tensors that an
    encoder makes of a padding mask, so it has to make none. Returns how to undo it.
    """
    if not isinstance(holder, nn.TransformerEncoderLayer):
        return lambda: None
    encoders = [m for m in model.modules() if isinstance(m, nn.TransformerEncoder)]
    places = [(one, "use_nested_tensor", False) for one in encoders if holder in one.layers]
    changes = [(holder, "activation_relu_or_gelu", 0), *places]
    before = [(one, name, getattr(one, name)) for one, name, _ in changes if hasattr(one, name)]
    for one, name, value in changes:
        if hasattr(one, name):
            setattr(one, name, value)

    def back() -> None:
        for one, name, value in before:
            setattr(one, name, value)

    return back


def _remove(hooks: list[Any]) -> None:
    for hook in hooks:
        hook.remove()
