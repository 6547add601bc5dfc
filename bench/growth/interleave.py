"""Interleaving in depth: every block repeated in place.

    target block i = source block floor(i L / L')

         source   0 1 2
         target   0 0 1 1 2 2          L' = 2 L
         target   0 0 1 2              L' = 4

Called interpolation by Chang et al. (arXiv 1710.10348, residual networks) and by Du et al. (arXiv
2405.15319), "alternate copy" in Staged Training (arXiv 2203.06211). Any depth above the source's
will do; where it is no multiple, the earlier copies are the ones that are spread evenly. Adam's
moments of a copied block are copied with it.

Neighbours in a residual network are alike, so a block that follows its own copy finds an input much
like the one it was trained on; one would expect it to be ahead of ``stack``, where the input is
another's. In language models it was behind (arXiv 2405.15319).
"""

import torch

from mugrow.bench.growth import GrowthMethod, Moments, any_pair
from mugrow.bench.growth.stack import breaks, from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The source with its blocks repeated; neither ``init`` nor ``rng`` is used."""
    return from_blocks(weights, small, big, _order(small, big))


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """A copied block's are copied with it."""
    return moments_from_blocks(moments, small, big, _order(small, big))


def _order(small: Decoder, big: Decoder) -> list[int]:
    return [i * small.spec.depth // big.spec.depth for i in range(big.spec.depth)]


METHOD = GrowthMethod(
    name="interleave",
    summary="every block repeated in place",
    paper="arXiv 2405.15319",
    axes=("depth",),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
)
