"""Composable expansions: six ways to grow, each exact, with as few zeros as that takes.

    what grows            free (the target's own init)     zero
    MLP units             rows of W_up (and W_gate)        columns of W_down
    heads                 rows of W_q, W_k, W_v            columns of W_o
    a head's values       rows of W_v                      columns of W_o
    a head's queries      rows of W_q                      rows of W_k; old ones times sqrt(S'/S)
    the residual stream   columns of all that reads it     rows of all that writes it, and columns
                                                           of the embeddings; gains times sqrt(D/D')
    layers                all but                          W_o and W_down, and their biases

Gesmundo and Maile, arXiv 2308.06103, for RMSNorm; here also for LayerNorm. All six compose in any
order, so one pass does them all. The paper's rule for gains leaves the norm's eps, which weighs
more in a stream with zeros; here the stream is multiplied too and, under LayerNorm, centred (see
``zero_pad``, ``norms="stream"``). Rotary positions turn row i of a head by the frequency
theta^(-2i/S): a source's pair i goes to pair r i of a head r times as large, which has the same.
Where queries pass a norm their new rows cannot be free, since it averages over them, and behind
zeros in both q and k they would be dead: larger heads are then refused.

Nothing here is dead, and nothing is a copy. Where of two factors only one is zero, it receives a
gradient at the first step and the other at the second; and random rows have no symmetry to break.
"""

import math

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, Params, llama_pro, zero_pad
from mugrow.bench.growth.stack import source
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Nothing may shrink, and heads behind a norm stay as large."""
    if small.qk_norm and small.head_size != big.head_size:
        return (
            "the norm of queries and keys averages over a head's new rows: head_size must stay "
            f"{small.head_size}, not {big.head_size}"
        )
    return zero_pad.supports(small, big)


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """A mean that cannot be centred, and rotary heads of no whole ratio."""
    if small.width != big.width and (reason := zero_pad.tied_mean(small)):
        return reason
    if small.rotary_size and big.rotary_size % small.rotary_size:
        return f"no pair of a rotary head of {big.head_size} turns like those of {small.head_size}"
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """``init`` with zeros where they must be, and the source in its place; ``rng`` is not used."""
    order, new = llama_pro.order(small.spec, big.spec)
    within = same_frequencies(small.spec, big.spec)
    grown = {name: init[name].clone() for name in parameters(big.spec)}
    for name, tensor in grown.items():
        if zero_pad.writes(name):
            tensor.zero_()
        if _block(name) in new:
            continue
        if ".attention.k." in name:
            tensor[: small.spec.groups * big.spec.head_size] = 0.0  # the old heads' new rows
        old = weights[source(name, order)]
        if small.spec.width != big.spec.width:
            old = zero_pad.centred(name, old, big.spec)
        old = old * _factor(name, small, big)
        zero_pad.place(name, old, tensor, small.spec, big.spec, within)
    return grown


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """The old tensors' in their place, divided by what multiplies those; zero for all that is new.
    The paper has no rule."""
    order, new = llama_pro.order(small.spec, big.spec)
    within = same_frequencies(small.spec, big.spec)
    grown: tuple[Weights, Weights] = ({}, {})
    for name, (shape, _) in parameters(big.spec).items():
        c = _factor(name, small, big)
        for power, (tensors, part) in enumerate(zip(grown, moments, strict=True), start=1):
            old = part[source(name, order)]
            tensors[name] = old.new_zeros(shape)
            if _block(name) not in new:
                old = old / c**power
                zero_pad.place(name, old, tensors[name], small.spec, big.spec, within)
    return Moments(*grown)


def _factor(name: str, small: Decoder, big: Decoder) -> float:
    s = math.sqrt(big.spec.width / small.spec.width)
    forward = zero_pad.forward_factor(name, small, big, ".attention.k.")
    return forward * zero_pad.stream_factor(name, big.spec, s)


def same_frequencies(small: ModelSpec, big: ModelSpec) -> Tensor:
    """Where each row of a head is in a larger head ``(S,)``, so that every rotary pair turns as it
    did: from size 16 to 32 pairs 0, 1, 7 are pairs 0, 2, 14. Other rows keep their order."""
    old, new = small.rotary_size, big.rotary_size
    first = torch.arange(old // 2) * (new // old if old else 1)
    rest = new + torch.arange(small.head_size - old)
    return torch.cat([first, first + new // 2, rest])


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


METHOD = GrowthMethod(
    name="composable",
    summary="random new units behind the fewest zeros, in width, heads, MLP and depth",
    paper="arXiv 2308.06103",
    axes=("width", "depth"),
    preserves="the logits, exactly, unless a tied embedding is behind LayerNorm",
    supports=supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
)
