"""Net2WiderNet: copies of randomly drawn units, each read at one over the number of its copies.

    g(i) = i for i <= D,  drawn from 1..D with replacement for i > D        (unit i copies g(i))
    W'[i, j] = W[g_out(i), g_in(j)] / #{l : g_in(l) = g_in(j)}

                        in 1    2    3   1'
           out 1   [ w11/2  w12  w13  w11/2 ]        D = 3, D' = 4, g = (1, 2, 3, 1)
               2   [ w21/2  w22  w23  w21/2 ]
               3   [ w31/2  w32  w33  w31/2 ]
               1'  [ w11/2  w12  w13  w11/2 ]        a copy's row; a copy's column, shared out

Chen, Goodfellow and Shlens, arXiv 1511.05641. There are four kinds of units, each with a map of its
own: the residual stream's, heads of queries (with the columns of o), heads of keys and values, and
the MLP's. Heads are drawn whole, and a copy of a head reads a copy of its keys: where a group of
heads reads the same, groups are drawn, and heads within them. Net2DeeperNet's identity is, in a
residual network, a block whose outputs are zero: ``llama_pro``. The paper adds a little noise so
that copies part; here that is the run's own choice (``Start.noise``).

Every method of this folder that copies units is built on ``widen``. Three factors belong to the
model and not to the map. Logits are ``output * head(x)``, so the head carries output_small /
output_big, or, where the head is the embedding, the final norm does together with its shares.
Scores are ``attention / sqrt(S) * q k``, so q carries what makes up for another head size, or,
where queries pass a norm, which would undo it, that norm's gain. Both are
1 under muP, whose multipliers do this already, apart from the shares. And a branch that has another
residual multiplier, as in depth under ``completep``, has its ratio on o or on the MLP's second map.

Adam's moments grow as the gradient does (``widen_moments``). Where the function is preserved, a
copy that is read with share c receives c times its unit's gradient, whatever the weights on its
way in; a tensor that carries a factor receives that divided by the factor. So m' = c m and v' = c^2
v with c the share of the *output* unit, whereas weights are divided by the copies of the *input*.

It preserves nothing in a transformer. Mean and variance of a norm are over units, and weigh a unit
by its copies: random counts change what is normalised. Only the MLP, which no norm looks at, widens
exactly. (``bert2bert`` draws evenly, and at whole ratios is exact.)
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, Params, llama_pro, zero_pad
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.rotary import parts
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role, roles

Units = Mapping[Role, Tensor]
"""For each kind of unit, the source's unit that every unit of the target is a copy of."""


class Scale(NamedTuple):
    """What a tensor is multiplied by, and what its gradient then is; they broadcast to it."""

    weight: Tensor
    gradient: Tensor


def reads(name: str, big: ModelSpec) -> Role | None:
    """The units that a matrix or the readout sums over, its last axis."""
    kind = parameters(big)[name].kind
    return roles(name)[-1] if kind in ("matrix", "readout") else None


def shares(index: Tensor) -> Tensor:
    """One over the number of copies of each copy's unit."""
    return 1 / index.bincount()[index].double()


def widen(weights: Weights, small: Decoder, big: Decoder, units: Units) -> Weights:
    """The target whose units are copies, read so that sums are the source's."""
    share = {role: shares(index) for role, index in units.items()}
    return {
        name: copied(name, weights[name], units)
        * scale(name, small, big, units, share).weight.to(weights[name].dtype)
        for name in parameters(big.spec)
    }


def widen_moments(moments: Moments, small: Decoder, big: Decoder, units: Units) -> Moments:
    """Adam's moments for ``widen``: the gradient's own scale, and its square."""
    m, v = {}, {}
    share = {role: shares(index) for role, index in units.items()}
    for name in parameters(big.spec):
        factor = scale(name, small, big, units, share).gradient
        m[name] = copied(name, moments.m[name], units) * factor.to(moments.m[name].dtype)
        v[name] = copied(name, moments.v[name], units) * factor.square().to(moments.v[name].dtype)
    return Moments(m, v)


def copied(name: str, tensor: Tensor, units: Units) -> Tensor:
    """A parameter with the rows and columns of its units' copies."""
    for axis, role in enumerate(roles(name)):
        if role is not None:
            tensor = tensor.index_select(axis, units[role])
    return tensor


def scale(
    name: str, small: Decoder, big: Decoder, units: Units, share: Mapping[Role, Tensor]
) -> Scale:
    """The two factors of a parameter; see the docstring of this file."""
    kind, one = parameters(big.spec)[name].kind, torch.ones((), dtype=torch.float64)
    if carries_output(name, big.spec):
        output = small.multipliers.output / big.multipliers.output
        return Scale(share["residual"] * output, one / output)
    factor = one * zero_pad.residual_factor(name, small, big)
    if zero_pad.on_scores(name, big.spec):
        factor = _queries(small, big, units["head_rows" if big.spec.qk_norm else "heads"])
    if kind == "matrix":
        into, out_of = roles(name)[0], roles(name)[1]
        assert into is not None
        assert out_of is not None
        factor = factor[:, None] if factor.dim() else factor
        return Scale(factor * share[out_of], share[into][:, None] / factor)
    role = roles(name)[-1]
    assert role is not None
    return Scale(factor, share[role] / factor)


def carries_output(name: str, big: ModelSpec) -> bool:
    """The head makes up for the output's multiplier; a tied one cannot, the final norm does."""
    return name in (("norm.gain", "norm.bias") if big.tied else ("head.weight",))


def score_ratio(small: Decoder, big: Decoder) -> float:
    """The source's factor of ``q k`` over the target's."""
    ours, theirs = (d.multipliers.attention / math.sqrt(d.spec.head_size) for d in (small, big))
    return ours / theirs


def _queries(small: Decoder, big: Decoder, heads: Tensor) -> Tensor:
    """What each row of q, or of its norm's gain, is multiplied by: its share among its copies
    within one head, so that ``q k`` sums up to the source's, and the ratio of what scores are
    multiplied by."""
    by_head = heads.view(-1, big.spec.head_size)
    shared = torch.stack([shares(within) for within in by_head]).flatten()
    return shared * score_ratio(small, big)


def of_heads(
    groups: Tensor, in_group: Tensor, in_head: Tensor, small: ModelSpec
) -> dict[Role, Tensor]:
    """The maps of q's rows ``(H*S,)``, of k's and v's ``(G*S,)`` and of one head's ``(S,)``, from
    those of groups ``(G,)``, of the heads of a group ``(H/G,)`` and of the rows of a head."""
    heads = (groups[:, None] * small.group_size + in_group).flatten()
    return {
        "heads": (heads[:, None] * small.head_size + in_head).flatten(),
        "kv_heads": (groups[:, None] * small.head_size + in_head).flatten(),
        "head_rows": in_head,
    }


def tiled(small: ModelSpec, big: ModelSpec) -> dict[Role, Tensor]:
    """The source's units one after the other, and again from the first: ``0 1 2 0 1 2 0``. Rotary
    positions turn two parts of a head together, so each of its parts is tiled by itself."""
    rows = torch.split(torch.arange(small.head_size), list(parts(small)))
    within = torch.cat(
        [
            old[torch.arange(new) % max(1, len(old))]
            for old, new in zip(rows, parts(big), strict=True)
        ]
    )
    return {
        "residual": torch.arange(big.width) % small.width,
        **of_heads(
            torch.arange(big.groups) % small.groups,
            torch.arange(big.group_size) % small.group_size,
            within,
            small,
        ),
        "mlp": torch.arange(big.mlp_width) % small.mlp_width,
    }


def deeper(small: Decoder, big: Decoder) -> Decoder:
    """The source's width at the target's depth: what is between the two steps of a growth."""
    spec = ModelSpec(**(vars(small.spec) | {"depth": big.spec.depth}))
    return Decoder(spec, small.multipliers)


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Any larger width and depth; larger heads only without rotary positions."""
    return zero_pad.supports(small, big) or same_rotations(small, big)


def same_rotations(small: ModelSpec, big: ModelSpec) -> str | None:
    """The reason why a rotary model's heads cannot be copied into larger ones."""
    if small.positions == "rope" and small.head_size != big.head_size:
        return (
            "rotary frequencies depend on the head size: head_size must stay "
            f"{small.head_size}, not {big.head_size}"
        )
    return None


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Norms do, as soon as what they average over grows."""
    if small.width != big.width:
        return "units are copied unevenly often, and norms average over copies"
    if small.qk_norm and small.head_size != big.head_size:
        return "rows of a head are copied unevenly often, and its norm averages over copies"
    return None


def uneven_heads(small: ModelSpec, big: ModelSpec) -> str | None:
    """The reason why rows of a head cannot be copied where queries and keys pass a norm."""
    if small.qk_norm and big.head_size % small.head_size:
        near = max(1, round(big.head_size / small.head_size)) * small.head_size
        return (
            "the norm of queries and keys averages over uneven copies: head_size "
            f"{big.head_size} is not a multiple of {small.head_size}; the nearest that is: {near}"
        )
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """Deeper, then wider; ``init`` is not used."""
    middle = deeper(small, big)
    deep = llama_pro.grow(weights, small, middle, init, rng)
    return widen(deep, middle, big, _units(small.spec, big.spec, rng))


def grow_moments(moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator) -> Moments:
    """Zero in new blocks, and a copy's times its share."""
    middle = deeper(small, big)
    deep = llama_pro.grow_moments(moments, small, middle, rng)
    return widen_moments(deep, middle, big, _units(small.spec, big.spec, rng))


def _units(small: ModelSpec, big: ModelSpec, rng: torch.Generator) -> Units:
    def draw(old: int, new: int) -> Tensor:
        return torch.cat([torch.arange(old), torch.randint(old, (new - old,), generator=rng)])

    groups = draw(small.groups, big.groups)
    return {
        "residual": draw(small.width, big.width),
        **of_heads(
            groups,
            draw(small.group_size, big.group_size),
            draw(small.head_size, big.head_size),
            small,
        ),
        "mlp": draw(small.mlp_width, big.mlp_width),
    }


METHOD = GrowthMethod(
    name="net2net",
    summary="copies of randomly drawn units, each read at its share",
    paper="arXiv 1511.05641",
    axes=("width", "depth"),
    preserves="the logits, while no norm is widened",
    supports=supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
)
