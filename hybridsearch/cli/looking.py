"""Commands that show what is there; they train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from hybridsearch.cli.apps import app
from hybridsearch.cli.watching import STOPPED, print_json

WIDE = 1000  # columns where there is no terminal: nothing is cut or wrapped for a program to mend


@app.command
def table(name: str, /) -> int:
    """Show the data card of a recorded table.

    Parameters
    ----------
    name
        one that ships (digits, cifar10), a table file, or a recording's folder (as far as it is).
    """
    from rich.markdown import Markdown

    from hybridsearch.tabulate import card_of

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


def _console() -> Console:
    """The terminal, or a file or pipe that takes lines of any length."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


@app.command
def explain(
    what: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="File of the picture (PNG); default explain-....png, in the run's folder."),
    ] = None,
    picture: Annotated[
        bool | None, Parameter(help="Draw it; default yes, with --json only if --out says where.")
    ] = None,
    json: Annotated[
        bool, Parameter(negative="", help="Print one JSON object instead, for programs.")
    ] = False,
) -> int:
    """Show what a function is and does: formula, range, slopes, ends, what it is like, and what a
    run knows of it.

    Parameters
    ----------
    what
        A formula (`"x*sigmoid(beta*x)"`), a name (GELU), a token text, FOLDER#ID for a proposal of
        a run, or FOLDER for its winner.
    """
    from hybridsearch.explain.ask import ask
    from hybridsearch.explain.ask import explain as answer
    from hybridsearch.explain.show import show

    asked = ask(what)
    folder = asked.run.folder if asked.run else Path()
    wanted = (out is not None or not json) if picture is None else picture
    file = (out or folder / f"explain-{asked.name}.png") if wanted else None
    found = answer(asked, file)
    if json:
        print_json(found)
    else:
        show(found, _console())
    return 0


@app.command(name="list")
def list_runs(
    folders: Annotated[list[Path] | None, Parameter(negative="")] = None,
    /,
    *,
    json: Annotated[
        bool, Parameter(negative="", help="Print one JSON object instead, for programs.")
    ] = False,
) -> int:
    """List runs: who, on what, how far, what came out, when and how long.

    Parameters
    ----------
    folders
        Folders of runs, or with runs in them; default runs.
    """
    from hybridsearch.listing import as_json, rows, show

    found = rows(folders or [Path("runs")])
    if json:
        print_json(as_json(found))
    else:
        show(found, _console())
    return 0


@app.command
def watch(
    folder: Path,
    /,
    *,
    once: Annotated[bool, Parameter(negative="", help="Say how it is, and end at once.")] = False,
) -> int:
    """Watch a run that another process makes: how far it is, what is best, what comes next.

    It reads only, and ends with the run; exit status 1 where the run stopped before its end.

    Parameters
    ----------
    folder
        The run's folder, for instance runs/first.
    """
    from hybridsearch.watch import watch as follow

    try:
        return follow(folder, Console(), once)
    except KeyboardInterrupt:
        return STOPPED
