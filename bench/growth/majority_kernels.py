"""Majority kernels: train K copies of every matrix, mixed at random, and end with their mean.

    training     W = sum_k p_k W_k,    p uniform on the simplex, new at every step for every matrix
    validation   W = mean_k W_k,       and so is what is saved: an ordinary model

"Simulated overparametrization" of Mazzawi et al., arXiv 2402.05033: the trained model has K times
the parameters, the model that is used has not, and the mixture costs next to nothing beside the
matrix products. There is no source. What is from the abstract and what is ours: the paper mixes the
kernels of every layer by random probabilities; here "kernel" is a hidden matrix (not embeddings,
head, gains and biases), the probabilities are Dirichlet(1, ..., 1), and the kernels begin as

    W_k = W_0 + spread * std(W_0) * (z_k - mean_j z_j),    z_k standard normal,

so that their mean is the target's own initial weight W_0 and its scale the parametrization's. z is
the same for every seed; W_0 is not. There is no optimizer state to hand on: Adam's moments are of
the kernels.

The gradient of a kernel is p_k times that of W, but Adam divides the mean of p_k by the root of its
mean square and so hardly sees it. Under a constant gradient every kernel, and so their mean, moves
at sqrt((K + 1) / 2K) of the rate, 0.79 for K = 4, and not at 1 / K.
"""

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, any_pair
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import ModelSpec, UserError


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    kernels: int = 4,
    spread: float = 1.0,
) -> Weights:
    """``init``, the mean of the kernels; they are made of it when training begins."""
    if kernels < 1:
        raise UserError(f"kernels must be at least 1, not {kernels}")
    return {name: tensor.clone() for name, tensor in init.items()}


def during(
    small: ModelSpec, big: ModelSpec, steps: int, *, kernels: int = 4, spread: float = 1.0
) -> During:
    """Trains ``kernels`` of every hidden matrix, ``(kernels, out, in)`` under its own name."""
    matrices = {name for name, (_, kind) in parameters(big).items() if kind == "matrix"}

    def lift(start: Weights) -> Weights:
        return {
            name: _kernels(name, tensor, kernels, spread) if name in matrices else tensor
            for name, tensor in start.items()
        }

    def used(trained: Weights, t: int, rng: torch.Generator | None) -> Weights:
        return {
            name: _mixed(tensor, rng) if name in matrices else tensor
            for name, tensor in trained.items()
        }

    return During(lift=lift, used=used)


def _kernels(name: str, start: Tensor, kernels: int, spread: float) -> Tensor:
    rng = generator("kernels", name)
    z = torch.randn(kernels, *start.shape, generator=rng, dtype=torch.float64).to(start)
    return start + spread * start.std(correction=0) * (z - z.mean(0))


def _mixed(kernels_KOI: Tensor, rng: torch.Generator | None) -> Tensor:
    """One matrix ``(O, I)`` of K: at random, or, without ``rng``, the mean."""
    if rng is None:
        return kernels_KOI.mean(0)
    draws_K = torch.empty(len(kernels_KOI), dtype=torch.float64).exponential_(generator=rng)
    p_K = (draws_K / draws_K.sum()).to(kernels_KOI)
    return torch.einsum("k,koi->oi", p_K, kernels_KOI)


METHOD = GrowthMethod(
    name="majority_kernels",
    summary="K kernels mixed at random while training; ends as their mean",
    paper="arXiv 2402.05033",
    axes=("width", "depth"),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    during=during,
    needs_source=False,
)
