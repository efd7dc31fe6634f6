"""Commands that show what is there; they train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from hybridsearch.cli.apps import app


@app.command
def table(name: str, /) -> int:
    """Show the data card of a recorded table.

    Parameters
    ----------
    name
        one that ships (digits, cifar10), a table file, or a recording's folder (as far as it is).
    """
    from rich.markdown import Markdown

    from hybridsearch.session import card_of

    Console().print(Markdown(card_of(name)))
    return 0


@app.command
def report(
    runs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Folder of the page; default that of the (first) run.")
    ] = None,
) -> int:
    """Write one HTML page about a run, or several side by side: verdict, curves, what it cost.

    Parameters
    ----------
    runs
        Folders of runs, finished or not.
    """
    from hybridsearch.report.page import report as write

    print(write(runs, out))
    return 0
