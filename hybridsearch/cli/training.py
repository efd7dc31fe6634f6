"""Commands that train, or get data to train on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from hybridsearch.cli.apps import (
    DEFAULTS,
    ConfigFile,
    app,
    comparer,
    recorder,
    retrainer,
    searcher,
)
from hybridsearch.cli.watching import PLAIN, STOPPED, Board, Output, watched
from hybridsearch.config import Config
from hybridsearch.errors import UserError

STRATEGIES = "rl,evolution,regularized,local,random,hybrid"


@searcher.default
@app.default
def search(
    *,
    config: ConfigFile = None,
    out: Annotated[
        Path | None,
        Parameter(help="Folder of the run; default runs/STRATEGY-DATA-seedN-TIME."),
    ] = None,
    tensorboard: Board = False,
    output: Output = PLAIN,
    settings: Annotated[Config, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Search for an activation function, retest the best against nine baselines, name a winner."""
    from hybridsearch.session import default_folder
    from hybridsearch.session import search as run

    folder = out or default_folder(settings)
    return watched(folder, lambda observer: run(settings, folder, observer), output, tensorboard)


@app.command
def resume(
    folder: Path,
    /,
    *,
    pool: str | None = None,
    tensorboard: Board = False,
    output: Output = PLAIN,
) -> int:
    """Continue a run where it stopped.

    Parameters
    ----------
    folder
        The run's folder, for instance runs/first.
    pool
        Where children train from here on, instead of where the run began: loky, dask://HOST:PORT,
        ray://HOST:PORT, ...
    """
    from hybridsearch.session import resume as run

    return watched(folder, lambda observer: run(folder, observer, pool), output, tensorboard)


@app.command
def rates(
    folder: Path,
    /,
    *,
    factors: Annotated[
        str,
        Parameter(help="The rates to try, as factors of the run's, with commas between them."),
    ] = "1/3,1,3",
    output: Output = PLAIN,
) -> int:
    """Ask of a finished run whether its answer is one of the learning rate: winner and
    best baseline are compared once more, each at the rate that suits it on validation.

    Parameters
    ----------
    folder
        The run's folder, for instance runs/first.
    """
    from hybridsearch.analysis.tables import rate_lines, show_rates
    from hybridsearch.rates import own_rates

    try:
        asked = [float(Fraction(word)) for word in _listed(factors)]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UserError(f"--factors: expected numbers with commas, got {factors!r}") from None
    console = output.progress
    try:
        with output.watching(console) as observer:
            found = own_rates(folder, asked, observer)
    except KeyboardInterrupt:
        words = "\nStopped; what was trained is kept. Continue with the same command."
        console.print(words, highlight=False)
        return STOPPED
    output.answer(found, rate_lines(found), lambda console: show_rates(found, console))
    return 0


@app.command
def data(name: str, /, *, folder: str | None = None) -> int:
    """Get a data set: download it with its checksum verified, or take a folder that has it.

    Parameters
    ----------
    name
        fashion_mnist, cifar10 or cifar100 (digits ships with scikit-learn).
    folder
        Where the files are already; they are checked and linked, not copied.
    """
    from hybridsearch.evaluate.data import fetch

    console = Console()
    path = fetch(name, folder, lambda line: console.print(escape(line), highlight=False))
    console.print(f"{name} is ready in {path}", highlight=False, markup=False, soft_wrap=True)
    return 0


@recorder.default
@app.command
def record(
    *,
    out: Annotated[Path, Parameter(help="Folder of the recording, for instance tables/mine.")],
    config: ConfigFile = None,
    run: Annotated[
        Path | None,
        Parameter(help="Record the functions that this run evaluated, instead of a whole space."),
    ] = None,
    settings: Annotated[Config, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Train every function of a space several times and keep all scores, for searches to replay.

    It goes on where it was stopped. At the end it writes table.safetensors and card.md.
    """
    from hybridsearch.progress import Display
    from hybridsearch.tabulate import record as make

    console = Console()
    try:
        with Display(console) as display:
            made = make(settings, out, run, display)
    except KeyboardInterrupt:
        console.print(
            "\nStopped; nothing recorded is lost. The same command goes on.", highlight=False
        )
        return STOPPED
    words = f"table: {made}, card: {made.with_name('card.md')}"
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    return 0


@comparer.default
@app.command
def compare(
    *,
    strategies: Annotated[
        str,
        Parameter(
            help="Strategies to compare, with commas between them; NAME+screen and NAME-screen "
            "are NAME with and without the surrogate, NAME-experience has it begin from nothing."
        ),
    ] = STRATEGIES,
    seeds: Annotated[
        int, Parameter(help="Runs of every strategy, with seeds from --seed on.")
    ] = 10,
    config: ConfigFile = None,
    out: Annotated[
        Path | None,
        Parameter(help="Folder of the comparison; default comparisons/DATA or /table-NAME."),
    ] = None,
    output: Output = PLAIN,
    settings: Annotated[Config, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Run strategies many times at one budget, on a recorded table or with training, and say which
    is shown to be better. The same command again goes on where it stopped.
    """
    from hybridsearch.comparison.run import compare as run
    from hybridsearch.comparison.run import default_folder
    from hybridsearch.comparison.show import pair_lines, show_comparison

    names = _listed(strategies)
    folder, console = out or default_folder(settings), output.progress
    try:
        with output.watching(console, f"Folder of the comparison: {folder}") as observer:
            summary = run(settings, names, seeds, folder, observer)
    except KeyboardInterrupt:
        console.print("\nStopped; finished runs are kept. Continue with the same command.")
        return STOPPED
    output.answer(
        summary.to_json(),
        pair_lines(summary),
        lambda console: show_comparison(summary, folder, console),
    )
    return 0


@retrainer.default
@app.command
def benchmark(
    *,
    table: Annotated[
        str, Parameter(help="cifar10 (the paper's table 4), cifar100 (table 5), or both.")
    ] = "cifar10",
    scale: Annotated[
        str,
        Parameter(
            help="full (the paper's networks and settings), small (ResNet-8, 750 steps) or tiny "
            "(ResNet-8 of width 8, 200 steps)."
        ),
    ] = "full",
    functions: Annotated[
        list[str] | None,
        Parameter(
            help="A function beside the nine baselines: a formula, a name, paper-found (the eight "
            "that the paper found), or the folder of a run, whose finalists are meant. Repeatable."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, Parameter(help="The same, but without the baselines. Repeatable.")
    ] = None,
    networks: Annotated[
        str,
        Parameter(help="Networks instead of the scale's, with commas between them: wrn16-2,..."),
    ] = "",
    seeds: Annotated[
        int | None, Parameter(help="Trainings of every function; default 5, as in the paper.")
    ] = None,
    steps: Annotated[int | None, Parameter(help="Steps of a training, instead.")] = None,
    width: Annotated[int | None, Parameter(help="Width of the networks, instead.")] = None,
    lr_grid: Annotated[
        str,
        Parameter(
            help="Learning rates to try for every function, with commas between them; validation "
            "accuracy chooses, from the first seed."
        ),
    ] = "",
    estimate: Annotated[
        bool,
        Parameter(
            negative="", help="Only say what is left to train and what it takes; trains nothing."
        ),
    ] = False,
    config: ConfigFile = None,
    out: Annotated[
        Path | None, Parameter(help="Folder of the benchmark; default benchmark/SCALE.")
    ] = None,
    settings: Annotated[Config, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Retrain functions on the paper's networks, and print its tables 4 and 5, published beside
    measured. The same command again goes on where it stopped, another one adds what it lacks.
    """
    from hybridsearch.paper.published import NUMBERS
    from hybridsearch.paper.run import Asked
    from hybridsearch.paper.show import run_and_show

    asked = Asked(
        tuple(NUMBERS) if table == "both" else (table,),
        scale,
        tuple(_listed(networks)),
        tuple(functions or ()),
        tuple(only or ()),
        seeds,
        steps,
        width,
        tuple(_number(word, "--lr-grid") for word in _listed(lr_grid)),
    )
    return run_and_show(asked, settings, out or Path("benchmark", scale), estimate, Console())


def _listed(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str, name: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UserError(
            f"{name}: expected numbers with commas between them, got {word!r}"
        ) from None
