"""Cross-entropy with one exponential and one tensor as large as the logits.

With logits z and probabilities p = softmax(z), the loss of a token whose target is t and its
gradient are

    -log p_t = max(z) - z_t - log(max(p)),    p less one at the target

The largest probability is at least one in V, so that no logit makes its logarithm infinite, as it
would that of a target held impossible. The gradient takes the place of the probabilities; torch's
own loss allocates, fills and reads two more tensors as large as the logits, and takes the
exponential twice. Of a large vocabulary even one is too many (``mugrow.bench.chunked_loss``).
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mugrow.bench.chunked_loss import WALKED


def cross_entropy(logits_KBTV: Tensor, targets_KBT: Tensor) -> Tensor:
    """Mean loss of each member in nats per token, ``(K,)``."""
    K, _, _, V = logits_KBTV.shape
    loss_N: Tensor = _Losses.apply(logits_KBTV.reshape(-1, V), targets_KBT.reshape(-1, 1))  # type: ignore[no-untyped-call]
    return loss_N.view(K, -1).mean(1)


class _Losses(torch.autograd.Function):
    """Of each token."""

    @staticmethod
    def forward(ctx: FunctionCtx, logits_NV: Tensor, targets_N1: Tensor) -> Tensor:
        p_NV = torch.softmax(logits_NV, dim=-1)
        ctx.kept = p_NV, targets_N1  # type: ignore[attr-defined]
        behind_N = logits_NV.amax(1) - logits_NV.gather(1, targets_N1).squeeze(1)
        return behind_N - p_NV.amax(1).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_loss_N: Tensor) -> tuple[Tensor, None]:
        """Once: it writes on what was kept."""
        if ctx.kept is None:  # type: ignore[attr-defined]
            raise RuntimeError(WALKED)
        p_NV, targets_N1 = ctx.kept  # type: ignore[attr-defined]
        ctx.kept = None  # type: ignore[attr-defined]
        gradient_NV = p_NV.mul_(by_loss_N[:, None])
        return gradient_NV.scatter_add_(1, targets_N1, -by_loss_N[:, None]), None
