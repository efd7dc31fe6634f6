"""The RNN controller: a distribution over the genomes of a space, one token after the other.

Source: Ramachandran, Zoph and Le 2017, section 3: at each time step an RNN predicts one component
of the function, and the prediction is fed back as the next step's input. Functional: `Controller`
holds only shapes, the weights are a dict of tensors that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridsearch.genome.units import UNIT_LENGTH, Space, Tokens, input_token

Weights = dict[str, Tensor]
KINDS = ("binary", "unary1", "input1", "unary2", "input2", "stop")
GO_ON, STOP = "<unit>", "<stop>"  # the decision after a unit; never part of a genome


class Step(NamedTuple):
    """One decision. `choices` are all valid tokens: nothing else has a logit, so no mask is needed.

    place: token number in the genome that it fills, -1 for the decision to stop. first: number of
    its first choice in the vocabulary: a row of the embedding, a column of the output layer.
    """

    unit: int
    kind: str
    choices: tuple[str, ...]
    place: int
    first: int


class Rollout(NamedTuple):
    """A batch of genomes as decisions.

    choices: [B, S] int64, number of the choice at each step, -1 after a genome's end. log_prob,
    entropy: [B, S] float32, nats, 0 after the end.
    """

    choices: Tensor
    log_prob: Tensor
    entropy: Tensor


class Controller:
    """A single-layer LSTM over the decisions that the genomes of `space` need.

    A decision with one valid choice (the inputs of the first unit, a subset of one function) is no
    step: it has log-probability and entropy 0 and takes no time. Every kind of decision has its
    own output layer and embedding; the units share them.
    """

    def __init__(self, space: Space, hidden: int, embedding: int, logit_bound: float) -> None:
        self.space, self.hidden, self.embedding = space, hidden, embedding
        self.logit_bound = logit_bound
        inputs = tuple(input_token(k) for k in range(space.max_units))
        tokens = (space.binary, space.unary, inputs, space.unary, inputs, (GO_ON, STOP))
        starts = dict(zip(KINDS, np.cumsum([0, *map(len, tokens)]).tolist(), strict=False))
        self.vocabulary = sum(map(len, tokens))
        self.steps: list[Step] = []
        for unit in range(1, space.max_units + 1):
            for offset, (kind, choices) in enumerate(zip(KINDS, tokens, strict=True)):
                valid = choices[:unit] if kind.startswith("input") else choices
                place = (unit - 1) * UNIT_LENGTH + offset
                if kind == "stop":
                    place = -1
                    if not space.min_units <= unit < space.max_units:
                        continue
                if len(valid) > 1:
                    self.steps.append(Step(unit, kind, valid, place, starts[kind]))

    def init(self, rng: np.random.Generator, scale: float) -> Weights:
        """Fresh weights, uniform in +-scale: the first genomes are nearly uniform."""
        h, e, v = self.hidden, self.embedding, self.vocabulary
        shapes = {
            "embedding": (v, e),
            "input": (e, 4 * h),
            "recurrent": (h, 4 * h),
            "bias": (4 * h,),
            "head": (h, v),
            "head_bias": (v,),
        }
        return {
            name: torch.from_numpy(rng.uniform(-scale, scale, shape)).float()
            for name, shape in shapes.items()
        }

    def sample(self, weights: Weights, n: int, rng: np.random.Generator) -> Rollout:
        """n genomes, drawn; always the same number of draws from `rng` for the same n."""
        uniform = torch.from_numpy(rng.random((n, len(self.steps))))
        with torch.no_grad():
            return self._unroll(weights, n, uniform=uniform)

    def score(self, weights: Weights, choices: Tensor) -> Rollout:
        """Log-probabilities and entropies of given decisions [B, S], differentiable."""
        return self._unroll(weights, len(choices), given=choices)

    def _unroll(
        self, weights: Weights, n: int, given: Tensor | None = None, uniform: Tensor | None = None
    ) -> Rollout:
        x = torch.zeros(n, self.embedding)
        h = c = torch.zeros(n, self.hidden)
        alive = torch.ones(n, dtype=torch.bool)
        chosen, log_probs, entropies = [], [], []
        for s, step in enumerate(self.steps):
            gates = x @ weights["input"] + h @ weights["recurrent"] + weights["bias"]
            i, f, g, o = gates.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            valid = slice(step.first, step.first + len(step.choices))
            logits = h @ weights["head"][:, valid] + weights["head_bias"][valid]
            # Logit clipping (Bello et al. 2017, arXiv 1611.09940, appendix): no choice becomes
            # impossible, so that neither its samples nor the entropy's gradient die out.
            bounded = self.logit_bound * torch.tanh(logits / self.logit_bound)
            log_p = torch.log_softmax(bounded, dim=1)
            p = log_p.exp()
            if given is not None:
                pick = given[:, s].clamp(min=0)
            elif uniform is not None:
                # Inverse of the distribution function; the clamp is for a sum just below 1.
                below = p.double().cumsum(1) < uniform[:, s, None]
                pick = below.sum(1).clamp(max=len(step.choices) - 1)
            chosen.append(torch.where(alive, pick, -1))
            log_probs.append(log_p.gather(1, pick[:, None])[:, 0] * alive)
            entropies.append(-(p * log_p).sum(1) * alive)
            x = weights["embedding"][step.first + pick]
            if step.kind == "stop":
                alive = alive & (pick == step.choices.index(GO_ON))
        if not self.steps:  # a space of one genome
            return Rollout(torch.zeros(n, 0, dtype=torch.int64), *torch.zeros(2, n, 0))
        return Rollout(*(torch.stack(rows, 1) for rows in (chosen, log_probs, entropies)))

    def decode(self, choices: NDArray[np.int64]) -> list[Tokens]:
        """Decisions [B, S] -> genomes."""
        return [self._genome(row) for row in choices.tolist()]

    def _genome(self, row: Sequence[int]) -> Tokens:
        b, u = self.space.binary[0], self.space.unary[0]
        tokens = [b, u, "x", u, "x"] * self.space.max_units  # right where there is one choice
        units = self.space.max_units
        for step, pick in zip(self.steps, row, strict=True):
            if pick < 0:
                break
            if step.kind != "stop":
                tokens[step.place] = step.choices[pick]
            elif step.choices[pick] == STOP:
                units = step.unit
        return tuple(tokens[: units * UNIT_LENGTH])

    def chances(self, log_prob: Tensor, genomes: Sequence[Tokens]) -> list[tuple[float, ...]]:
        """The probability of every token of genomes that were drawn with log-probabilities [B, S],
        to four places: for people.
        """
        at = [(s, step.place) for s, step in enumerate(self.steps) if step.place >= 0]
        found = []
        for row, genome in zip(
            log_prob.exp().double().numpy().round(4).tolist(), genomes, strict=True
        ):
            chance = [1.0] * len(genome)
            for s, place in at:
                if place < len(genome):
                    chance[place] = row[s]
            found.append(tuple(chance))
        return found

    def encode(self, genomes: Sequence[Tokens]) -> Tensor:
        """Genomes of the space -> decisions [B, S], the inverse of `decode`."""
        rows = []
        for tokens in genomes:
            units = len(tokens) // UNIT_LENGTH
            row = []
            for step in self.steps:
                if step.unit > units:
                    row.append(-1)
                elif step.kind == "stop":
                    row.append(step.choices.index(STOP if step.unit == units else GO_ON))
                else:
                    row.append(step.choices.index(tokens[step.place]))
            rows.append(row)
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(self.steps))
