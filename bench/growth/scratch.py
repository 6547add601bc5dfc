"""Scratch: no growth, the target's own initial weights. The baseline of every comparison."""

import torch

from bench.growth import GrowthMethod
from bench.model import Decoder, Weights
from bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    return None


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
    supports=supports,
    grow=grow,
    needs_source=False,
)
