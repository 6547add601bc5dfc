"""Gradual stacking: the depth grows in several stages, by a few copied blocks at a time.

A stage copies ``block`` neighbouring layers and inserts the copy right after them:

    where="middle"    0 1 2 3 | 2 3 | 4 5    block 2 of 3, the middle one, again      (MIDAS)
    where="centre"    0 1 2 3 4 | 3 4 | ...  the layers about the middle, wherever
                                             a block begins                           (LIDAS)
    where="last"      0 1 2 3 4 5 | 4 5      the last layers                          (gradual)

MIDAS is Saunshi et al., arXiv 2409.19044: of n = L / block blocks, number ceil(n / 2) is doubled.
LIDAS is Kapl et al., arXiv 2512.08819; that its layers begin at floor((L - block) / 2) is our
reading of its abstract. The two are the same whenever n is odd. The last layers were copied before
by Gong et al. (ICML 2019) and Reddi et al. Each stage is trained before the next (``stages``);
``grow`` from a source straight to the last shape makes all insertions at once. Adam's moments of a
copied layer are copied with it.

A model grown in the middle was better at reasoning than one trained at full depth with the same
perplexity (arXiv 2409.19044). Its middle is a block that was looped.
"""

from dataclasses import replace

import torch

from mugrow.bench.growth import GrowthMethod, Moments, Params, any_pair
from mugrow.bench.growth.stack import breaks, from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.spec import ModelSpec, UserError

WHERE = ("middle", "centre", "last")


def order(small: ModelSpec, big: ModelSpec, block: int = 1, where: str = "middle") -> list[int]:
    """The source's layers in their order in the target, of length ``big.depth``.

    Raises ``UserError`` where the target's depth cannot be reached, or the source has no such
    blocks.
    """
    if not 1 <= block <= small.depth:
        raise UserError(
            f"block must be between 1 and the source's depth {small.depth}, not {block}"
        )
    if (big.depth - small.depth) % block or (where == "middle" and small.depth % block):
        raise UserError(
            f"depth {small.depth} cannot grow to {big.depth} in blocks of {block} layers; "
            f"block=1 always can"
        )
    layers = list(range(small.depth))
    while len(layers) < big.depth:
        first = _first(len(layers), block, where)
        layers[first + block : first + block] = layers[first : first + block]
    return layers


def _first(depth: int, block: int, where: str) -> int:
    """The first of the layers that are copied."""
    if where == "middle":
        return (depth // block - 1) // 2 * block
    return (depth - block) // 2 if where == "centre" else depth - block


def stages(small: ModelSpec, big: ModelSpec, params: Params) -> tuple[ModelSpec, ...]:
    """A shape for every insertion."""
    block = int(params.get("block", 1))
    order(small, big, block, str(params.get("where", "middle")))  # raises what cannot be done
    depths = range(small.depth + block, big.depth, block)
    return (*(replace(big, depth=depth) for depth in depths), big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    block: int = 1,
    where: str = "middle",
) -> Weights:
    """The source with layers inserted; neither ``init`` nor ``rng`` is used."""
    return from_blocks(weights, small, big, order(small.spec, big.spec, block, where))


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    block: int = 1,
    where: str = "middle",
) -> Moments:
    """A copied layer's are copied with it."""
    return moments_from_blocks(moments, small, big, order(small.spec, big.spec, block, where))


METHOD = GrowthMethod(
    name="gradual_stack",
    summary="middle blocks doubled, in several stages",
    paper="arXiv 2409.19044",
    axes=("depth",),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    choices={"where": WHERE},
    breaks=breaks,
    grow_moments=grow_moments,
    stages=stages,
)
