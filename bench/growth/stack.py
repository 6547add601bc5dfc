"""Stacking in depth: the list of blocks repeated g times, everything else copied.

    target block i = source block (i mod L),    L' = g L

         source   0 1 2
         target   0 1 2 0 1 2

G_stack of Du et al., arXiv 2405.15319, who found it ahead of repeating each block in place
(``interleave``) and of growth in width. Adam's moments of a copied block are copied with it.

It beat function-preserving operators without preserving anything. The first block's second copy
reads what it never saw in training, the last block's output.

Every method of this folder that lists blocks is built on ``from_blocks``. Where source and target
have other forward multipliers, ``forward_factor`` makes up for the difference, so a copied block
adds to the stream what it did: so it is also under ``completep``, whose branches weigh less in a
deeper model (in g copies of a block there is g times its weight, as under muP, and not the same).
"""

from collections.abc import Sequence

import torch

from mugrow.bench.growth import GrowthMethod, Moments, Params
from mugrow.bench.growth.zero_pad import forward_factor
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """The whole list of blocks only."""
    if big.depth % small.depth:
        near = max(1, round(big.depth / small.depth)) * small.depth
        return f"depth {big.depth} is not a multiple of {small.depth}; the nearest that is: {near}"
    return None


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Only without growth are the logits the source's."""
    return None if small.depth == big.depth else "copied blocks act on the residual stream again"


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The stacked source; neither ``init`` nor ``rng`` is used."""
    return from_blocks(weights, small, big, _order(small, big))


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """A copied block's are copied with it."""
    return moments_from_blocks(moments, small, big, _order(small, big))


def _order(small: Decoder, big: Decoder) -> list[int]:
    return [block % small.spec.depth for block in range(big.spec.depth)]


def from_blocks(weights: Weights, small: Decoder, big: Decoder, order: Sequence[int]) -> Weights:
    """The target whose block ``i`` is the source's block ``order[i]``; the rest is copied."""
    return {
        name: weights[source(name, order)] * forward_factor(name, small, big, ".attention.q.")
        for name in parameters(big.spec)
    }


def moments_from_blocks(
    moments: Moments, small: Decoder, big: Decoder, order: Sequence[int]
) -> Moments:
    """Adam's moments for ``from_blocks``. A weight that is multiplied by c, its function the same,
    has its gradient divided by c: the first moment is divided by c, the second by its square."""
    first, second = (
        {
            name: tensors[source(name, order)]
            / forward_factor(name, small, big, ".attention.q.") ** power
            for name in parameters(big.spec)
        }
        for power, tensors in enumerate(moments, start=1)
    )
    return Moments(first, second)


def source(name: str, order: Sequence[int]) -> str:
    """``blocks.5.norm1.gain`` comes from ``blocks.1.norm1.gain`` where ``order[5]`` is 1."""
    if not name.startswith("blocks."):
        return name
    _, block, rest = name.split(".", maxsplit=2)
    return f"blocks.{order[int(block)]}.{rest}"


METHOD = GrowthMethod(
    name="stack",
    summary="the list of blocks repeated",
    paper="arXiv 2405.15319",
    axes=("depth",),
    preserves="nothing",
    supports=supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
)
