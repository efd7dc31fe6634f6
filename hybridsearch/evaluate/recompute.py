"""BatchNorm, an optional shortcut and the activation as one step of the backward pass.

In a network of ReLUs a layer keeps two tensors for the backward pass: what the convolution gave,
which BatchNorm reads again, and what ReLU gave, which the next convolution reads anyway. Any other
activation must keep its own input as well. With `recompute` that third tensor is not kept: the
backward pass makes it again from the convolution's output, with the same numbers, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


class NormActivation(nn.Module):
    """act(norm(x) + shortcut); `recompute` says whether the sum is kept or made again."""

    def __init__(self, norm: BatchNorm, act: nn.Module) -> None:
        super().__init__()
        self.norm, self.act, self.recompute = norm, act, False

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            inside = self.norm(x)
            return self.act(inside if shortcut is None else inside + shortcut)  # type: ignore[no-any-return]
        norm = self.norm
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        parameters = [p for p in self.act.parameters() if p.requires_grad]
        return _Recomputed.apply(x, shortcut, norm.weight, norm.bias, self, *parameters)  # type: ignore[no-any-return, no-untyped-call]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shortcut: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        block: NormActivation,
        *parameters: Tensor,
    ) -> Tensor:
        norm = block.norm
        inside, mean, scale = torch.native_batch_norm(
            x, weight, bias, norm.running_mean, norm.running_var,
            True, norm.momentum or 0.0, norm.eps,
        )  # fmt: skip
        if shortcut is not None:
            inside = inside + shortcut
        ctx.block = block
        ctx.save_for_backward(x, shortcut, weight, bias, mean, scale, *parameters)
        return block.act(inside)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, shortcut, weight, bias, mean, scale, *parameters = ctx.saved_tensors
        block = ctx.block
        # From the batch's own statistics again; the running ones have had their turn.
        inside, _, _ = torch.native_batch_norm(
            x, weight, bias, None, None, True, 0.0, block.norm.eps
        )
        if shortcut is not None:
            inside = inside + shortcut
        inside = inside.detach().requires_grad_()
        with torch.enable_grad():
            out = block.act(inside)
        slope, *rest = torch.autograd.grad(out, [inside, *parameters], g, allow_unused=True)
        gx, gweight, gbias = torch.ops.aten.native_batch_norm_backward(
            slope, x, weight, None, None, mean, scale, True, block.norm.eps, [True, True, True]
        )
        return gx, slope if shortcut is not None else None, gweight, gbias, None, *rest
