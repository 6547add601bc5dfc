"""Staged training: block-diagonal in width, identity or copied layers in depth, moments with them.

    embedding, biases, norms    hidden matrix    Adam's m           final norm (tied)  head (untied)
    [ E | E ]                   [ W | 0 ]        1/2 [ m | 0 ]      1/2 [ g | g ]      1/2 [ H | H ]
                                [ 0 | W ]            [ 0 | m ]

    layers="identity"   0 0* 1 1* 2 2*     * norms and biases zero: x + f(0) = x
    layers="copy"       0 0  1 1  2 2

Shen et al., arXiv 2203.06211. Two narrow models side by side compute the same residual stream
twice, so the norms pass it on and the readout averages; v is divided by 4. The moments are those of
the gradient on the diagonal; outside it the authors start them at zero, although the gradient is
the same there. A grown model is to have the loss *and the slope* of one trained from scratch at
that loss, so the paper takes up the large model's schedule at the step where that stood (the run's
schedule, not the operator's). The paper's identity layer zeroes the norms; that its linear biases
must be zero too, or it adds a constant, is ours. New layers come after each old one (the released
``alternate``), evenly where the depth is no multiple; an identity layer's moments start at zero.

An identity layer of this kind cannot have a SwiGLU MLP. Gate and up-projection are both zero behind
a zero norm, the product has no gradient in either, and the MLP stays dead for good. So does one
with ReLU, whose units are all at the kink, where it passes nothing on. ``llama_pro`` zeroes the
outputs instead. The gains of a norm of queries and keys stay as they are: both zero, they would be
dead too.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Moments, Params, hypercloning, llama_pro
from mugrow.bench.growth.net2net import deeper, tiled, widen, widen_moments
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import roles

LAYERS = ("identity", "copy")


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Copied layers do."""
    if small.depth != big.depth and params["layers"] == "copy":
        return "copied layers act on the residual stream again"
    return None


def dead(small: ModelSpec, big: ModelSpec, params: Params) -> frozenset[str]:
    """A SwiGLU or ReLU MLP behind a zero norm."""
    if params["layers"] != "identity" or big.mlp not in ("swiglu", "relu"):
        return frozenset()
    _, new = llama_pro.order(small, big)
    inside = ("norm2.", "mlp.gate.", "mlp.up.", "mlp.down.weight")
    return frozenset(
        name
        for name in parameters(big)
        if _block(name) in new and name.split(".", 2)[2].startswith(inside)
    )


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    layers: str = "identity",
) -> Weights:
    """Deeper, then wider; neither ``init`` nor ``rng`` is used."""
    order, new = llama_pro.order(small.spec, big.spec)
    middle, units = deeper(small, big), tiled(small.spec, big.spec)
    deep = from_blocks(weights, small, middle, order)
    for name, (_, kind) in parameters(middle.spec).items():
        of_head = roles(name) == ("head_rows",)  # q and k behind zero gains would be dead
        if layers == "identity" and _block(name) in new and kind in ("gain", "bias"):
            deep[name] *= float(of_head)
    grown, copies = widen(deep, middle, big, units), hypercloning.copy_numbers(units)
    for name, (_, kind) in parameters(big.spec).items():
        if kind == "matrix":
            grown[name] *= hypercloning.diagonal(name, copies, grown[name])
    return grown


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    layers: str = "identity",
) -> Moments:
    """Those of the gradient on the diagonal, zero outside it and in identity layers."""
    order, new = llama_pro.order(small.spec, big.spec)
    middle, units = deeper(small, big), tiled(small.spec, big.spec)
    grown = widen_moments(moments_from_blocks(moments, small, middle, order), middle, big, units)
    copies = hypercloning.copy_numbers(units)
    for tensors in grown:
        for name, (_, kind) in parameters(big.spec).items():
            if kind == "matrix":
                tensors[name] *= hypercloning.diagonal(name, copies, tensors[name]) > 0
            if layers == "identity" and _block(name) in new:
                tensors[name].zero_()
    return grown


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


METHOD = GrowthMethod(
    name="staged",
    summary="block-diagonal in width, identity layers in depth, moments with them",
    paper="arXiv 2203.06211",
    axes=("width", "depth"),
    preserves="the logits, exactly, unless layers are copied",
    supports=hypercloning.supports,
    grow=grow,
    choices={"layers": LAYERS},
    breaks=breaks,
    dead=dead,
    grow_moments=grow_moments,
)
