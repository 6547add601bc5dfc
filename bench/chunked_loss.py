"""Cross-entropy of a large vocabulary, a chunk of tokens at a time.

The loss of a token is log(sum_v exp z_v) - z_target, with logits z = W n + b, and its gradient by
the logits the probabilities less one at the target. Of both a chunk of tokens needs nothing of the
others. So the forward pass makes a chunk's logits, its losses and its part of the gradients of n, W
and b, and forgets the logits: in place of (tokens, V) numbers, three times, there are those of a
chunk and the gradient of W. The backward pass only scales. (The idea of Liger's fused linear
cross-entropy, arXiv 2410.10989.)
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mugrow.bench.precision import widened

WALKED = "the gradient of a loss is taken once: its first backward pass wrote on what was kept"


def chunked_cross_entropy(
    n_KND: Tensor, weight_KVD: Tensor, bias_KV: Tensor | None, targets_KN: Tensor, chunk: int
) -> Tensor:
    """Mean loss of each member in nats per token, ``(K,)``, with the logits of ``chunk`` tokens a
    member at a time. Factors may be of bfloat16; logits and losses are of float32 then."""
    loss_K: Tensor = _ChunkedLoss.apply(n_KND, weight_KVD, bias_KV, targets_KN, chunk)  # type: ignore[no-untyped-call]
    return loss_K


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        n_KND: Tensor,
        weight_KVD: Tensor,
        bias_KV: Tensor | None,
        targets_KN: Tensor,
        chunk: int,
    ) -> Tensor:
        tokens = n_KND.shape[1]
        learns = any(ctx.needs_input_grad)  # type: ignore[attr-defined]
        wide = torch.promote_types(n_KND.dtype, torch.float32)
        total_K = torch.zeros(len(n_KND), dtype=wide, device=n_KND.device)
        by_n = torch.empty_like(n_KND) if learns else None
        by_weight = torch.zeros_like(weight_KVD, dtype=wide) if learns else None
        by_bias = None
        if learns and bias_KV is not None:
            by_bias = torch.zeros_like(bias_KV, dtype=wide)
        for first in range(0, tokens, chunk):
            part = slice(first, first + chunk)
            n, targets = n_KND[:, part], targets_KN[:, part, None]
            logits = widened(n @ weight_KVD.mT)  # (K, chunk, V)
            if bias_KV is not None:
                logits += widened(bias_KV)[:, None]
            lse = logits.logsumexp(-1, keepdim=True)
            total_K += (lse - logits.gather(-1, targets)).sum((1, 2))
            if by_n is None or by_weight is None:
                continue
            gradient = logits.sub_(lse).exp_()
            gradient.scatter_add_(-1, targets, torch.full_like(lse, -1.0)).div_(tokens)
            if by_bias is not None:
                by_bias += gradient.sum(1)
            rounded = gradient.to(n.dtype)
            by_n[:, part] = rounded @ weight_KVD
            if n.dtype == wide:
                by_weight.baddbmm_(rounded.mT, n)
            else:
                by_weight += widened(rounded.mT @ n)
        ctx.gradients = by_n, by_weight, by_bias  # type: ignore[attr-defined]
        ctx.dtype = weight_KVD.dtype  # type: ignore[attr-defined]
        return total_K / tokens

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_loss_K: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that the forward pass has made, scaled in place."""
        if ctx.gradients is None:  # type: ignore[attr-defined]
            raise RuntimeError(WALKED)
        by_n, by_weight, by_bias = ctx.gradients  # type: ignore[attr-defined]
        ctx.gradients = None  # type: ignore[attr-defined]
        by_n.mul_(by_loss_K.to(by_n.dtype)[:, None, None])
        by_weight.mul_(by_loss_K[:, None, None])
        if by_bias is not None:
            by_bias = by_bias.mul_(by_loss_K[:, None]).to(ctx.dtype)  # type: ignore[attr-defined]
        return by_n, by_weight.to(ctx.dtype), by_bias, None, None  # type: ignore[attr-defined]
