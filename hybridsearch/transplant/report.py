"""What a swap did: every activation of the model, and what became of it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group
from rich.table import Table
from torch import nn

from hybridsearch.genome.function import Function


@dataclass(frozen=True)
class Site:
    """A call site of an activation.

    name: the path of its module in the model as it is now (its betas are NAME.betas in the
    state_dict). was: the activation before. shape: of its input on the example inputs; None: not
    called. channels, axis: of its betas; None: one set for the whole input. after: the module that
    made the channels. note: why it was left, or what to know of it.
    """

    name: str
    was: str
    shape: tuple[int, ...] | None = None
    channels: int | None = None
    axis: int | None = None
    after: str = ""
    note: str = ""


@dataclass(frozen=True)
class Swapped:
    """The answer of `swap`; print it for a table. model: the one that was changed."""

    function: Function
    model: nn.Module
    replaced: tuple[Site, ...]
    kept: tuple[Site, ...]
    could_not: tuple[Site, ...]

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.function.name} in {type(self.model).__name__}: {len(self.replaced)} replaced, "
            f"{len(self.kept)} kept, {len(self.could_not)} could not be replaced"
        )

    def __rich__(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("", "site", "was", "input", "betas", "after", "note"):
            table.add_column(column, overflow="fold")
        groups = (self.replaced, self.kept, self.could_not)
        for word, sites in zip(("replaced", "kept", "could not"), groups, strict=True):
            for site in sites:
                shape = "x".join(map(str, site.shape)) if site.shape is not None else "not called"
                betas = _betas(site, len(self.function.starts)) if word == "replaced" else ""
                table.add_row(word, site.name, site.was, shape, betas, site.after, site.note)
        return Group(self.summary, table)

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=120).print(self)
        return text.getvalue().rstrip()


def _betas(site: Site, each: int) -> str:
    if not each:
        return "none"
    if site.channels is None:
        return str(each)
    count = f"{each}x{site.channels}" if each > 1 else str(site.channels)
    return f"{count} on axis {site.axis}"
