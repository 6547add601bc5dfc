"""An update of AdamW by torch's own kernel, which goes over weights, gradients and moments once.

The kernel takes lists of tensors of one learning rate, decay, betas and eps, and clips by dividing
gradients by a number. So it is called once for each member and each group of segments that are
alike (``mugrow.bench.stacked_optimizer.Alike``). What it is called with are views of the storage,
and numbers that stay the same from step to step: they are made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Call(NamedTuple):
    """Of one member and segments that are alike: views of what the kernel works on, and its
    numbers. ``decay`` is what a weight shrinks by in a step at the peak rate."""

    weights: list[Tensor]
    gradients: list[Tensor]
    m: list[Tensor]
    v: list[Tensor]
    updates: list[Tensor]
    lr: float
    decay: float
    beta1: float
    beta2: float
    eps: float

    def __call__(self, factor: float, scale: Tensor) -> None:
        """Update at ``factor`` times the peak rate, gradients divided by ``scale`` in place."""
        if not self.lr:  # the kernel decays by a share of the rate
            torch._foreach_mul_(self.weights, 1 - factor * self.decay)
        torch._fused_adamw_(
            self.weights,
            self.gradients,
            self.m,
            self.v,
            [],
            self.updates,
            lr=factor * self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=self.decay / self.lr if self.lr else 0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,
        )


@dataclass(frozen=True)
class FusedAdamW:
    """The ``calls`` of every member, and what they share."""

    calls: Sequence[Sequence[Call]]
    gradient_KP: Tensor
    clip_K1: Tensor
    updates_K1: Tensor

    def update(self, factor_K1: Tensor) -> Tensor:
        """One step, in place, at ``factor`` times the peak rate; returns gradient norms ``(K,)``
        from before clipping."""
        norm_K1: Tensor = torch.linalg.vector_norm(self.gradient_KP, dim=1, keepdim=True)
        scales_K = (norm_K1 / self.clip_K1).clamp(min=1).squeeze(1)  # what the kernel divides by
        self.updates_K1.add_(1)
        factors = factor_K1.squeeze(1).tolist()
        for calls, factor, scale in zip(self.calls, factors, scales_K, strict=True):
            for call in calls:
                call(factor, scale)
        return norm_K1.squeeze(1)
