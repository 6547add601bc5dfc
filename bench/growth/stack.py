"""Stacking in depth: the list of blocks repeated g times, everything else copied.

    target block i = source block (i mod L),    L' = g L

G_stack of Du et al., arXiv 2405.15319, who found it ahead of repeating each block in place (0 0 1 1
2 2 instead of 0 1 2 0 1 2) and of growth in width.

The surprising fact: it beat function-preserving operators without preserving anything. The first
block's second copy reads what it never saw in training, the last block's output.
"""

import torch

from bench.growth import GrowthMethod
from bench.model import Decoder, Weights, parameters
from bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """The whole list of blocks only."""
    if big.depth % small.depth:
        near = max(1, round(big.depth / small.depth)) * small.depth
        return f"depth {big.depth} is not a multiple of {small.depth}; the nearest that is: {near}"
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The stacked source; neither ``init`` nor ``rng`` is used."""
    return {name: weights[_source(name, small.spec.depth)].clone() for name in parameters(big.spec)}


def _source(name: str, depth: int) -> str:
    """``blocks.5.norm1.gain`` comes from ``blocks.1.norm1.gain`` in a source of depth 2."""
    if not name.startswith("blocks."):
        return name
    _, block, rest = name.split(".", maxsplit=2)
    return f"blocks.{int(block) % depth}.{rest}"


METHOD = GrowthMethod(
    name="stack",
    summary="the list of blocks repeated",
    paper="arXiv 2405.15319",
    axes=("depth",),
    preserves="nothing",
    supports=supports,
    grow=grow,
)
