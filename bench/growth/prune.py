"""Train large, then compress: layers dropped, small weights set to zero for good.

    keep="spread"   0 1 2 3 4 5  ->  0 2 4      every other block, or as near as can be
    keep="first"    0 1 2 3 4 5  ->  0 1 2      the top is dropped
    keep="ends"     0 1 2 3 4 5  ->  0 1 5      the middle is dropped

and in every hidden matrix the share ``sparsity`` of the entries with the smallest magnitude is
zero, in the start and ever after:

    W_used = W * [W != 0]

Li et al., arXiv 2002.11794, who found that at a given cost of inference the larger model, trained
for less and compressed more, is the better one; their compressions are quantisation and iterative
magnitude pruning. Pruning at once, matrix by matrix, is our simplification; the ways to drop layers
are those of Sajjad et al., arXiv 2004.03844. The optimizer's state is not carried: old momentum
would move the zeros.

The mask needs no storage. A zero has no gradient through ``W * [W != 0]``, and from fresh moments
AdamW leaves what is zero and has no gradient at zero, to the bit.
"""

from functools import partial

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, Params, any_pair
from mugrow.bench.growth.stack import from_blocks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec, UserError

KEEP = ("spread", "first", "ends")


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Nothing dropped is nothing changed."""
    if big.depth < small.depth:
        return "blocks are dropped"
    return "small weights are set to zero" if params.get("sparsity", 0.0) else None


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    keep: str = "spread",
    sparsity: float = 0.0,
) -> Weights:
    """The pruned source; neither ``init`` nor ``rng`` is used."""
    if not 0 <= sparsity < 1:
        raise UserError(
            f"sparsity is a share of the weights, at least 0 and below 1, not {sparsity}"
        )
    pruned = from_blocks(weights, small, big, kept(small.spec.depth, big.spec.depth, keep))
    for name, (_, kind) in parameters(big.spec).items():
        if kind == "matrix":
            _clear_smallest(pruned[name], sparsity)
    return pruned


def kept(depth: int, target: int, keep: str) -> list[int]:
    """Which of ``depth`` blocks stay, ``target`` of them."""
    if keep == "spread":
        return [i * depth // target for i in range(target)]
    top = target // 2 if keep == "ends" else 0
    return [*range(target - top), *range(depth - top, depth)]


def _clear_smallest(matrix: Tensor, sparsity: float) -> None:
    flat = matrix.view(-1)
    flat[flat.abs().argsort(stable=True)[: round(sparsity * len(flat))]] = 0.0


def during(
    small: ModelSpec, big: ModelSpec, steps: int, *, keep: str = "spread", sparsity: float = 0.0
) -> During:
    """Keeps zeros zero, if there are any."""
    return During(used=partial(_masked, big)) if sparsity else During()


def _masked(model: ModelSpec, trained: Weights, t: int, rng: torch.Generator | None) -> Weights:
    return {
        name: tensor * (tensor != 0) if parameters(model)[name].kind == "matrix" else tensor
        for name, tensor in trained.items()
    }


METHOD = GrowthMethod(
    name="prune",
    summary="layers dropped, small weights zeroed for good",
    paper="arXiv 2002.11794",
    axes=("depth",),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    choices={"keep": KEEP},
    breaks=breaks,
    during=during,
    shrinks=True,
)
