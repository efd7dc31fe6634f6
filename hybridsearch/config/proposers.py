"""Settings of those who propose, and of the model that screens them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hybridsearch.config.section import Section


class ControllerConfig(Section):
    """The paper's RNN controller and its PPO; the paper states none of these numbers.

    The defaults were chosen with `benchmarks/controller.py` on its development seeds and
    objectives, for 300 to 1,000 functions in batches of 32; in brackets what the literature uses.
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
        description="Best functions that it imitates: in a hybrid of those that the population has "
        "made, under a screen too; alone, or without exchange, of its own that a screen chose; 1 "
        "and 20 did alike.",
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
