"""Settings of what is trained: data, network, metric, training."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

from pydantic import Field, field_validator

from hybridsearch.config.section import Named, Section


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
        description="Training examples used, drawn class by class; default: all that are not for "
        "validation (digits: 384).",
    )
    validation: int | None = Field(
        None,
        ge=1,
        description="Validation examples used, never trained on; default: 700 for digits, 5,000 of "
        "the training examples of other sets, all that your own callable gives.",
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
        description="The best value that a metric of yours can have, which scales rewards where "
        "fitness is metric; of one without a bound a value that is hardly ever reached (of a PSNR "
        "100); default: 1 where it is to be high, 0 where low.",
    )

    @field_validator("perfect", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        try:
            if math.isfinite(float(value)):
                return value
        except (TypeError, ValueError, OverflowError):
            return value  # none at all, or no number, which is told by the field itself
        raise ValueError(
            f"expected a finite number, got {value}: for a metric without a bound take a value "
            "that is hardly ever reached (100 for a PSNR), or leave it out where fitness is loss"
        )


class TrainingConfig(Section):
    """How a child is trained: the same for every function, as in the paper on CIFAR."""

    steps: int = Field(150, ge=1, description="Optimiser steps of a fully trained child.")
    batch_size: int = Field(64, ge=2, description="Examples per step.")
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
