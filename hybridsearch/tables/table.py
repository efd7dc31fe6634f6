"""A recorded table: what every function of a space scored, at every rung, replicate by replicate.

One safetensors file: arrays over functions, replicates and rungs, and JSON about how it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hybridsearch.config import Config, recorded_config
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.genome.canonical import keys
from hybridsearch.genome.function import resolve
from hybridsearch.genome.text import from_token_text
from hybridsearch.genome.units import Tokens
from hybridsearch.paths import is_file
from hybridsearch.store.disk import replace, told
from hybridsearch.types import Json, Scale, Status

if TYPE_CHECKING:  # it brings torch, for which those who only read a table should not wait
    from hybridsearch.tables.recording import Recording

Floats = NDArray[np.float32]
NOISE = 2  # replicates that a search sees; the others are the truth
TARGET = 1000  # the target set is at least the best in so many
MISSING, OK, DIVERGED = 0, 1, 2
FORMAT = 1


@dataclass(frozen=True)
class Table:
    """F functions, P replicates, R rungs.

    specs, keys: F each, in the order of recording. steps: R, rising. status: [F, P] uint8: MISSING,
    OK or DIVERGED. validation_loss (nats), validation_accuracy (0..1), test_loss, test_accuracy:
    float32 [F, P, R], nan where a child did not get there. seconds: float32 [F, P], of training.
    about: how it was recorded; about["config"] is the config.
    """

    specs: tuple[str, ...]
    keys: tuple[str, ...]
    steps: tuple[int, ...]
    status: NDArray[np.uint8]
    validation_loss: Floats
    validation_accuracy: Floats
    test_loss: Floats
    test_accuracy: Floats
    seconds: Floats
    about: Mapping[str, Json]

    ARRAYS = (
        "status",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
        "seconds",
    )

    @cached_property
    def config(self) -> Config:
        """The config that it was recorded with."""
        return recorded_config(self.about["config"], "the table's config")

    @cached_property
    def scale(self) -> Scale:
        return Scale.of_classes(self.config.fitness, int(self.about["classes"]))

    @property
    def genomes(self) -> dict[int, Tokens]:
        """Row -> genome, of all but the baselines that no search can propose."""
        return {row: from_token_text(spec) for row, spec in enumerate(self.specs) if " " in spec}

    @cached_property
    def index(self) -> dict[str, int]:
        """Key -> row; the key of the recording, and that of this processor where it is another."""
        genomes = self.genomes
        index = {key: row for row, key in enumerate(self.keys)}
        return index | dict(zip(keys(list(genomes.values())), genomes, strict=True))

    @cached_property
    def digest(self) -> str:
        """Identifies the table, 32 hex digits."""
        made = hashlib.blake2b(digest_size=16)
        made.update(json.dumps([self.keys, self.steps, self.config.fitness]).encode())
        for name in self.ARRAYS[:-1]:
            made.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return made.hexdigest()

    def scores(self, split: str) -> NDArray[np.float64]:
        """[F, P, R] on the scale of the fitness, chance where a child had diverged by then; nan
        where there was no training. split: "validation" or "test".
        """
        measured = getattr(self, f"{split}_{self.scale.fitness}").astype(np.float64)
        value = measured if self.scale.fitness == "accuracy" else -measured
        value = np.maximum(np.where(np.isnan(value), self.scale.chance, value), self.scale.chance)
        value[self.status == MISSING] = np.nan
        value[:, :, np.isnan(measured).all((0, 1))] = np.nan  # a rung without scores of this split
        return value

    @cached_property
    def truth(self) -> NDArray[np.float64]:
        """[F]: mean test score at the top of the replicates that no search sees; of those that it
        sees where there are no others.
        """
        top = self.scores("test")[:, :, -1]
        unseen = np.array([bool(np.isfinite(row[NOISE:]).any()) for row in top])
        rows = [row[NOISE:] if able else row for row, able in zip(top, unseen, strict=True)]
        return np.array([np.nanmean(row) for row in rows])

    def truth_error(self, row: int) -> float:
        """The standard error of a row's truth; 0 where fewer than two replicates tell it."""
        unseen = self.scores("test")[row, NOISE:, -1]
        unseen = unseen[np.isfinite(unseen)]
        return float(unseen.std(ddof=1) / np.sqrt(len(unseen))) if len(unseen) > 1 else 0.0

    def save(self, path: Path) -> None:
        """Write it to a .safetensors file, atomically. Raises: UserError when the disk is full."""
        note = {"format": FORMAT, "specs": self.specs, "keys": self.keys, "steps": self.steps}
        text = json.dumps({**note, "about": dict(self.about)})
        partial = path.with_name(path.name + ".partial")
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in self.ARRAYS}
        try:
            save_file(arrays, partial, metadata={"table": text})
            replace(partial, path)
        except (OSError, SafetensorError) as error:
            raise told(path, error) from error


def target_size(truth: NDArray[np.float64], error: float) -> int:
    """How many functions a search should find: those within one standard error of the best, or the
    best in TARGET where that is more. Both are the best few by truth: the larger holds the other.
    """
    return max(int((truth >= truth.max() - error).sum()), -(-len(truth) // TARGET))


def load_table(name: str | Path) -> Table:
    """A table: a file, or the name of one that ships. Raises: UserError when it is neither."""
    path = _path(name)
    try:
        with safe_open(path, framework="numpy") as file:
            note = json.loads((file.metadata() or {})["table"])
            arrays: dict[str, Any] = {k: file.get_tensor(k) for k in Table.ARRAYS}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path}: no recorded table, or a damaged one") from error
    if note["format"] != FORMAT:
        raise UserError(f"{path}: a table of format {note['format']}, this version reads {FORMAT}")
    specs, keys, steps = (tuple(note[k]) for k in ("specs", "keys", "steps"))
    return Table(specs, keys, steps, **arrays, about=note["about"])


def _path(name: str | Path) -> Path:
    if is_file(name):
        return Path(name)
    shipped = packaged_tables()
    inside = shipped / f"{name}.safetensors"
    if is_file(inside):
        return inside
    known = sorted(p.stem for p in shipped.glob("*.safetensors"))
    raise UserError(f"no recorded table {str(name)!r}{nearest(str(name), known)}")


def packaged_tables() -> Path:
    """The folder of the tables that ship."""
    return Path(str(resources.files("hybridsearch.tables"))) / "data"


def expect_replicates(config: Config) -> None:
    """See before anything is trained whether a table can be made of what is to be recorded.

    Raises: UserError where no function would have the replicates that `pack` needs.
    """
    record = config.record
    if max(record.replicates, record.half, record.best) < NOISE:
        raise UserError(
            f"record.replicates: expected {NOISE} or more, of which a search sees {NOISE}, got "
            f"{record.replicates}"
        )


def pack(recording: Recording, about: Mapping[str, Json] | None = None) -> Table:
    """The table of a recording, whole or as far as it is.

    Functions without two replicates are left out: a search could not be replayed on them.
    """
    rungs, most = recording.rungs, recording.replicates
    having = [
        f for f in recording.functions if all((f.key, k) in recording.cells for k in range(NOISE))
    ]
    if not having:
        raise UserError(f"{recording.folder}: no function has {NOISE} replicates yet")
    status = np.zeros((len(having), most), np.uint8)
    seconds = np.full((len(having), most), np.nan, np.float32)
    scores = np.full((4, len(having), most, len(rungs)), np.nan, np.float32)
    for row, function in enumerate(having):
        for k in range(most):
            cell = recording.cells.get((function.key, k))
            if cell is None:
                continue
            status[row, k] = OK if cell.status is Status.OK else DIVERGED
            seconds[row, k] = cell.seconds
            for rung, values in enumerate(cell.scores):
                scores[:, row, k, rung] = [np.nan if v is None else v for v in values]
    config = recording.config.model_dump(mode="json")
    note: dict[str, Json] = {"config": config, "functions": len(having)}
    data = load_search_data(recording.config.data)
    images = {"train": len(data.train.labels), "validation": len(data.validation.labels)}
    note |= {"classes": data.classes, "images": images, **(about or {})}
    return Table(
        tuple(f.spec for f in having),
        tuple(f.key for f in having),
        rungs,
        status,
        scores[0],
        scores[1],
        scores[2],
        scores[3],
        seconds,
        note,
    )


def name_of(spec: str) -> str:
    """A function's name for people."""
    return resolve(spec).name
