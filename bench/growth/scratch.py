"""Scratch: no growth, the target's own initial weights. The baseline of every comparison."""

import torch

from mugrow.bench.growth import GrowthMethod, any_pair
from mugrow.bench.model import Decoder, Weights


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """``init``; the source is not read."""
    return dict(init)


METHOD = GrowthMethod(
    name="scratch",
    summary="random initial weights; the baseline",
    paper="-",
    axes=("width", "depth"),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    needs_source=False,
)
