"""Causal attention over few positions, written out.

Of a head with queries, keys and values ``(T, S)``:

    p = softmax(scale q kᵀ + mask),  y = p v
    v̄ = pᵀ ȳ,  s̄ = p (ȳ vᵀ - sum(ȳ vᵀ p)),  q̄ = scale s̄ k,  k̄ = scale s̄ᵀ q

Attention by blocks (FlashAttention, Dao et al., arXiv 2205.14135), which torch has, never stores
the ``(T, T)`` probabilities, and so computes them twice. Where they are ``few`` they fit a cache
and are kept: forward and backward pass take 0.7 to 0.9 of the time on a core of Zen 5, 0.4 to
0.6 with ``mugrow.bench.products``. At 1024 positions of head size 64 blocks are the quicker way.

What is between the linear maps and the products is done in one go too: heads are laid side by side,
and while they are, queries and keys are turned (``mugrow.bench.rotary``), without copies of their
halves.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MOST_POSITIONS = 256
POSITIONS_A_COORDINATE = 8  # of a head, at most

Turns = tuple[Tensor, Tensor]
"""Cosines ``(T, S)``, 1 where nothing turns, and sines ``(T, R/2)``."""


def few(positions: int, head_size: int) -> bool:
    """Whether probabilities of so many positions are few enough to be kept."""
    return positions <= min(MOST_POSITIONS, POSITIONS_A_COORDINATE * head_size)


def short_attention(qkv_BT3HS: Tensor, turns: Turns | None, scale: float) -> Tensor:
    """What every head reads, ``(B, T, H * S)``, from queries, keys and values side by side."""
    cos, sin = turns or (None, None)
    found: Tensor = _ShortAttention.apply(qkv_BT3HS, cos, sin, scale)  # type: ignore[no-untyped-call]
    return found


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv_BT3HS: Tensor, cos_TS: Tensor | None, sin_TR: Tensor | None, scale: float
    ) -> Tensor:
        B, T, _, H, S = qkv_BT3HS.shape
        heads_3BHTS = qkv_BT3HS.permute(2, 0, 3, 1, 4)
        if cos_TS is None or sin_TR is None:
            packed = heads_3BHTS.contiguous()
        else:
            packed = torch.empty_like(heads_3BHTS, memory_format=torch.contiguous_format)
            _turn(heads_3BHTS[:2], cos_TS, sin_TR, packed[:2])
            packed[2] = heads_3BHTS[2]
        q, k, v = packed.view(3, B * H, T, S)
        p = torch.baddbmm(_later(T, q.dtype), q, k.mT, alpha=scale).softmax(-1)
        ctx.save_for_backward(packed, p, cos_TS, sin_TR)
        ctx.scale = scale
        y = torch.bmm(p, v)
        return y.view(B, H, T, S).transpose(1, 2).reshape(B, T, H * S)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_BTI: Tensor) -> tuple[Tensor | None, ...]:
        packed, p, cos_TS, sin_TR = ctx.saved_tensors
        _, B, H, T, S = packed.shape
        q, k, v = packed.view(3, B * H, T, S)
        by_y = by_BTI.view(B, T, H, S).transpose(1, 2).reshape(B * H, T, S)
        by_s = torch._softmax_backward_data(torch.bmm(by_y, v.mT), p, -1, p.dtype)
        by_packed = torch.empty_like(packed)
        turns = cos_TS is not None and sin_TR is not None
        by_qk = torch.empty_like(packed[:2]) if turns else by_packed[:2]
        by_q, by_k = by_qk.view(2, B * H, T, S)
        torch.baddbmm(by_q, by_s, k, beta=0, alpha=ctx.scale, out=by_q)
        torch.baddbmm(by_k, by_s.mT, q, beta=0, alpha=ctx.scale, out=by_k)
        torch.bmm(p.mT, by_y, out=by_packed[2].view(B * H, T, S))
        if turns:  # what turned forward turns back
            _turn(by_qk, cos_TS, -sin_TR, by_packed[:2])
        return by_packed.permute(1, 3, 0, 2, 4).contiguous(), None, None, None


def _turn(qk_2BHTS: Tensor, cos_TS: Tensor, sin_TR: Tensor, into: Tensor) -> None:
    """Write queries and keys turned into a tensor as large."""
    half = sin_TR.shape[-1]  # of the coordinates that turn
    a, b = slice(half), slice(half, 2 * half)
    torch.mul(qk_2BHTS, cos_TS, out=into)
    into[..., a].addcmul_(qk_2BHTS[..., b], sin_TR, value=-1)
    into[..., b].addcmul_(qk_2BHTS[..., a], sin_TR)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # who differentiates may have it later
def _later(T: int, dtype: torch.dtype) -> Tensor:
    """What is added to scores ``(T, T)``: nothing, or minus infinity for positions to come."""
    return torch.full((T, T), -torch.inf, dtype=dtype, device="cpu").triu(1)
