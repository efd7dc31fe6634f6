"""Tables from trainings: every function of a space or a run, recorded for searches to replay."""

from __future__ import annotations

from pathlib import Path

from hybridsearch.analysis.runs import ENVIRONMENT, load_run
from hybridsearch.config import MACHINERY, Config, course, departures
from hybridsearch.environment import environment
from hybridsearch.errors import UserError
from hybridsearch.genome.function import resolve
from hybridsearch.observe import Observer, Silent
from hybridsearch.paths import is_folder
from hybridsearch.store.disk import hold, make_folder, read_json, write_json, write_text
from hybridsearch.store.folders import expect_nothing_lost, expect_own
from hybridsearch.tables.card import write_card
from hybridsearch.tables.recording import Recording
from hybridsearch.tables.table import expect_replicates, load_table, pack
from hybridsearch.types import Json

TABLE, CARD = "table.safetensors", "card.md"
# What a card says of the machine.
RECORDED = ("started", "python", "versions", "processor", "cores", "git")


def record(
    config: Config, out: Path, run: Path | None = None, observer: Observer | None = None
) -> Path:
    """Record a table, or go on recording; returns its file, `out`/table.safetensors.

    run: folder of a run whose evaluated functions are recorded, with its settings, instead of all
    functions of the config's space.
    Raises: UserError for anything the user can mend.
    """
    functions = None
    if run is not None:
        found = load_run(run)
        config = _for_run(config, found.config)
        functions = [resolve(o["function"]) for o in found.distinct]
    expect_replicates(config)
    expect_own(out, "recording")
    expect_nothing_lost(out, "recording")
    make_folder(out)
    with hold(out):
        recording = Recording.start(out, config, functions)
        if not (out / ENVIRONMENT).exists():
            write_json(out / ENVIRONMENT, environment())
        recording.record(observer or Silent())
    made = pack(recording, _recorded_with(out))
    made.save(out / TABLE)
    write_text(out / CARD, write_card(made, out.name))
    return out / TABLE


def _for_run(config: Config, run: Config) -> Config:
    """The settings of a run, but those of the recording and of who trains where as `config` has
    them. Raises: UserError when that asks for other functions or trainings than the run's.
    """
    default = Config()
    others = {name for name, _, _ in departures(course(run), config)}
    for name, _, now in departures(course(default), config):
        if name in others:
            raise UserError(
                f"--run: a recording of a run has the run's settings, got {name} {now}; leave it "
                "out, or record a whole space without --run"
            )
    asked = {n: getattr(config, n) for n in MACHINERY if getattr(config, n) != getattr(default, n)}
    return run.model_copy(update={**asked, "record": config.record})


def _recorded_with(folder: Path) -> dict[str, Json]:
    """What a card says of the machine: that on which the recording began."""
    path = folder / ENVIRONMENT
    found = read_json(path) if path.exists() else {}
    return {name: found[name] for name in RECORDED if name in found}


def card_of(name: str) -> str:
    """The data card of a table, by the name of one that ships, its file or a recording's folder."""
    folder = Path(name)
    if is_folder(name):
        return write_card(pack(Recording(folder), _recorded_with(folder)), folder.name)
    return write_card(load_table(name), folder.stem)
