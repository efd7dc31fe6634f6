"""Replace the activations of a model that someone else wrote."""

from __future__ import annotations

import copy as copying
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import nn

from hybridsearch.errors import UserError
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.transplant.names import check_found, name_of, plain, title, wanted
from hybridsearch.transplant.report import Site, Swapped
from hybridsearch.transplant.surgery import Surgery
from hybridsearch.transplant.trace import find_slots, trace


def swap(
    model: nn.Module,
    function: str | Genome | Function,
    example_inputs: Any,
    *,
    replace: str | type[nn.Module] | Sequence[str | type[nn.Module]] | None = None,
    skip: str | Sequence[str] = (),
    axis: int | None = None,
    betas: Literal["channel", "scalar"] = "channel",
    copy: bool = False,
) -> Swapped:
    """Replace the activations of a model by a function, and say what was and what was not.

    model: any nn.Module, not compiled, scripted or wrapped for several processes; it is changed in
    place, unless `copy`. function: as for `Activation`. example_inputs: a tensor, a tuple of
    arguments or a dict of keyword arguments; the model runs on them in evaluation mode without
    gradients, once to find the calls and their channels, and again to see that the new activations
    are called.
    replace: names ("relu", "tanh": modules and calls) or classes (modules) of what is replaced;
    None: what stands between layers (ReLU, LeakyReLU, ELU, GELU, SiLU, Mish, Hardswish and the
    like, and what `swap` put there before), not gates (sigmoid, tanh, softplus). skip: patterns
    such as "layer4.*" of the sites, by their names in the report, that are kept. axis: of the
    channels of every site; None: followed from the layer that made them. betas: "channel", as the
    search trains them, or "scalar", one set per site, which also does where calls cannot be told
    apart.

    Modules are replaced where they stand. One that is called in several places, such as the ReLU
    of torchvision's Bottleneck, and calls such as F.relu(x) in a forward, get one activation per
    call site, taken in the order of the calls; a forward that makes another number of calls than
    the example did raises RuntimeError. Methods that a forward with such calls of functions came
    through (`encode`, `decode`) use them when they are called by themselves, too, or raise
    RuntimeError; their instance gets a class of its own for that, by the old name.

    state_dict: weights keep their names; the new parameters are SITE.betas, of shape [number of
    betas, channels] (no elements where the function has none). So load a checkpoint of the old
    model before the swap, or afterwards with strict=False; one of the swapped model loads into a
    model swapped in the same way. Optimiser: make it after the swap, with `parameter_groups`, so
    that weight decay does not pull at betas. torch.compile: swap first; calls of functions make it
    break the graph there. Hooks on a replaced module go on, on what takes its place.

    Raises: UserError when the model does not run on the inputs, when a name or the axis does not
    fit it, or when nothing could be replaced; the model is then as it was.
    """
    function = resolve(function)
    _check(model, betas)
    if copy:
        model = copying.deepcopy(model)
    work = Surgery(model, function, axis, betas == "channel" and bool(function.starts), skip)
    asked = wanted(replace)
    slots = find_slots(model, asked)
    traced = trace(model, example_inputs, slots, asked)
    if replace is not None:
        called = {plain(call.what) for calls in traced.functions.values() for call in calls}
        check_found(asked, called | {name_of(slot.module) for slot in slots})
    with ExitStack() as undo:
        for slot in slots:
            if asked.module(slot.module):
                work.slot(slot, traced, undo)
            else:
                shape = next((call.shape for call in traced.modules[slot.path]), None)
                work.kept.append(Site(slot.path, title(slot.module), shape, note="not asked for"))
        work.verify(example_inputs)
        for owner, calls in traced.functions.items():
            mine = [call for call in calls if plain(call.what) in asked.names]
            if mine:
                work.functions(owner, mine, asked.names, traced, undo)
            others = {call.what: call for call in calls if plain(call.what) not in asked.names}
            work.kept += [
                Site(owner or "(model)", f"{what}()", call.shape, note="not asked for")
                for what, call in others.items()
            ]
        work.verify(example_inputs)
        answer = work.answer()
        undo.pop_all()
    return answer


def _check(model: nn.Module, betas: str) -> None:
    if not isinstance(model, nn.Module):
        raise UserError(f"expected an nn.Module, got {type(model).__name__}")
    for path, module in model.named_modules():
        where = f" ({path})" if path else ""
        script = isinstance(module, torch.jit.ScriptModule)
        if script or hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            raise UserError(
                "expected a model as it was written, got a compiled or scripted one"
                f"{where}; swap first, then compile"
            )
        if isinstance(module, _distributed()):
            raise UserError(
                f"expected a model that is not wrapped yet, got {type(module).__name__}{where}, "
                "which would not share new betas among its processes; swap first, then wrap"
            )
    if betas not in ("channel", "scalar"):
        raise UserError(f"expected betas='channel' or betas='scalar', got {betas!r}")


def _distributed() -> tuple[type, ...]:
    """What reduces gradients of the parameters that it was given, and of no others. FSDP takes a
    while to import; where nobody has, no model is wrapped in it.
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")
    names = ("FullyShardedDataParallel", "FSDPModule")
    sharded = [getattr(fsdp, name) for name in names if hasattr(fsdp, name)]
    return (nn.parallel.DistributedDataParallel, *sharded)
