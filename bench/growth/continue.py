"""Continue: the same shape, every weight and moment copied bit for bit.

The operator of cool-down branches and longer horizons (Hägele et al., arXiv 2405.18392) and of
continued pre-training. With the optimizer's state carried and the schedule taken up where the
source stood, the run is its source's own, resumed: the curve is the same to the last bit.

The fresh optimizer alone makes it another run. Adam without moments takes first steps of full size
in every coordinate, whatever its gradient.

A Python module of this name cannot be imported by a statement; ``method("continue")`` finds it.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Moments, any_pair, exact
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The source; neither ``init`` nor ``rng`` is used."""
    return from_blocks(weights, small, big, range(big.spec.depth))


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """The source's."""
    return moments_from_blocks(moments, small, big, range(big.spec.depth))


METHOD = GrowthMethod(
    name="continue",
    summary="the same shape, copied",
    paper="arXiv 2405.18392",
    axes=(),
    preserves="the logits, exactly",
    supports=any_pair,
    grow=grow,
    breaks=exact,
    grow_moments=grow_moments,
    equivalent=True,
)
