"""Muon for a stack: momentum whose direction is orthogonalised, matrix by matrix.

With m the mean of gradients and U S V^T the singular value decomposition of a matrix (out, in),
the step (Jordan et al., 2024) is

    m <- mu m + (1 - mu) g                      g' = mu m + (1 - mu) g       (Nesterov, mu = 0.95)
    w <- w - lr * (sqrt(out / in) * orthogonal(g') + wd * w),      orthogonal(U S V^T) ~ U V^T

The scale is that of the spectral condition (Yang, Simon and Bernstein, arXiv 2310.17813): an update
of spectral norm sqrt(out / in) changes every coordinate of the output by the same at any width, so
the learning rate is constant in it. (Jordan's scale is max(1, out / in)^(1/2), which treats a
matrix that narrows, as an MLP's second, like a square one.) The decomposition is not computed: five
steps of the odd polynomial

    X <- a X + (b X X^T + c (X X^T)^2) X,       (a, b, c) = (3.4445, -4.7750, 2.0315)

from X = g' / |g'| move all singular values above a hundredth of the norm to between 0.68 and 1.14.

The members' matrices are independent in a batched product, so a stack of K is K separate runs. The
work is about 30 D^3 for a (D, D) matrix a step, whatever the batch; it is counted in no FLOPs.

The surprising fact: it stays exact when a model is widened by repeating its units. A matrix of k by
k equal blocks has the singular values of one block, all times k, so X is the same.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5
POLYNOMIAL = (3.4445, -4.7750, 2.0315)


class Matrix(NamedTuple):
    """A matrix ``(..., out, in)`` and where it lies in the ``P`` axis of the storage."""

    where: slice
    shape: tuple[int, ...]


class Rates(NamedTuple):
    """What a step is multiplied by, and what a weight is shrunk by, ``(K, P)`` each."""

    lr_KP: Tensor
    decay_KP: Tensor


def update(
    matrices: Sequence[Matrix], weights_KP: Tensor, m_KP: Tensor, gradient_KP: Tensor, rates: Rates
) -> None:
    """One step of these matrices, in place. Matrices of one shape are taken together."""
    for shape, alike in groupby(sorted(matrices, key=_shape), key=_shape):
        where = [matrix.where for matrix in alike]
        gradient_KnS = torch.stack([gradient_KP[:, columns] for columns in where], dim=1)
        for i, columns in enumerate(where):
            m_KP[:, columns].lerp_(gradient_KnS[:, i], 1 - MOMENTUM)
        m_KnS = torch.stack([m_KP[:, columns] for columns in where], dim=1)
        nesterov_KnS = gradient_KnS.lerp_(m_KnS, MOMENTUM)
        direction = orthogonal(nesterov_KnS.view(*nesterov_KnS.shape[:2], *shape))
        step_KnS = direction.flatten(2) * math.sqrt(shape[-2] / shape[-1])
        for i, columns in enumerate(where):
            shrink_KS = rates.decay_KP[:, columns] * weights_KP[:, columns]
            weights_KP[:, columns] -= step_KnS[:, i] * rates.lr_KP[:, columns] + shrink_KS


def _shape(matrix: Matrix) -> tuple[int, ...]:
    return matrix.shape


def orthogonal(matrices: Tensor) -> Tensor:
    """Every matrix ``(..., out, in)`` with its singular values moved near one; zeros stay zero."""
    wide: Tensor = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    tiny = torch.finfo(wide.dtype).tiny
    x: Tensor = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=tiny)
    a, b, c = POLYNOMIAL
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrices else x.mT
