"""HyperCloning: every unit n times, every matrix divided by its number of input copies.

    embedding, norm, bias      hidden matrix (out, in)      head (vocabulary, in)
    [ E | E ]                  1/n [ W | W ]                1/n [ H | H ]
                                   [ W | W ]

    mode="symmetric"           "noisy"                      "diagonal"
    1/2 [ W | W ]              1/2 [ W + N | W - N ]        [ W | 0 ]
        [ W | W ]                  [ W + M | W - M ]        [ 0 | W ]

Samragh et al., arXiv 2409.12903. Each copy of a unit reads n equal copies of its input with weights
that sum to one, so all copies of the residual stream equal the source's; mean and variance of n
copies are those of one, so LayerNorm and RMSNorm pass them on, and the logits are the source's
exactly, in all three modes. Noise, at ``snr_db`` below a matrix's own power, sums to zero over the
copies of an input; their ablation has it at 10 dB, and
the diagonal behind the other two. The forward multipliers and
a tied head, which cannot be divided by n, are the business of ``net2net.widen``; without it a tied
model's logits are n times too large. Heads are copied whole, or within each head.

Adam's moments, which the paper starts afresh, can be carried: every block of a matrix receives the
same gradient, also outside the diagonal. (With noise that is so on average over the copies.) Under
muP a symmetric clone then trains exactly as its source.

That is also its weakness: copies receive equal gradients, and without dropout or noise AdamW keeps
them equal for good, and the extra width is never used.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, Moments, exact
from mugrow.bench.growth.net2net import Units, same_rotations, tiled, widen, widen_moments
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role, roles

Copies = Mapping[Role, tuple[Tensor, int]]
MODES = ("symmetric", "noisy", "diagonal")


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Whole copies only: widths, numbers of heads, of groups of them and in a group and, without
    rotary positions, the head size are multiples."""
    for name in ("width", "mlp_width", "head_size", "heads", "groups", "group_size"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if theirs % ours:
            near = max(1, round(theirs / ours)) * ours
            return f"{name} {theirs} is not a multiple of {ours}; the nearest that is: {near}"
    return same_rotations(small, big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    mode: str = "symmetric",
    snr_db: float = 10.0,
) -> Weights:
    """The cloned source; ``init`` is not used."""
    units = tiled(small.spec, big.spec)
    grown, copies = widen(weights, small, big, units), copy_numbers(units)
    for name, (_, kind) in parameters(big.spec).items():
        if kind == "matrix" and mode == "diagonal":
            grown[name] *= diagonal(name, copies, grown[name])
        if kind == "matrix" and mode == "noisy":
            grown[name] += _noise(name, units, grown[name], snr_db, rng)
    return grown


def copy_numbers(units: Units) -> Copies:
    """Which copy of its unit each unit is, from 0, and how many there are of every one."""
    return {role: (_copy_number(index), int(index.bincount()[0])) for role, index in units.items()}


def _copy_number(index: Tensor) -> Tensor:
    order, counts = index.argsort(stable=True), index.bincount()
    first = counts.cumsum(0) - counts
    number = torch.empty_like(index)
    number[order] = torch.arange(len(index)) - first[index[order]]
    return number


def diagonal(name: str, copies: Copies, like: Tensor) -> Tensor:
    """What turns tiles into block-diagonal ones: block (a, b) times g where a = b modulo g, else
    times 0, with g the greatest common divisor of the numbers of copies out and in."""
    (out, outs), (into, ins) = (copies[role] for role in roles(name) if role)
    g = math.gcd(outs, ins)
    return (g * (out[:, None] % g == into % g)).to(like)


def _noise(name: str, units: Units, like: Tensor, snr_db: float, rng: torch.Generator) -> Tensor:
    role = roles(name)[1]
    assert role is not None
    noise = zero_sum(torch.randn(like.shape, generator=rng, dtype=torch.float64), units[role])
    power = noise.square().mean()
    if power > 0:  # one copy only: nothing to divide the noise among
        noise *= like.double().square().mean().div(power).sqrt() * 10 ** (-snr_db / 20)
    return noise.to(like)


def zero_sum(noise: Tensor, index: Tensor) -> Tensor:
    """Noise ``(..., I)`` less its mean over the copies of each unit; exactly 0 where there is but
    one copy."""
    counts = index.bincount()
    sums = noise.new_zeros(*noise.shape[:-1], len(counts)).index_add_(-1, index, noise)
    return noise - (sums / counts)[..., index]


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    mode: str = "symmetric",
    snr_db: float = 10.0,
) -> Moments:
    """The same in every mode; where there is noise, a copy's gradient has it too, its mean not."""
    return widen_moments(moments, small, big, tiled(small.spec, big.spec))


METHOD = GrowthMethod(
    name="hypercloning",
    summary="every unit n times, matrices divided by their input copies",
    paper="arXiv 2409.12903",
    axes=("width",),
    preserves="the logits, exactly",
    supports=supports,
    grow=grow,
    choices={"mode": MODES},
    breaks=exact,
    grow_moments=grow_moments,
    equivalent=True,
)
