"""Zero-padding in width: each source tensor in the top-left corner of the target's.

    embedding        matrix          gain         bias
    [ E | 0 ]        [ W | 0 ]       [ g | 1 ]    [ b | 0 ]
                     [ 0 | 0 ]

This is the padding of SZP (arXiv 2411.07340, 2605.13405) alone. q, k and v are separate tensors
whose rows are ordered by head, and "top-left" holds inside every head: head h of the source goes to
the first rows of head h of the target, and the columns of o follow (where keys and values are
grouped, head h of a group to head h of that group). Without that alignment a
larger head size would put one head's rows into another's. Rotary positions turn row i together with
row i + S/2 of a head of size S, so with them each half of a head is padded: pairs stay pairs, each
at another frequency than before.

With ``norms="plain"`` the function is *not* preserved, although every old unit computes from old
units alone. A norm averages over the new zeros too, so what it normalises is larger by about s =
sqrt(D'/D); on random weights the logits are wrong by some 40 %. Under muP the readout's forward 1/m
shrinks them once more. There are two repairs, both with what makes up for the forward multipliers:

    norms="gain"     gains times 1/s (Du et al., arXiv 2405.15319; Gesmundo and Maile, 2308.06103).
                     RMSNorm is right up to its eps, of order eps / mean(x^2); LayerNorm is not.
    norms="stream"   the residual stream itself times s, so that mean(x^2) is the source's and eps
                     weighs the same, and gains times 1/s. For LayerNorm all that writes to the
                     stream is centred first, which LayerNorm does not see: the mean is then zero
                     with or without new zeros. Exact, but for a tied embedding under LayerNorm,
                     where centring would change the logits. It is ours.

The norm of queries and keys, where there is one, averages over a head: a larger head is repaired as
a wider stream is, its factor in ``sqrt(S'/S)``.

And a new head or MLP unit, zero on its way in and out, gets no gradient, ever: without a
perturbation it stays dead. Adam's moments are padded with zeros; a tensor that is multiplied by c
has its gradient divided by c. (That is the old corner's gradient where the logits are preserved,
but for what writes to a centred stream: LayerNorm takes the mean of its gradient over D' now.)
"""

import math

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, Params
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.rotary import parts
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role, roles

NORMS = ("plain", "gain", "stream")


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Nothing that is padded may shrink."""
    for name in ("heads", "groups", "group_size", "head_size", "mlp_width"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if theirs < ours:
            return f"{name} would shrink from {ours} to {theirs}"
    return None


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Norms and, with rotary positions, larger heads; a wider MLP breaks nothing."""
    norms = str(params["norms"])
    if small.width != big.width and (reason := _wider_breaks(small, norms)):
        return reason
    if small.head_size != big.head_size:
        return _larger_heads_break(small, norms)
    return None


def _wider_breaks(small: ModelSpec, norms: str) -> str | None:
    if norms == "plain":
        return "norms average over the new zeros"
    if norms == "gain":
        layer = small.norm == "layernorm"
        return "LayerNorm's mean counts the new zeros" if layer else "the norms' eps weighs more"
    return tied_mean(small)


def _larger_heads_break(small: ModelSpec, norms: str) -> str | None:
    if norms == "plain":
        return "scores are divided by the root of a larger head size"
    if small.positions == "rope":
        return "rotary frequencies depend on the head size"
    if small.qk_norm and norms == "gain":
        return "the eps of the norm of queries and keys weighs more"
    return None


def tied_mean(small: ModelSpec) -> str | None:
    """Why the stream of this model cannot be padded."""
    if small.tied and small.norm == "layernorm":
        return "LayerNorm's mean counts the new zeros, and a tied embedding cannot be centred"
    return None


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    norms: str = "plain",
) -> Weights:
    """The padded source; neither ``init`` nor ``rng`` is used."""
    grown = {}
    for name, (_, kind) in parameters(big.spec).items():
        source = weights[name]
        if norms == "stream":
            source = centred(name, source, small.spec)
        source = source * _factor(name, small, big, norms)
        grown[name] = pad(name, source, small.spec, big.spec, fill=float(kind == "gain"))
    return grown


def grow_moments(
    moments: Moments, small: Decoder, big: Decoder, rng: torch.Generator, *, norms: str = "plain"
) -> Moments:
    """Zero wherever anything is new; divided by what multiplies the weight."""
    grown: tuple[Weights, Weights] = ({}, {})
    for name in parameters(big.spec):
        c = _factor(name, small, big, norms)
        for power, (tensors, old) in enumerate(zip(grown, moments, strict=True), start=1):
            tensors[name] = pad(name, old[name] / c**power, small.spec, big.spec, fill=0.0)
    return Moments(*grown)


def _factor(name: str, small: Decoder, big: Decoder, norms: str) -> float:
    if norms == "plain":
        return 1.0
    s = math.sqrt(big.spec.width / small.spec.width)
    of_head = math.sqrt(big.spec.head_size / small.spec.head_size)
    factor = forward_factor(name, small, big, ".attention.q.")
    if norms == "stream":
        return factor * stream_factor(name, big.spec, s) * _head_factor(name, big.spec, of_head)
    if parameters(big.spec)[name].kind == "gain":
        return factor / (of_head if roles(name) == ("head_rows",) else s)
    return factor


def _head_factor(name: str, spec: ModelSpec, of_head: float) -> float:
    """What multiplies the queries and keys that a norm reads, and nothing behind it."""
    if not spec.qk_norm:
        return 1.0
    layer = name.split(".")[-2]
    return {"q": of_head, "k": of_head, "q_norm": 1 / of_head, "k_norm": 1 / of_head}.get(layer, 1)


def forward_factor(name: str, small: Decoder, big: Decoder, scores: str) -> float:
    """What makes up for the forward multipliers and the head size. The output's is on the head or,
    where that is the embedding, on the final norm; that of ``q k`` on one of them, ``scores``, or
    its norm; a residual branch's on its last layer."""
    if name in (("norm.gain", "norm.bias") if big.spec.tied else ("head.weight",)):
        return small.multipliers.output / big.multipliers.output
    if on_scores(name, big.spec, scores):
        shrunk = math.sqrt(big.spec.head_size / small.spec.head_size)
        return small.multipliers.attention / big.multipliers.attention * shrunk
    return residual_factor(name, small, big)


def on_scores(name: str, spec: ModelSpec, projection: str = ".attention.q.") -> bool:
    """Whether a factor of ``q k`` goes here: on the projection, or on the gain of its norm, which
    would undo what comes before it."""
    return (projection[:-1] + "_norm." if spec.qk_norm else projection) in name


def residual_factor(name: str, small: Decoder, big: Decoder) -> float:
    """What makes up for the multiplier of a residual branch, on the branch's last layer."""
    layer = name.split(".")[-2]
    if layer == "o":
        return small.multipliers.residual_attention / big.multipliers.residual_attention
    if layer == "down":
        return small.multipliers.residual_mlp / big.multipliers.residual_mlp
    return 1.0


def stream_factor(name: str, spec: ModelSpec, s: float) -> float:
    """What multiplies the residual stream by ``s`` and nothing else: all that writes to it is
    times s, and all that reads it, through a norm, divided. (A norm divides by s itself, but is
    meant for more coordinates, of which only the old are not zero.)"""
    factor = 1.0
    if writes(name):
        factor *= s
    if name.endswith(".gain") and roles(name) == ("residual",):
        factor /= s
    if spec.tied and name in ("norm.gain", "norm.bias"):
        factor /= s  # the embedding, times s, reads it too
    return factor


def writes(name: str) -> bool:
    """Does this parameter write to the residual stream?"""
    return name.split(".")[-2] in ("embed", "positions", "o", "down")


def centred(name: str, tensor: Tensor, spec: ModelSpec) -> Tensor:
    """What writes to a LayerNorm's stream, less its mean over the stream's coordinates."""
    if spec.norm != "layernorm" or spec.tied or not writes(name):
        return tensor
    axis = 1 if parameters(spec)[name].kind == "embedding" else 0
    return tensor - tensor.mean(axis, keepdim=True)


def pad(name: str, source: Tensor, small: ModelSpec, big: ModelSpec, fill: float) -> Tensor:
    """Parameter ``name`` of ``small`` in the top-left corner of ``big``'s, the rest ``fill``."""
    target = source.new_full(parameters(big)[name].shape, fill)
    place(name, source, target, small, big)
    return target


def place(
    name: str,
    source: Tensor,
    target: Tensor,
    small: ModelSpec,
    big: ModelSpec,
    within: Tensor | None = None,
) -> None:
    """Write parameter ``name`` of ``small`` into the rows and columns that its units have in
    ``big``'s: the first ones, of heads the first of their group, of a head's rows ``within``
    ``(S,)``, by default the first of each part."""
    within = _first_rows(small, big) if within is None else within
    where = [
        torch.arange(size) if role is None else _units(role, small, big, within)
        for role, size in zip(roles(name), source.shape, strict=True)
    ]
    target[where[0] if len(where) == 1 else (where[0][:, None], where[1])] = source


def _units(role: Role, small: ModelSpec, big: ModelSpec, within: Tensor) -> Tensor:
    """Where the source's units are in the target."""
    if role == "head_rows":
        return within
    if role in ("heads", "kv_heads"):
        kept = kept_heads(small, big) if role == "heads" else torch.arange(small.groups)
        return (kept[:, None] * big.head_size + within).flatten()
    return torch.arange(small.width if role == "residual" else small.mlp_width)


def _first_rows(small: ModelSpec, big: ModelSpec) -> Tensor:
    """Of each of a larger head's parts the first rows, as many as the part of a head had."""
    larger = torch.split(torch.arange(big.head_size), list(parts(big)))
    return torch.cat([rows[:size] for rows, size in zip(larger, parts(small), strict=True)])


def kept_heads(small: ModelSpec, big: ModelSpec) -> Tensor:
    """Which of the target's heads ``(H,)`` are the source's, in order: the first of each group."""
    first = torch.arange(small.groups)[:, None] * big.group_size
    return (first + torch.arange(small.group_size)).flatten()


METHOD = GrowthMethod(
    name="zero_pad",
    summary="the source in the top-left corner, zeros elsewhere",
    paper="arXiv 2411.07340",
    axes=("width",),
    preserves="nothing: norms average over the new zeros; with norms=stream the logits",
    supports=supports,
    grow=grow,
    choices={"norms": NORMS},
    breaks=breaks,
    grow_moments=grow_moments,
)
