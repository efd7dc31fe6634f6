"""The one place where a setting has its default, its unit and its explanation.

Everything that a user can set is a field here; the command line, the YAML files and the Python API
all fill this one typed tree. The default tree is the digits search that `make search` runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hybridsearch.errors import UserError, nearest
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import Space

Fitness = Literal["loss", "accuracy", "metric"]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(
                        f"unknown setting {key!r}{nearest(str(key), cls.model_fields)}"
                    )
        return data


def _check_tokens(value: tuple[str, ...], known: list[str], what: str) -> tuple[str, ...]:
    for token in value:
        if token not in known:
            raise ValueError(f"unknown {what} function {token!r}{nearest(token, known)}")
    if len(set(value)) != len(value):
        raise ValueError(f"a {what} function is listed twice: {', '.join(value)}")
    return value


class SpaceConfig(Section):
    """Which activation functions can be proposed (PAPER.md: the paper varied the subsets)."""

    min_units: int = Field(1, ge=1, le=8, description="Fewest core units in a function.")
    max_units: int = Field(1, ge=1, le=8, description="Most core units in a function.")
    unary: tuple[str, ...] = Field(
        tuple(UNARY), min_length=1, description="Unary functions allowed, by token name."
    )
    binary: tuple[str, ...] = Field(
        tuple(BINARY), min_length=1, description="Binary functions allowed, by token name."
    )

    @field_validator("unary")
    @classmethod
    def _unary(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_tokens(value, list(UNARY), "unary")

    @field_validator("binary")
    @classmethod
    def _binary(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_tokens(value, list(BINARY), "binary")

    @model_validator(mode="after")
    def _ordered(self) -> SpaceConfig:
        if self.min_units > self.max_units:
            raise ValueError(
                f"space.min_units ({self.min_units}) is above space.max_units ({self.max_units})"
            )
        return self

    def space(self) -> Space:
        """The space that these settings describe."""
        return Space(self.min_units, self.max_units, self.unary, self.binary)


class Named(Section):
    """A section that may be written as one word: `data: digits` means `data: {name: digits}`."""

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


class DataConfig(Named):
    """Which data children train on, and how they are split."""

    name: str = Field(
        "digits",
        description="digits, fashion_mnist, cifar10, cifar100, or package.module:callable "
        "(called with 'train', 'validation' or 'test'; returns inputs and targets, or a Dataset or "
        "DataLoader of them). Integer targets are classes, numbers are a regression's.",
    )
    inputs: Literal["normalised", "as_given"] = Field(
        "normalised",
        description="normalised: images [N, C, H, W] or [N, H, W] per channel, features [N, F] per "
        "column, with mean and deviation of the training data. as_given: any shape, handed to "
        "your network as they are (token ids stay integers).",
    )
    folder: str | None = Field(
        None, description="Folder with the files; default: where `hybridsearch data` put them."
    )
    train: int | None = Field(
        None,
        ge=1,
        description="Training images used, drawn class by class; default: all that are not for "
        "validation (digits: 384).",
    )
    validation: int | None = Field(
        None,
        ge=1,
        description="Validation images used, never trained on; default: 700 for digits, 5,000 of "
        "the training images of other sets, all that your own callable gives.",
    )
    split_seed: int = Field(0, ge=0, description="Seed of the train and validation split.")
    augment: Literal["none", "shift", "crop_flip"] = Field(
        "none",
        description="Training augmentation: none; shift (pad 2 and crop); crop_flip (pad 4 and "
        "crop, then mirror; the standard one for CIFAR).",
    )


class NetworkConfig(Named):
    """The child network; every activation in it is the function under test."""

    name: str = Field(
        "digits_cnn",
        description="digits_mlp, digits_cnn, cnn28, resnet20, preresnet164, wrn28-10, "
        "densenet100-12 (of the last four any depth: resnet8, wrn16-2), or package.module:callable "
        "(called with those of make_activation, in_shape, outputs and classes that it takes; "
        "returns an nn.Module).",
    )
    fixed: tuple[str, ...] = Field(
        (),
        description="Functions of groups of layers that are not searched, as GROUP=FUNCTION; your "
        'network names a group by make_activation(channels, axis, group="early").',
    )
    width: int = Field(
        16,
        ge=1,
        description="Channels (or hidden units / 8) of the first stage; of a wrn times its factor.",
    )
    init: Literal["scaled", "he"] = Field(
        "scaled",
        description="Scale of the first weights: scaled to what the function under test makes of "
        "N(0,1) (one scale for all is unfair to some, Bingham and Miikkulainen 2021), or he, that "
        "of He et al. 2015 for every function, as in published tables.",
    )


class MetricConfig(Named):
    """What the retest measures on test data, and the search too where `fitness` is metric."""

    name: str = Field(
        "auto",
        description="auto (accuracy for classes, r2 for numbers, else the loss), accuracy, r2 "
        "(share of the training targets' variance explained), mse, mae, loss, or "
        "package.module:callable (called with all outputs and targets of a split; returns a value "
        "per example, from which intervals are over examples too, or one number).",
    )
    goal: Literal["max", "min"] = Field(
        "max", description="Whether a metric of yours is to be high or low; others know it."
    )
    perfect: float | None = Field(
        None,
        description="The best value that a metric of yours can have, which scales rewards; "
        "default: 1 where it is to be high, 0 where low.",
    )


class TrainingConfig(Section):
    """How a child is trained: the same for every function, as in the paper on CIFAR."""

    steps: int = Field(150, ge=1, description="Optimiser steps of a fully trained child.")
    batch_size: int = Field(64, ge=2, description="Images per step.")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="sgd (Nesterov momentum), or adamw (try lr 0.001 with it)."
    )
    loss: str = Field(
        "auto",
        description="What training lowers: auto (cross_entropy for classes, mse for numbers), "
        "cross_entropy, mse, l1, huber, bce (numbers 0 or 1, outputs are logits), or "
        "package.module:callable (called with outputs and targets; returns the loss of every "
        "example or their mean). Targets of mse, l1 and huber are standardised for the network.",
    )
    lr: float = Field(0.1, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD.")
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="L2 penalty (of adamw: decay) on weights, not on betas, biases or norms.",
    )
    warmup: int = Field(10, ge=0, description="Steps of linear learning-rate warm-up.")
    hold: int = Field(
        60,
        ge=1,
        description="Step after which the learning rate falls as 1/sqrt(step); it does not depend "
        "on `steps`, so that a short training is a prefix of a long one.",
    )
    drops: tuple[float, ...] = Field(
        (),
        description="Shares of `steps` at which the learning rate is multiplied by `drop`, instead "
        "of falling after `hold`; published settings of deep networks are such.",
    )
    drop: float = Field(0.1, gt=0, lt=1, description="Factor of the learning rate at each drop.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32",
        description="Number format of the forward pass; bf16 keeps fp32 weights; auto is bf16 on a "
        "GPU, and for large activations on a processor with bf16 instructions, else fp32.",
    )
    kernel: Literal["auto", "eager", "tape", "native", "compiled"] = Field(
        "auto",
        description="How the function under test is computed: native (generated C++, CPU), tape "
        "(in chunks, needs no compiler), compiled (torch.compile, GPU), eager (plain PyTorch); "
        "auto takes the fastest that is there.",
    )
    graph: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Replay the training step as one CUDA graph (GPU only): auto for the built-in "
        "networks; on for your own too, whose forward must then do the same at every call and "
        "never look at a tensor's values; off.",
    )
    recompute: bool = Field(
        False,
        description="Compute BatchNorm and activation again in the backward pass instead of "
        "keeping their values: less memory, the same numbers.",
    )
    stack: int = Field(
        5,
        ge=1,
        description="Replicates of a function (the retest's seeds) trained side by side in one "
        "network; digits_mlp and digits_cnn only, other networks gain nothing. 8 and 10 are no "
        "faster on digits_cnn, and leave workers idle at the end of a retest.",
    )
    diverged_above: float = Field(
        10.0,
        gt=1,
        description="A training loss above this many times that of a network that has learned "
        "nothing (of classes: ln(classes)) is divergence.",
    )

    @field_validator("drops")
    @classmethod
    def _within(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(a >= b for a, b in itertools.pairwise((0.0, *value, 1.0))):
            raise ValueError(f"drops must rise between 0 and 1, got {list(value)}")
        return value


def _rising(value: tuple[float, ...]) -> tuple[float, ...]:
    """Checks shares of training.steps: above 0, rising, the last one 1."""
    if not value or value[-1] != 1 or any(a >= b for a, b in itertools.pairwise(value)):
        raise ValueError(f"rungs must rise and end at 1, got {list(value)}")
    if value[0] <= 0:
        raise ValueError(f"rungs must be above 0, got {list(value)}")
    return value


class FidelityConfig(Section):
    """Low-fidelity early stopping: a child goes on while it is among the best of its rung."""

    rungs: tuple[float, ...] = Field(
        (0.0625, 0.25, 1.0),
        description="Shares of training.steps at which children are compared, rising to 1; "
        "just 1 trains every child fully.",
    )
    keep: float = Field(
        0.22,
        gt=0,
        le=1,
        description="Share of the children of a rung that is promoted to the next.",
    )
    first: int = Field(
        6,
        ge=0,
        description="Children that are trained fully before one is stopped: until then there is "
        "nothing to compare with.",
    )
    forecast: bool = Field(
        True,
        description="Compare children by what a model of function and score promises of them at "
        "the top; false: by their scores alone.",
    )
    optimism: float = Field(
        1.0, ge=0, description="Standard deviations that such a promise adds to the mean."
    )

    _rises = field_validator("rungs")(_rising)


class RecordConfig(Section):
    """What `hybridsearch record` trains: every function of the space, and the nine baselines."""

    rungs: tuple[float, ...] = Field(
        (0.0625, 0.125, 0.25, 0.5, 1.0),
        description="Shares of training.steps at which children are scored, rising to 1.",
    )
    test: Literal["every", "top"] = Field(
        "every",
        description="Where test images are scored: at every rung, or at the top alone, which "
        "saves time where they are many.",
    )
    replicates: int = Field(5, ge=1, description="Trainings of every function.")
    half: int = Field(
        0, ge=0, description="Trainings of the better half in all; 0: no more than of every one."
    )
    best: int = Field(
        0, ge=0, description="Trainings of the best few in all; 0: no more than of the others."
    )
    top: int = Field(300, ge=1, description="How many are the best few.")

    _rises = field_validator("rungs")(_rising)


class ControllerConfig(Section):
    """The paper's RNN controller and its PPO; the paper states none of these numbers.

    The defaults were chosen with `benchmarks/controller.py` on its development seeds and
    objectives, for 300 to 1,000 functions in batches of 32; in brackets what the literature uses
    (PAPER.md).
    """

    hidden: int = Field(
        64, ge=1, description="LSTM units; 32 did alike (Zoph and Le 35, Katib 64, DSO 32)."
    )
    embedding: int = Field(32, ge=1, description="Width of a token's embedding; 8 did alike.")
    logit_bound: float = Field(
        5.0,
        gt=0,
        description="Logits are bounded to +- this by tanh, so that a policy cannot collapse for "
        "good: without it, one that had hardly recovered within 80 batches (Katib 2.25; 2.5 and 3 "
        "learn less on two units).",
    )
    lr: float = Field(
        3e-2,
        gt=0,
        description="Adam step size; a few hundred functions are about 20 batches, and 5e-3 had "
        "hardly learnt by then; 0.05 did alike (Zoph and Le 6e-4, DSO 1e-3).",
    )
    epochs: int = Field(
        4,
        ge=1,
        description="PPO passes over a batch; 2 learn less, 6 and 8 no more (Schulman et al. 2017: "
        "3 to 15).",
    )
    clip: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="PPO clip range of the probability ratio, per decision; bounds what one batch "
        "can change (Schulman et al. 2017: 0.1 to 0.3, 0.2 best).",
    )
    entropy: float = Field(
        0.02,
        ge=0,
        description="Weight of the entropy bonus per decision, where advantages have size 1; 0.005 "
        "to 0.06 did alike (DSO 0.005, Katib 1e-5).",
    )
    entropy_max: float = Field(
        0.5,
        ge=0,
        description="Highest weight that the entropy bonus is raised to while batches repeat.",
    )
    repeat_target: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of repeats in a batch above which the entropy weight rises; 0.8 needs "
        "twice the proposals for the same.",
    )
    repeat_reward: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of its reward that a function earns when it is proposed again. At 1 the "
        "policy rests on what is known (last tenth of two units: 0.34, at 0.5: 0.43); at 0 it "
        "leaves good regions too early (0.36).",
    )
    baseline_decay: float = Field(
        0.8,
        ge=0,
        lt=1,
        description="Decay per batch of the moving average of rewards: a memory of 5 batches.",
    )
    least: int = Field(
        8,
        ge=1,
        description="Proposals that it learns from at once, at least; smaller batches add up.",
    )
    examples: int = Field(
        5,
        ge=1,
        description="Best functions that it imitates: of the population in a hybrid, of the chosen "
        "ones under a screen; 1 and 20 did alike.",
    )
    imitation: float = Field(
        1.0,
        ge=0,
        description="Weight of the imitation term, beside a policy gradient with advantages of "
        "size 1; 0.03 to 1 did alike, 0 a little worse.",
    )
    rehearsal: int = Field(
        32,
        ge=0,
        description="Samples per batch that it learns from by what the screen's model thinks of "
        "them, untrained; 0: none.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm above which it is clipped.")
    init_range: float = Field(
        0.08,
        gt=0,
        description="Weights start uniform in +- this: nearly uniform genomes (Zoph and Le); 0.25 "
        "did alike.",
    )


class EvolutionConfig(Section):
    """Evolution by DEAP: (mu + lambda), where lambda is the batch.

    The defaults of this and the next three sections were chosen with `benchmarks/strategies.py` on
    its development seeds and objectives, for 300 to 1,000 functions in batches of 32.
    """

    population: int = Field(
        20,
        ge=2,
        description="Functions that live on (mu); as many random ones begin. 10 to 30 did alike, "
        "50 learns later: a search has a few hundred functions, not thousands.",
    )
    tournament: int = Field(
        5, ge=1, description="Members drawn for a parent, the best of which it is; 2 learns later."
    )
    crossover: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of children made from two parents, the others are mutated; 0.25 to "
        "0.75 did alike, 0 a little worse.",
    )
    objectives: Literal["score", "score_time"] = Field(
        "score",
        description="score: the fitness alone. score_time: NSGA-II over fitness and the measured "
        "seconds per element of forward and backward; the run ends with a Pareto front.",
    )


class RegularizedConfig(Section):
    """Aging evolution (Real et al. 2019: population 100, sample 25, for 20,000 trainings)."""

    population: int = Field(
        50,
        ge=2,
        description="Functions alive; the oldest leaves. As many random ones begin, so that 100 "
        "learns later in a search of a few hundred; 32 did alike.",
    )
    sample: int = Field(
        25,
        ge=1,
        description="Members drawn for a parent, the best of which it is (Real et al. 2019); 10 "
        "and 5 learn later.",
    )


class LocalConfig(Section):
    """Local search with restarts."""

    starts: int = Field(
        32,
        ge=1,
        description="Random functions, the best of which is where a climb begins; 1 to 32 did "
        "alike in batches of 32, 96 begins late.",
    )


class ScreenConfig(Section):
    """A surrogate that chooses, of many candidates that a strategy makes, the few to be trained."""

    use: Literal["auto", "on", "off"] = Field(
        "auto",
        description="auto: on for rl and hybrid, unless it looks at times as well, which the model "
        "does not know; off for the others, which are as published.",
    )
    experience: str = Field(
        "auto",
        min_length=1,
        description="Recorded tables, with commas between, whose good functions the model expects "
        "to be good here too, as far as that proves true: names or files; auto: those that ship, "
        "but none of this search's data; none: begin without.",
    )
    first: int = Field(
        4,
        ge=2,
        description="Functions that are trained unscreened before a model without experience is "
        "asked.",
    )
    pool: int = Field(384, ge=1, description="Candidates that are kept for the next choice.")
    draws: int = Field(
        16,
        ge=1,
        description="Candidates that are drawn anew for every function to be trained, up to `pool` "
        "for a batch.",
    )
    optimism: float = Field(
        2.0,
        ge=0,
        description="Standard deviations that a choice adds to the mean: 0 trusts the model, more "
        "explores.",
    )
    unscreened: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the controller's proposals that stays unscreened, for the policy "
        "gradient.",
    )
    rows: int = Field(
        192, ge=16, description="Most functions that the model learns from: the best and the last."
    )


class HybridConfig(Section):
    """Controller and population together; their own settings are `controller` and `evolution`."""

    share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="The controller's share of a batch, at first or, without the bandit, always; "
        "below a half, since the population alone learns sooner; 0.5 did alike.",
    )
    bandit: bool = Field(
        True,
        description="Let the share follow who has lately improved; as good as a fixed 0.5 on "
        "synthetic functions, and it need not be guessed.",
    )
    floor: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="Least share of either part, so that both stay heard; 0.1 did alike.",
    )
    memory: float = Field(
        100.0,
        gt=0,
        description="Memory of the bandit in proposals of a part: some 5 batches; 30 did alike.",
    )
    bar: int = Field(
        10,
        ge=1,
        description="Credit is what exceeds the bar-th best reward so far: extremes, not means, "
        "yet not so rare as new records; 3 did alike.",
    )
    exchange: bool = Field(
        True,
        description="Let the parts learn of each other's functions; without it the mean over the "
        "first 300 functions was 0.62, with it 0.66.",
    )
    random: float = Field(
        0.33,
        ge=0,
        le=1,
        description="Share of a screen's candidates that is random: what the two parts make does "
        "not cover a space.",
    )
    settle: int = Field(
        64,
        ge=0,
        description="Functions until that share has come down from all; two parts that know little "
        "make more of the same.",
    )


class RaceConfig(Section):
    """The race between search and retest, in which candidates show with more seeds who is best."""

    candidates: int = Field(
        24,
        ge=0,
        description="Functions that enter: the best half by the score of the search, the others "
        "those that it stopped early and now expects most of; up to retest.finalists: no race.",
    )
    seeds: int = Field(
        2, ge=1, description="Trainings of each, after which the better half trains again."
    )


class RetestConfig(Section):
    """The honest retest of the finalists and the nine baselines on fresh seeds."""

    finalists: int = Field(5, ge=1, description="Best functions of the search that are retrained.")
    seeds: int = Field(10, ge=2, description="Fresh training seeds per function.")
    first: int = Field(0, ge=0, description="Number of the first of these seeds.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the reported intervals.")
    resamples: int = Field(
        5000, ge=100, description="Bootstrap resamples of seeds and test images."
    )


BATCH = 32  # proposals per batch, unless the config says
SCREENED_BATCH = range(2, 33)  # under a screen, the first and the last
PER_BATCH = 16  # functions known per proposal of a screened batch
SCREENED = ("rl", "hybrid")  # strategies with a screen unless `screen.use` is set
# The sections that only proposers read.
PROPOSERS = ("controller", "evolution", "regularized", "local", "hybrid", "screen")


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
    pool: Literal["loky", "inline"] = Field(
        "loky", description="Where children train: loky (worker processes) or inline (this one)."
    )
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


def explain(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: which setting, what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = problem.get("input")
    shown = "" if isinstance(got, dict | Section) or "got" in message else f" (got {got!r})"
    return f"{where + ': ' if where else ''}{message}{shown}"


def packaged_configs() -> Path:
    """The folder of the configs that ship: installed beside the package, or in the checkout."""
    try:
        return Path(str(resources.files("hybridsearch.configs")))
    except ModuleNotFoundError:  # run from a checkout that is not installed
        return Path(__file__).resolve().parent.parent / "configs"


def config_path(name: str | Path) -> Path:
    """A config file: the path itself, or the packaged file of that name.

    Raises: UserError when neither exists, naming the packaged ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    packaged = packaged_configs()
    inside = packaged / path.with_suffix(".yaml").name
    if inside.is_file():
        return inside
    known = sorted(p.stem for p in packaged.glob("*.yaml"))
    raise UserError(f"no config file {str(name)!r}{nearest(path.stem, known)}")


def read_settings(name: str | Path) -> dict[str, Any]:
    """The settings a YAML file states, checked against `Config` but without its defaults.

    Raises: UserError when the file is missing, no YAML mapping, or has a bad key or value.
    """
    path = config_path(name)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: not valid YAML") from error
    if not isinstance(settings, dict):
        raise UserError(
            f"{path}: expected settings as `key: value` lines, got {type(settings).__name__}"
        )
    make_config(settings, str(path))
    for key in ("data", "network"):
        if isinstance(settings.get(key), str):
            settings[key] = {"name": settings[key]}
    return settings


def saved_config(path: Path) -> Config:
    """The config that a run wrote into its folder. Raises: UserError when it cannot be read."""
    return make_config(_saved_settings(path), str(path))


def recorded_config(saved: Path | Mapping[str, Any], source: str) -> Config:
    """The config of a recording or a table, from its file or as it was stored; without the
    sections of proposers, which it does not read and which another version may have written.

    Raises: UserError when it cannot be read.
    """
    settings = _saved_settings(saved) if isinstance(saved, Path) else saved
    return make_config({k: v for k, v in settings.items() if k not in PROPOSERS}, source)


def _saved_settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected settings, got {type(settings).__name__}")
    return settings


def make_config(settings: dict[str, Any], source: str = "config") -> Config:
    """A `Config` from plain settings. Raises: UserError with one line that names the setting."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error)}") from error


def load_config(name: str | Path, **overrides: Any) -> Config:
    """A `Config` from a YAML file (a path or a packaged name), top-level overrides on top."""
    return make_config({**read_settings(name), **overrides}, str(name))
