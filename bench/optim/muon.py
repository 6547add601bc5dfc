"""Muon: momentum whose direction is orthogonalised, matrix by matrix; the rest is AdamW's.

With m the mean of gradients and U S V^T the singular value decomposition of a matrix (out, in),
the step (Jordan et al., 2024) is

    m <- mu m + (1 - mu) g                      g' = mu m + (1 - mu) g       (Nesterov, mu = 0.95)
    direction = sqrt(out / in) * orthogonal(g'),            orthogonal(U S V^T) ~ U V^T

The scale is that of the spectral condition (Yang, Simon and Bernstein, arXiv 2310.17813): an update
of spectral norm sqrt(out / in) changes every coordinate of the output by the same at any width, so
the learning rate is constant in it. (Jordan's scale is max(1, out / in)^(1/2), which treats a
matrix that narrows, as an MLP's second, like a square one.) The decomposition is not computed: a
few steps of the odd polynomial

    X <- a X + (b X X^T + c (X X^T)^2) X,       (a, b, c) = (3.4445, -4.7750, 2.0315)

from X = g' / |g'|; five of them move all singular values above a hundredth of the norm to between
0.68 and 1.14.

The members' matrices are independent in a batched product, so a stack of K is K separate runs. The
work is about 30 D^3 for a (D, D) matrix a step, whatever the batch; it is counted in no FLOPs.

It stays exact when a model is widened by repeating its units: a matrix of k by k equal blocks has
the singular values of one block, all times k, so X is the same.
"""

import math

import torch
from torch import Tensor

from mugrow.bench.optim import Optimizer, Update

POLYNOMIAL = (3.4445, -4.7750, 2.0315)


def step(update: Update, *, momentum: float = 0.95, steps: int = 5) -> Tensor:
    """The direction of matrices ``(K, n, ..., out, in)``. Raises nothing; a matrix that is not
    finite makes its own direction not finite, and no other's."""
    m = update.buffers["m"]
    m.lerp_(update.gradient, 1 - momentum)
    fan_out, fan_in = m.shape[-2:]
    nesterov = update.gradient.lerp_(m, momentum)
    return orthogonal(nesterov, steps) * math.sqrt(fan_out / fan_in)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Every matrix ``(..., out, in)`` with its singular values moved near one; zeros stay zero."""
    wide: Tensor = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    tiny = torch.finfo(wide.dtype).tiny
    x: Tensor = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=tiny)
    a, b, c = POLYNOMIAL
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrices else x.mT


OPTIMIZER = Optimizer(
    name="muon",
    summary="orthogonalised momentum for hidden matrices, AdamW for the rest",
    paper="Jordan et al., 2024",
    step_size="spectral",
    buffers={"m": "gradient"},
    step=step,
    fractions=("momentum",),
)
