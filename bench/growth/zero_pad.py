"""Zero-padding in width: each source tensor in the top-left corner of the target's.

    embedding        matrix          gain         bias
    [ E | 0 ]        [ W | 0 ]       [ g | 1 ]    [ b | 0 ]
                     [ 0 | 0 ]

This is the padding of SZP (arXiv 2411.07340, 2605.13405) alone. q, k and v are separate tensors
whose rows are ordered by head, and "top-left" holds inside every head: head h of the source goes to
the first rows of head h of the target, and the columns of o follow. Without that alignment a
larger head size would put one head's rows into another's. Rotary positions turn row i together with
row i + S/2 of a head of size S, so with them each half of a head is padded: pairs stay pairs.

The surprising fact: the function is *not* preserved, although every old unit computes from old
units alone. A norm averages over the new zeros too, so what it normalises is larger by about
sqrt(D'/D); on random weights the logits are wrong by some 40 %. Under muP the readout's forward 1/m
shrinks them once more. And a new head or MLP unit, zero on its way in and out, gets no gradient,
ever: without a perturbation it stays dead.
"""

import torch
from torch import Tensor

from bench.growth import GrowthMethod
from bench.model import Decoder, Weights, parameters
from bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Nothing that is padded may shrink."""
    for name in ("heads", "head_size", "mlp_width"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if theirs < ours:
            return f"{name} would shrink from {ours} to {theirs}"
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The padded source; neither ``init`` nor ``rng`` is used."""
    return {
        name: pad(name, weights[name], small.spec, big.spec, fill=float(kind == "gain"))
        for name, (_, kind) in parameters(big.spec).items()
    }


def pad(name: str, source: Tensor, small: ModelSpec, big: ModelSpec, fill: float) -> Tensor:
    """Parameter ``name`` of ``small`` in the top-left corner of ``big``'s, the rest ``fill``."""
    target = source.new_full(_by_head(big, name), fill)
    target[tuple(slice(size) for size in _by_head(small, name))] = source.reshape(
        _by_head(small, name)
    )
    return target.view(parameters(big)[name].shape)


def _by_head(spec: ModelSpec, name: str) -> tuple[int, ...]:
    """The shape of a parameter, its axis over heads (if any) as (heads, halves, half a head)."""
    shape = parameters(spec)[name].shape
    halves = 2 if spec.positions == "rope" else 1
    heads = (spec.heads, halves, spec.head_size // halves)
    if ".attention.o.weight" in name:
        return (shape[0], *heads)
    if ".attention." in name and ".o." not in name:
        return (*heads, *shape[1:])
    return shape


METHOD = GrowthMethod(
    name="zero_pad",
    summary="the source in the top-left corner, zeros elsewhere",
    paper="arXiv 2411.07340",
    axes=("width",),
    preserves="nothing: norms average over the new zeros",
    supports=supports,
    grow=grow,
)
