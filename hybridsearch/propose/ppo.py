"""The controller as a proposer, trained with PPO on the validation accuracy of its children.

Sources: Ramachandran, Zoph and Le 2017, section 3 (PPO, the reward's exponential moving average as
the baseline); Schulman et al. 2017 (arXiv 1707.06347); Kingma and Ba 2015 (arXiv 1412.6980).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridsearch.config import ControllerConfig
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.propose.base import Candidate, Judge, Member, number
from hybridsearch.propose.controller import Controller, Rollout, Weights
from hybridsearch.propose.novelty import has_verdict
from hybridsearch.threads import one_thread
from hybridsearch.types import Outcome, Proposal, State, Status, seed_for

ADAM_BETAS, ADAM_EPS = (0.9, 0.99), 1e-8
ENTROPY_FLOOR = 1e-3  # a weight of 0 could not be raised by a factor
ENTROPY_STEP = 1.5  # factor of the entropy weight per batch, up while it repeats and down after


class Sample(NamedTuple):
    """A genome that the policy drew, and what became of it.

    drawn: log-probabilities [S] under which it was drawn. known: it had been evaluated before.
    """

    genome: Tokens
    key: str
    reward: float
    known: bool
    drawn: Sequence[float]


def _repeats(batch: Sequence[Sample]) -> list[bool]:
    """Per sample: was its function known before, or is it in the batch already?"""
    keys: set[str] = set()
    repeats = []
    for sample in batch:
        repeats.append(sample.known or sample.key in keys)
        keys.add(sample.key)
    return repeats


class ControllerProposer:
    """Samples genomes from the controller and trains it on what became of them.

    Genomes that it repeats stay in the batch: without them the gradient would not be the policy's.
    A repeat earns `repeat_reward` of its reward: what a proposal is worth to a search is a new
    function, so the policy moves on to neighbours of the good ones it has found.
    """

    name = "rl"

    def __init__(self, space: Space, config: ControllerConfig, seed: int) -> None:
        self._config = config
        self._controller = Controller(space, config.hidden, config.embedding, config.logit_bound)
        self._rng = np.random.default_rng(seed_for(seed, "propose/rl"))
        self._weights = self._controller.init(self._rng, config.init_range)
        self._adam_m = {k: torch.zeros_like(w) for k, w in self._weights.items()}
        self._adam_v = {k: torch.zeros_like(w) for k, w in self._weights.items()}
        self._adam_t = 0
        self._baseline: float | None = None
        self._scale: float | None = None
        self._entropy = config.entropy
        self.next_id = 0  # settable, so that several proposers can share a run's ids
        self._examples: list[Tokens] = []  # of `imitate`
        self._adopted: list[Member] = []  # the best that somebody chose of what it drew
        self._heard: list[Sample] = []  # too few yet to learn from
        # id -> log-probabilities [S] under which it was drawn
        self._asked: dict[int, list[float]] = {}

    def ask(self, n: int) -> list[Proposal]:
        """n genomes drawn from the policy, with new ids."""
        rollout, candidates = self._draws(n)
        proposals = number(self.next_id, candidates, self.name)
        self.next_id += len(proposals)
        for proposal, row in zip(proposals, rollout.log_prob.tolist(), strict=True):
            self._asked[proposal.id] = row
        return proposals

    def _sample(self, n: int) -> tuple[Rollout, list[Tokens]]:
        """n draws from the policy, as decisions and as genomes."""
        with one_thread():
            rollout = self._controller.sample(self._weights, n, self._rng)
        return rollout, self._controller.decode(rollout.choices.numpy())

    def _draws(self, n: int) -> tuple[Rollout, list[Candidate]]:
        """n draws from the policy, with the chances that their tokens had."""
        rollout, genomes = self._sample(n)
        chances = self._controller.chances(rollout.log_prob, genomes)
        made = [
            Candidate(genome, operator="policy", chances=row)
            for genome, row in zip(genomes, chances, strict=True)
        ]
        return rollout, made

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """One batch of PPO, of `least` samples or more; outcomes with no reward (ERROR) and those
        of other proposers teach nothing.
        """
        known = {o.proposal.id: o for o in outcomes if o.proposal.id in self._asked}
        for k, o in sorted(known.items()):
            drawn_with = self._asked.pop(k)
            if has_verdict(o):
                genome, reward = o.proposal.genome.tokens, float(o.reward or 0.0)
                self._heard.append(Sample(genome, o.key, reward, o.known, drawn_with))
        c = self._config
        if len(self._heard) < c.least:
            return
        batch, self._heard = self._heard, []
        drawn = torch.tensor([sample.drawn for sample in batch])
        repeats = _repeats(batch)
        self._adapt_entropy(sum(repeats) / len(batch))
        worth = [c.repeat_reward if repeat else 1.0 for repeat in repeats]
        advantages = self._advantages([s.reward * w for s, w in zip(batch, worth, strict=True)])
        with one_thread():
            choices = self._controller.encode([sample.genome for sample in batch])
            self._update(choices, drawn, torch.tensor(advantages))
        self._examples = []

    def imitate(self, genomes: Sequence[Tokens]) -> None:
        """Learn from these genomes of others with the next batch that it learns from.

        The objective gains `imitation` times their mean log-probability per decision: a
        cross-entropy term of its own, apart from the policy gradient, which would need the
        probability under which a sample was drawn. It lasts until that batch; rehearsals before it
        imitate them as well.
        """
        self._examples = list(map(tuple, genomes))

    # As the source of a screen ---------------------------------------------------------------

    def draw(self, n: int) -> list[Candidate]:
        """n genomes drawn from the policy, which does not wait for what becomes of them."""
        return self._draws(n)[1]

    def skip(self, genomes: Sequence[Tokens]) -> None:
        """It may propose them all the same."""

    def adopt(self, outcomes: Sequence[Outcome]) -> None:
        """The best of what was chosen are examples, until others are given to `imitate`: a chosen
        sample is not the policy's.
        """
        trained = [Member.of(o) for o in outcomes if has_verdict(o) and o.status is Status.OK]
        every = {m.genome: m for m in [*self._adopted, *trained]}
        best = sorted(every.values(), key=lambda m: (-m.reward, m.id))
        self._adopted = best[: self._config.examples]
        self.imitate([m.genome for m in self._adopted])

    policy_share = 1.0

    def ask_policy(self, n: int) -> list[Proposal]:
        return self.ask(n)

    def rehearse(self, judge: Judge) -> None:
        """One batch of PPO on samples of now that a model judges, none of which is trained.

        Source: Angermueller et al. 2020 (DyNA-PPO), where a policy learns between the rounds of an
        experiment from models fitted to it. The baseline is the batch's own mean.
        """
        if not self._config.rehearsal:
            return
        rollout, genomes = self._sample(self._config.rehearsal)
        rewards = np.asarray(judge(genomes), dtype=np.float64)
        advantages = (rewards - rewards.mean()) / max(float(rewards.std()), 1e-3)
        with one_thread():
            self._update(rollout.choices, rollout.log_prob, torch.tensor(advantages).float())

    def _adapt_entropy(self, repeats: float) -> None:
        """Raise the entropy weight while too large a share of a batch repeats, else let it fall."""
        c = self._config
        top = max(c.entropy_max, c.entropy)
        if repeats > c.repeat_target:
            self._entropy = min(max(self._entropy, ENTROPY_FLOOR) * ENTROPY_STEP, top)
        else:
            self._entropy = max(self._entropy / ENTROPY_STEP, c.entropy)

    def _advantages(self, rewards: list[float]) -> list[float]:
        """Reward above the baseline, in units of its running root mean square.

        The baseline is the moving average before this batch (Ramachandran et al. 2017, section 3),
        at first 0, the reward of chance: so no sample is judged by itself.
        """
        before = 0.0 if self._baseline is None else self._baseline
        decay = self._config.baseline_decay
        mean = math.fsum(rewards) / len(rewards)
        self._baseline = (
            mean if self._baseline is None else decay * self._baseline + (1 - decay) * mean
        )
        square = math.fsum((r - before) ** 2 for r in rewards) / len(rewards)
        self._scale = square if self._scale is None else decay * self._scale + (1 - decay) * square
        return [(r - before) / max(math.sqrt(self._scale), 1e-3) for r in rewards]

    def _update(self, choices: Tensor, drawn: Tensor, advantages: Tensor) -> None:
        """PPO on decisions [B, S] drawn with log-probabilities [B, S]; advantages [B]."""
        c = self._config
        taken = choices >= 0
        decisions = int(taken.sum())
        if not decisions:  # a space of one genome
            return
        advantage = advantages[:, None]
        examples = self._controller.encode(self._examples)
        share = c.imitation / max(len(self._examples), 1)
        shares = share / (examples >= 0).sum(1)  # of a decision in its genome's weight
        every, own = torch.cat([choices, examples]), slice(len(choices))  # one pass for both
        for _ in range(c.epochs):
            leaves = {k: w.requires_grad_() for k, w in self._weights.items()}
            rollout = self._controller.score(leaves, every)
            ratio = (rollout.log_prob[own] - drawn).exp()  # Schulman et al. 2017, section 3
            clipped = ratio.clamp(1 - c.clip, 1 + c.clip)
            surrogate = torch.minimum(ratio * advantage, clipped * advantage) * taken  # eq. 7
            # Eq. 9 without its value loss: there is no critic, the baseline is an average.
            objective = (surrogate + self._entropy * rollout.entropy[own]).sum() / decisions
            if self._examples:
                log_prob = rollout.log_prob[len(choices) :]
                objective = objective + (log_prob.sum(1) * shares).sum()
            grads = torch.autograd.grad(-objective, list(leaves.values()))
            self._weights = {k: w.detach() for k, w in leaves.items()}
            self._adam(dict(zip(leaves, grads, strict=True)))

    def _adam(self, grads: Weights) -> None:
        """One step of Adam (Kingma and Ba 2015, algorithm 1); torch.optim would load dynamo."""
        norm = math.sqrt(math.fsum(float(g.square().sum()) for g in grads.values()))
        shrink = min(1.0, self._config.max_grad_norm / (norm + 1e-12))
        b1, b2 = ADAM_BETAS
        self._adam_t += 1
        for k, grad in grads.items():
            g = grad * shrink
            self._adam_m[k] = b1 * self._adam_m[k] + (1 - b1) * g
            self._adam_v[k] = b2 * self._adam_v[k] + (1 - b2) * g * g
            m_hat = self._adam_m[k] / (1 - b1**self._adam_t)
            v_hat = self._adam_v[k] / (1 - b2**self._adam_t)
            self._weights[k] = self._weights[k] - self._config.lr * m_hat / (
                v_hat.sqrt() + ADAM_EPS
            )

    def state(self) -> State:
        """Everything that a later draw or update depends on."""
        groups = {"weight": self._weights, "adam_m": self._adam_m, "adam_v": self._adam_v}
        return State(
            {
                "next_id": self.next_id,
                "adam_t": self._adam_t,
                "baseline": self._baseline,
                "scale": self._scale,
                "entropy": self._entropy,
                "examples": [list(genome) for genome in self._examples],
                "heard": [list(sample) for sample in self._heard],
                "adopted": [member.to_json() for member in self._adopted],
                "rng": self._rng.bit_generator.state,
                "asked": [[k, row] for k, row in self._asked.items()],
            },
            {
                f"{name}.{k}": t.numpy().copy()
                for name, group in groups.items()
                for k, t in group.items()
            },
        )

    def restore(self, state: State) -> None:
        values = state.values
        self.next_id, self._adam_t = values["next_id"], values["adam_t"]
        self._baseline, self._scale = values["baseline"], values["scale"]
        self._entropy = values["entropy"]
        self._examples = [tuple(genome) for genome in values["examples"]]
        heard = values["heard"]
        self._heard = [Sample(tuple(g), key, r, k, list(row)) for g, key, r, k, row in heard]
        self._adopted = [Member.from_json(row) for row in values["adopted"]]
        self._rng.bit_generator.state = values["rng"]
        self._asked = {k: list(row) for k, row in values["asked"]}
        self._weights, self._adam_m, self._adam_v = (
            {k: torch.from_numpy(state.arrays[f"{name}.{k}"].copy()) for k in self._weights}
            for name in ("weight", "adam_m", "adam_v")
        )
