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

Nothing here is dead, and nothing is a copy. Where of two factors only one is zero, it receives a
gradient at the first step and the other at the second; and random rows have no symmetry to break.
"""

import math

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, Params, llama_pro, zero_pad
from mugrow.bench.growth.net2net import Role, roles
from mugrow.bench.growth.stack import source
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """A mean that cannot be centred, and rotary heads of no whole ratio."""
    if small.width != big.width and (reason := zero_pad.tied_mean(small)):
        return reason
    if small.positions == "rope" and big.head_size % small.head_size:
        return f"no pair of a rotary head of {big.head_size} turns like those of {small.head_size}"
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """``init`` with zeros where they must be, and the source in its place; ``rng`` is not used."""
    order, new = llama_pro.order(small.spec, big.spec)
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
        _place(name, tensor, old * _factor(name, small, big), small.spec, big.spec)
    return grown


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """The old tensors' in their place, divided by what multiplies those; zero for all that is new.
    The paper has no rule."""
    order, new = llama_pro.order(small.spec, big.spec)
    grown: tuple[Weights, Weights] = ({}, {})
    for name, (shape, _) in parameters(big.spec).items():
        c = _factor(name, small, big)
        for power, (tensors, part) in enumerate(zip(grown, moments, strict=True), start=1):
            old = part[source(name, order)]
            tensors[name] = old.new_zeros(shape)
            if _block(name) not in new:
                _place(name, tensors[name], old / c**power, small.spec, big.spec)
    return Moments(*grown)


def _factor(name: str, small: Decoder, big: Decoder) -> float:
    s = math.sqrt(big.spec.width / small.spec.width)
    forward = zero_pad.forward_factor(name, small, big, ".attention.k.")
    return forward * zero_pad.stream_factor(name, big.spec, s)


def _place(name: str, target: Tensor, old: Tensor, small: ModelSpec, big: ModelSpec) -> None:
    """Write a source's tensor into the rows and columns of the units it has."""
    where = tuple(
        torch.arange(size) if role is None else _units(role, small, big)
        for role, size in zip(roles(name), old.shape, strict=True)
    )
    target[torch.meshgrid(*where, indexing="ij")] = old


def _units(role: Role, small: ModelSpec, big: ModelSpec) -> Tensor:
    """Where the source's units are in the target."""
    if role in ("heads", "kv_heads"):
        kept = zero_pad.kept_heads(small, big) if role == "heads" else torch.arange(small.groups)
        return (kept[:, None] * big.head_size + _within(small, big)).flatten()
    return torch.arange(small.width if role == "residual" else small.mlp_width)


def _within(small: ModelSpec, big: ModelSpec) -> Tensor:
    """Where a head's rows are in a larger head."""
    if small.positions != "rope":
        return torch.arange(small.head_size)
    step = big.head_size // small.head_size
    first = torch.arange(small.head_size // 2) * step
    return torch.cat([first, first + big.head_size // 2])


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


METHOD = GrowthMethod(
    name="composable",
    summary="random new units behind the fewest zeros, in width, heads, MLP and depth",
    paper="arXiv 2308.06103",
    axes=("width", "depth"),
    preserves="the logits, exactly, unless a tied embedding is behind LayerNorm",
    supports=zero_pad.supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
)
