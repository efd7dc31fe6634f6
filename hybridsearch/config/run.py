"""The whole config: everything that a run depends on."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from hybridsearch.config.child import DataConfig, MetricConfig, NetworkConfig, TrainingConfig
from hybridsearch.config.effort import FidelityConfig, RaceConfig, RecordConfig, RetestConfig
from hybridsearch.config.proposers import (
    ControllerConfig,
    EvolutionConfig,
    HybridConfig,
    LocalConfig,
    RegularizedConfig,
    ScreenConfig,
)
from hybridsearch.config.section import Section
from hybridsearch.config.space import SpaceConfig

Fitness = Literal["loss", "accuracy", "metric"]

BATCH = 32  # proposals per batch, unless the config says
SCREENED_BATCH = range(2, 33)  # under a screen, the first and the last
PER_BATCH = 16  # functions known per proposal of a screened batch
SCREENED = ("rl", "hybrid")  # strategies with a screen unless `screen.use` is set
PART = "part"  # the context of a validation of settings to which others are added
POOLS, CLUSTERS = ("loky", "inline", "auto"), ("dask", "ray")
NODE = "ray://auto"  # the Ray cluster that this machine is a node of


class ClusterConfig(Section):
    """What the workers of a cluster are told (`pool`); changes no result."""

    children: str | None = Field(
        None,
        description="Where children's checkpoints go between rungs if the workers do not share the "
        "run's folder: a URL of fsspec, such as s3://bucket/folder; default: they stay on the "
        "node that trained the child, and are trained again where that is lost.",
    )


class Config(Section):
    """Everything a run depends on; the default searches the embedded 8x8 digits."""

    strategy: Literal[
        "rl", "random", "evolution", "regularized", "local", "exhaustive", "hybrid"
    ] = Field(
        "rl",
        description="Who proposes: rl (the RNN controller with PPO), random, evolution (DEAP), "
        "regularized (aging evolution), local (local search with restarts), exhaustive (a small "
        "space in order) or hybrid (controller and evolution together).",
    )
    budget: int = Field(
        200, ge=1, description="Distinct functions to evaluate (first seen in this run)."
    )
    seconds: float | None = Field(
        None, gt=0, description="End the search after about this many seconds (the retest follows)."
    )
    seed: int = Field(0, ge=0, description="Root seed; every other seed is derived from it.")
    batch: int | None = Field(
        None,
        ge=1,
        description="Proposals per batch, after which the strategy learns; default 32, under a "
        "screen 2 at first and up to 32 when more is known, for its model learns from every "
        "function (set it to keep more workers busy).",
    )
    pipeline: int = Field(
        0,
        ge=0,
        description="Batches that are asked for while an earlier one is still in training. More of "
        "them keep many workers busy, and the strategy learns that much later; the course of a run "
        "depends on it, never on the workers.",
    )
    endgame: int = Field(
        0,
        ge=0,
        description="So many functions at the end of the budget (less than all of it) are asked "
        "for at once, beyond `pipeline`, with what is known by then; else workers run dry one "
        "after another while the last trainings end.",
    )
    patience: int = Field(
        50, ge=1, description="Batches in a row with nothing new after which the search ends."
    )
    fitness: Fitness = Field(
        "loss",
        description="What the search maximises on validation data: minus the loss, the accuracy, "
        "or the metric (with a minus where less of it is better).",
    )
    device: str = Field(
        "auto",
        description="auto (CUDA where there is one), cpu, cuda (all visible GPUs of one model) or "
        "cuda:N.",
    )
    workers: int = Field(
        0, ge=0, description="Worker processes; 0: one per CPU core, or one per GPU (at most that)."
    )
    pack: int = Field(
        0,
        ge=0,
        description="Most children that one GPU trains side by side; 0: as many as its memory "
        "holds, up to 8. Changes the speed, never a result.",
    )
    pool: str = Field(
        "loky",
        description="Where children train: loky (worker processes here), inline (this process), "
        "dask://HOST:PORT (a Dask scheduler), ray://HOST:PORT (Ray's client server), ray://auto "
        "(the Ray cluster that this machine is a node of), or auto (the "
        "cluster that DASK_SCHEDULER_ADDRESS or RAY_ADDRESS names, else loky). Changes no result.",
    )
    cluster: ClusterConfig = Field(ClusterConfig(), description="Workers of a cluster.")
    time_limit: float | None = Field(
        None,
        gt=0,
        description="Hard limit per training in seconds; default: 20 times the calibrated one.",
    )
    table: str | None = Field(
        None,
        description="Recorded table that answers instead of training: digits, cifar10 or a file. "
        "It brings the fitness, space, data, network and training that it was recorded with.",
    )
    cache: str | None = Field(
        None, description="Shared cache file (SQLite); default: cache.sqlite in the folder of runs."
    )
    space: SpaceConfig = Field(SpaceConfig(), description="The search space.")
    data: DataConfig = Field(DataConfig(), description="The data.")
    network: NetworkConfig = Field(NetworkConfig(), description="The child network.")
    training: TrainingConfig = Field(TrainingConfig(), description="Training of a child.")
    metric: MetricConfig = Field(MetricConfig(), description="What is measured on test data.")
    fidelity: FidelityConfig = Field(FidelityConfig(), description="Early stopping.")
    controller: ControllerConfig = Field(ControllerConfig(), description="The RNN controller.")
    evolution: EvolutionConfig = Field(EvolutionConfig(), description="Evolution.")
    regularized: RegularizedConfig = Field(RegularizedConfig(), description="Aging evolution.")
    local: LocalConfig = Field(LocalConfig(), description="Local search.")
    hybrid: HybridConfig = Field(HybridConfig(), description="Controller and evolution together.")
    screen: ScreenConfig = Field(ScreenConfig(), description="A model that screens proposals.")
    race: RaceConfig = Field(RaceConfig(), description="Who of the best is a finalist.")
    retest: RetestConfig = Field(RetestConfig(), description="The final retest.")
    record: RecordConfig = Field(RecordConfig(), description="Recording of a table.")

    @field_validator("pool")
    @classmethod
    def _known_pool(cls, value: str) -> str:
        scheme, _, address = value.partition("://")
        if value in (*POOLS, NODE) or (scheme in CLUSTERS and re.fullmatch(r".+:\d+", address)):
            return value
        raise ValueError(
            f"expected {', '.join(POOLS)}, dask://HOST:PORT, ray://HOST:PORT or {NODE}, "
            f"got {value!r}"
        )

    @field_validator("endgame")
    @classmethod
    def _after_some(cls, value: int, info: ValidationInfo) -> int:
        part = info.context == PART  # the budget may be yet to come
        budget = math.inf if part else info.data.get("budget", math.inf)
        if value < budget:
            return value
        raise ValueError(
            f"expected less than the budget of {budget:,}, got {value:,}: all would be asked for "
            "at once, and the strategy would learn nothing"
        )

    @property
    def screened(self) -> bool:
        """Whether a model screens what the strategy proposes."""
        if self.screen.use == "auto":  # the model knows scores, not times
            return self.strategy in SCREENED and not self.measures_times
        return self.screen.use == "on"

    def asks(self, known: int) -> int:
        """Proposals of the next batch, when so many functions have been evaluated."""
        if self.batch or not self.screened:
            return self.batch or BATCH
        return min(max(known // PER_BATCH, SCREENED_BATCH[0]), SCREENED_BATCH[-1])

    @property
    def label(self) -> str:
        """The strategy, with "+screen" or "-screen" where `screen.use` is not left to it, and
        "-experience" where a screen has none.
        """
        bare = self.screened and self.screen.experience == "none"
        use = {"on": "+screen", "off": "-screen"}.get(self.screen.use, "")
        return self.strategy + use + ("-experience" if bare else "")

    def labelled(self, label: str) -> Config:
        """This config with the strategy, and the use of the screen and of experience, that a label
        states; a bare strategy leaves them as they are here. Unchecked: `strategy` may be any text.
        """
        changed: dict[str, str] = {}
        for sign, name, value in (
            ("-experience", "experience", "none"),
            ("+screen", "use", "on"),
            ("-screen", "use", "off"),
        ):
            if label.endswith(sign):
                label, changed[name] = label.removesuffix(sign), value
        screen = self.screen.model_copy(update=changed)
        return self.model_copy(update={"strategy": label, "screen": screen})

    @property
    def measures_times(self) -> bool:
        """Whether the strategy reads how long functions take, so that a run has to measure it."""
        reads = self.strategy in ("evolution", "hybrid")
        return reads and self.evolution.objectives == "score_time"
