"""Inheritune: a smaller model begins as the first blocks of a larger one.

         source   0 1 2 3 4 5
         target   0 1 2

Sanyal et al., arXiv 2404.08634. Token embedding and head come along, tied or not. Learned positions
and the final norm do not: the released script draws them anew, which ``reinitialise=False`` undoes.
Inherited tensors may carry Adam's moments, the others begin at zero; the paper starts afresh, with
the whole schedule. ``part`` inherits of a block its attention or its MLP alone, or ``both`` without
their norms, which is the paper's ablation.

It then repeats: while the target is behind its reference, give it two more of the reference's
blocks and train again. Each round is a run of this method from the same reference, so a study has
them as steps of its ladder, one for each depth, beside the reference trained to its end (from
scratch); the smallest depth that matches is read off their losses. They are no ``stages``, which
are grown one from another, and are planned before any loss is known.

The deep blocks are not missed. Attention in the last layers of the authors' GPT-2 models has
collapsed to rank one, and the inherited half ended at a validation loss of 2.642, where all 48
layers trained from scratch reached 2.657. The reference's own training is not in that comparison.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Moments, Params, any_pair
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.spec import ModelSpec

FRESH = ("positions.weight", "norm.gain", "norm.bias")
PARTS = {  # of a block: what of it is inherited
    "all": (".norm1.", ".attention.", ".norm2.", ".mlp."),
    "attention": (".attention.",),
    "mlp": (".mlp.",),
    "both": (".attention.", ".mlp."),
}


def begins_anew(name: str, reinitialise: bool, part: str) -> bool:
    """Whether a tensor of the target is drawn and not inherited."""
    if name.startswith("blocks."):
        return not any(module in name for module in PARTS[part])
    return reinitialise and name in FRESH


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """All blocks and all ends make the same model."""
    if big.depth < small.depth:
        return "the blocks above the first are left out"
    if params.get("part", "all") != "all":
        return "the rest of each block begins anew"
    return "the final norm begins anew" if params.get("reinitialise", True) else None


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    reinitialise: bool = True,
    part: str = "all",
) -> Weights:
    """The first blocks of the source; ``rng`` is not used."""
    grown = from_blocks(weights, small, big, range(big.spec.depth))
    fresh = {name: init[name].clone() for name in grown if begins_anew(name, reinitialise, part)}
    return grown | fresh


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    reinitialise: bool = True,
    part: str = "all",
) -> Moments:
    """The source's where a tensor is inherited, else zero."""
    grown = moments_from_blocks(moments, small, big, range(big.spec.depth))
    for tensors in grown:
        for name in tensors:
            if begins_anew(name, reinitialise, part):
                tensors[name].zero_()
    return grown


METHOD = GrowthMethod(
    name="inheritune",
    summary="the first blocks of a larger model",
    paper="arXiv 2404.08634",
    axes=("depth",),
    preserves="nothing",
    supports=any_pair,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
    choices={"part": tuple(PARTS)},
    shrinks=True,
)
