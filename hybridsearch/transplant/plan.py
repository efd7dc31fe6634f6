"""From the calls of one forward to call sites: which can be told apart when the model runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from hybridsearch.errors import UserError
from hybridsearch.transplant.trace import Call

SCALAR = "betas='scalar' would replace it"


@dataclass(frozen=True)
class Width:
    """What an activation's betas have to fit. guessed: the axis follows from a rule only."""

    channels: int
    axis: int
    guessed: bool = False


@dataclass(frozen=True)
class Plan:
    """sites: the calls of each call site, in the order of the calls; one site serves all calls.
    refusal: why there is none.
    """

    sites: tuple[tuple[Call, ...], ...]
    refusal: str = ""


def width(call: Call, axis: int | None) -> Width:
    """The channels of a call's input, on the axis that the caller, the trace or a rule names.

    The rule: the second of four and more axes, the last of fewer. Raises: UserError when the
    input has no such axis.
    """
    dims = len(call.shape)
    if axis is not None:
        if not -dims <= axis < dims:
            raise UserError(
                f"expected an axis that every input has, got axis={axis} for one of shape "
                f"{call.shape} in {call.owner or 'the model'}; leave it out, or skip that site"
            )
        at = axis % dims
    elif call.axis is not None:
        at = call.axis
    else:
        at = 1 if dims >= 4 else dims - 1
    guessed = axis is None and call.axis is None
    # The last axis is named from behind: a dense layer takes any number of axes in front of it.
    return Width(call.shape[at], -1 if at == dims - 1 else at, guessed)


def plan(calls: Sequence[Call], axis: int | None, per_channel: bool) -> Plan:
    """How the calls of one module, or of one forward's functions, are told apart.

    Without betas per channel they need not be. With them, calls in one place of the source on what
    one layer made are one site (a recurrent network's steps), and several sites must come in one
    order, each once, whenever their owner runs.
    """
    if any(call.read for call in calls):
        return Plan((), "works in place, and its input is read again afterwards")
    if not per_channel:
        return Plan((tuple(calls),))
    if not calls:
        return Plan((), f"not called with these inputs, so its channels are unknown; {SCALAR}")
    if any(not call.shape for call in calls):
        return Plan((), f"its input has no axis; {SCALAR}")
    runs: dict[tuple[str, int], list[Call]] = defaultdict(list)
    for call in calls:
        runs[call.owner, call.run].append(call)
    each = list(runs.values())
    if all(len(_keys(run)) == 1 for run in each) and len({call.place for call in calls}) == 1:
        return _checked([list(calls)], axis, "is called in one place")
    if len({call.owner for call in calls}) > 1:
        return Plan((), f"is called by several modules; {SCALAR}")
    places = {tuple(call.place for call in run) for run in each}
    if len(places) > 1 or any(len(_keys(run)) < len(run) for run in each):
        return Plan((), f"its calls cannot be told apart; {SCALAR}")
    return _checked([list(site) for site in zip(*each, strict=True)], axis, "is one call")


def _keys(run: Sequence[Call]) -> set[Hashable]:
    return {(call.place, call.source) for call in run}


def _checked(sites: list[list[Call]], axis: int | None, what: str) -> Plan:
    for site in sites:
        widths = sorted({(w.channels, w.axis) for w in (width(call, axis) for call in site)})
        if len(widths) > 1:
            words = " and ".join(f"{n} channels on axis {at}" for n, at in widths)
            return Plan((), f"{what}, with {words}; {SCALAR}")
    return Plan(tuple(tuple(site) for site in sites))
