"""The course of a search for TensorBoard: an observer that writes event files beside the run.

It is told what the progress display is told and nothing else, so it changes no record of the run;
and what it cannot write is said once, and the run goes on without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from matplotlib.image import imread

from hybridsearch.analysis.function_plot import function_curve, plot_functions
from hybridsearch.analysis.runs import CONFIG
from hybridsearch.errors import told
from hybridsearch.extras import need
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.observe import Silent, Snapshot

FOLDER = "tensorboard"  # within the run's
EVERY = (
    2  # of the incumbent's picture one pixel in so many is kept: events are for looking, not print
)


class TensorBoard(Silent):
    """Scalars over the number of distinct functions evaluated, and the incumbent as it changes.

    search/best_fitness: of the best fully trained function. search/distinct, search/proposals,
    search/training_steps, search/cache_hits, search/seconds: counts so far. search/rejected_share:
    of the functions met, those that the preflight rejected. search/new_share: of the proposals,
    those that were new functions. promoted/rung_K: of the functions trained on rung K, those that
    went on to the next, since this session began. incumbent: its formula, and a picture of it with
    its slope. config: the settings of the run.

    Use it as a context manager. `say` is told the first thing that goes wrong, if any.
    Raises: UserError when the package tensorboard is missing, before anything is computed.
    """

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        self._writers = need("torch.utils.tensorboard", "tensorboard", "--tensorboard")
        self._run, self._say = run, say
        self._writer: Any = None
        self._failed = False
        self._trained: Counter[int] = Counter()
        self._incumbent = ""

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._try(self._writer.close)

    def training(self, rung: int, done: int, total: int) -> None:
        if done == total:  # told often, and so only once for every batch and rung
            self._trained[rung] += total

    def snapshot(self, now: Snapshot) -> None:
        self._try(lambda: self._write(now))

    def _try(self, do: Callable[[], None]) -> None:
        """A full disk, say, must not cost the run: it is told once, and no more is written."""
        if self._failed:
            return
        try:
            do()
        except Exception as error:
            self._failed = True
            self._say(f"tensorboard: nothing more is written ({told(error)}); the run goes on")

    def _write(self, now: Snapshot) -> None:
        if self._writer is None:
            self._open(now)
        for tag, value in self._scalars(now).items():
            self._writer.add_scalar(tag, value, now.distinct)
        if now.incumbent != self._incumbent:
            self._incumbent = now.incumbent
            self._show_incumbent(now)
        self._writer.flush()

    def _open(self, now: Snapshot) -> None:
        """The writer, made only when the run has begun: its folder may be that of another one. What
        an earlier session wrote from here on is computed again, so it is purged.
        """
        place = self._run / FOLDER
        self._writer = self._writers.SummaryWriter(str(place), purge_step=now.distinct)
        settings = (self._run / CONFIG).read_text(encoding="utf-8")
        indented = "".join(f"    {line}\n" for line in settings.splitlines())  # Markdown's code
        self._writer.add_text("config", indented, now.distinct)

    def _scalars(self, now: Snapshot) -> dict[str, float]:
        found: dict[str, float] = {
            "search/distinct": now.distinct,
            "search/proposals": now.proposals,
            "search/training_steps": now.training_steps,
            "search/cache_hits": now.cache_hits,
            "search/seconds": now.seconds,
        }
        if now.fitness is not None:
            found["search/best_fitness"] = now.fitness
        if met := now.distinct + now.rejected:
            found["search/rejected_share"] = now.rejected / met
        if now.proposals:
            found["search/new_share"] = met / now.proposals
        for rung, count in self._trained.items():
            if count and rung + 1 in self._trained:
                found[f"promoted/rung_{rung}"] = self._trained[rung + 1] / count
        return found

    def _show_incumbent(self, now: Snapshot) -> None:
        function = resolve(now.incumbent)
        self._writer.add_text("incumbent", f"`{function.label}`", now.distinct)
        if isinstance(function.genome, Genome):
            picture = BytesIO()
            curve = function_curve(function.genome, function.label)
            plot_functions([curve], picture, f"Best so far, of {now.distinct:,} functions")
            picture.seek(0)
            pixels = (255 * imread(picture, format="png")[::EVERY, ::EVERY, :3]).astype(np.uint8)
            self._writer.add_image("incumbent", pixels, now.distinct, dataformats="HWC")
