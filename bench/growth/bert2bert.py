"""bert2BERT: copied units that preserve the function (FPI), or take after the layer above (AKI).

    mode="fpi"   U_l  = W_l[:, g_in] / count          columns first, each at its share
                 W'_l = U_l[g_out]                    then rows
    mode="aki"   W'_l = [ U_l     ]  old units: rows of this layer
                        [ U_{l+1} ]  new units: rows of the layer above (of its own, at the top)

Chen et al., arXiv 2110.07143. g keeps every unit and draws the new ones; here without replacement
until all have been drawn, so that numbers of copies differ by one at most and at whole ratios not
at all (the paper says "uniformly sampled"). Heads are drawn whole. Norms and biases in the blocks
follow the rule of their rows, embeddings and the final norm that of FPI. In depth the widened
blocks are stacked, 0 1 2 0 1 2.

FPI, function-preserving initialization, preserves the logits where ratios are whole: then norms
average over equally many copies of all units. AKI, advanced knowledge initialization, gives that up
so that copies differ from the start.

AKI, which preserves nothing, trained faster than FPI in the paper. What it breaks is what locks
FPI: the copies' equal gradients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, Params, zero_pad
from mugrow.bench.growth.net2net import (
    Units,
    of_heads,
    supports,
    uneven_heads,
    widen,
    widen_moments,
)
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role

MODES = ("fpi", "aki")


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Depth, AKI, and widths that are no multiples."""
    if small.depth != big.depth:
        return "copied blocks act on the residual stream again"
    wider = (small.width, small.mlp_width) != (big.width, big.mlp_width)
    if params["mode"] == "aki" and wider and small.depth > 1:
        return "new units are copied from the layer above"
    if big.width % small.width:
        return (
            f"width {big.width} is no multiple of {small.width}: norms average over uneven copies"
        )
    return uneven_heads(small, big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    mode: str = "fpi",
) -> Weights:
    """Wider, then deeper; ``init`` is not used."""
    wide, units = _wider(small, big), draw(small.spec, big.spec, rng)
    grown = widen(weights, small, wide, units)
    if mode == "aki":
        above = from_blocks(weights, small, small, _above(small.spec))
        grown = _new_units_from(widen(above, small, wide, units), grown, small.spec, wide.spec)
    return from_blocks(grown, wide, big, _stacked(small, big))


def grow_moments(
    moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator, *, mode: str = "fpi"
) -> Moments:
    """As the weights, by the gradients' own scales."""
    wide, units = _wider(small, big), draw(small.spec, big.spec, rng)
    grown = widen_moments(moments, small, wide, units)
    if mode == "aki":
        above = moments_from_blocks(moments, small, small, _above(small.spec))
        both = zip(widen_moments(above, small, wide, units), grown, strict=True)
        grown = Moments(*(_new_units_from(a, layer, small.spec, wide.spec) for a, layer in both))
    return moments_from_blocks(grown, wide, big, _stacked(small, big))


def _new_units_from(above: Weights, layer: Weights, small: ModelSpec, wide: ModelSpec) -> Weights:
    """In the blocks, the rows of new units replaced by those of the layer above."""
    mixed = dict(layer)
    for name, (shape, _) in parameters(small).items():
        if name.startswith("blocks."):
            rows = zero_pad.pad(name, torch.ones(shape), small, wide, fill=0.0)
            old = rows.flatten(1).any(1) if rows.dim() > 1 else rows.bool()
            mixed[name] = torch.where(
                old.view(-1, *[1] * (rows.dim() - 1)), layer[name], above[name]
            )
    return mixed


def _above(small: ModelSpec) -> Sequence[int]:
    return [*range(1, small.depth), small.depth - 1]


def _stacked(small: Decoder, big: Decoder) -> Sequence[int]:
    return [block % small.spec.depth for block in range(big.spec.depth)]


def _wider(small: Decoder, big: Decoder) -> Decoder:
    spec = ModelSpec(**(vars(big.spec) | {"depth": small.spec.depth}))
    return Decoder(spec, big.multipliers)


def draw(small: ModelSpec, big: ModelSpec, rng: torch.Generator) -> Units:
    """Every unit once, then again in a random order, and so on until the target is full."""

    def evenly(old: int, new: int) -> Tensor:
        rounds = [torch.randperm(old, generator=rng) for _ in range(-(-new // old) - 1)]
        return torch.cat([torch.arange(old), *rounds])[:new]

    groups = evenly(small.groups, big.groups)
    units: dict[Role, Tensor] = {
        "residual": evenly(small.width, big.width),
        **of_heads(
            groups,
            evenly(small.group_size, big.group_size),
            evenly(small.head_size, big.head_size),
            small,
        ),
        "mlp": evenly(small.mlp_width, big.mlp_width),
    }
    return units


METHOD = GrowthMethod(
    name="bert2bert",
    summary="copied units, or with mode=aki copies of the layer above",
    paper="arXiv 2110.07143",
    axes=("width", "depth"),
    preserves="the logits, at whole width ratios and without mode=aki",
    supports=supports,
    grow=grow,
    choices={"mode": MODES},
    breaks=breaks,
    grow_moments=grow_moments,
)
