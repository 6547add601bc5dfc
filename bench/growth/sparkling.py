"""SPARKLING: width growth in mid-training that keeps activations' size and breaks the symmetry.

    outputs   [ W ]      copied, not rescaled      inputs   rho [ W | W ]
              [ W ]
    rho = 1 / sqrt(1 + 3 c)  for 0 < c <= 1,   1 / (1 + c)  for c > 1,       c = D'/D - 1

    Adam's moments   [ S | 0 ]     the old corner keeps its state, all that is new starts afresh
                     [ 0 | 0 ]

arXiv 2602.02472. The first cD units are copied once more. A sum over D inputs of which a share c
counts twice has variance (1 - c) + 4 c = 1 + 3 c times the source's, if inputs are independent;
dividing by its root preserves the root mean square, and at a whole c also the function. Gains are
copied. Scores, a sum over a head's rows, and the readout follow the same rule, together with the
forward multipliers (our reading: the paper's heads keep their size).

New coordinates alone are warmed up again: their rate rises from 0 to ``peak`` times the schedule's
within a fraction ``rewarm`` of the run and falls back to it within as much again. (In the paper
1.3 and 250 steps, after which they join the main cosine; the way down is our reading.)

Preserving the function locks the copies, for AdamW and for Muon; clearing the moments of one copy
and not of the other is enough to part them, without any noise.
"""

import math

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, Moments, Params, zero_pad
from mugrow.bench.growth.net2net import carries_output, copied, reads, score_ratio, tiled
from mugrow.bench.model import Decoder, Weights, parameters, shapes
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role

WIDTHS = ("width", "mlp_width", "head_size", "heads", "groups", "group_size")


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Ratios that are no whole numbers, and the frequencies of larger rotary heads."""
    for name in WIDTHS:
        if getattr(big, name) % getattr(small, name):
            return f"{name} grows by no whole ratio: the root mean square is preserved, not the sum"
    if small.positions == "rope" and small.head_size != big.head_size:
        return "rotary frequencies depend on the head size"
    return None


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    rewarm: float = 0.05,
    peak: float = 1.3,
) -> Weights:
    """The copied source; neither ``init`` nor ``rng`` is used, and the parameters act later."""
    units = tiled(small.spec, big.spec)
    return {
        name: copied(name, weights[name], units) * _factor(name, small, big)
        for name in parameters(big.spec)
    }


def _factor(name: str, small: Decoder, big: Decoder) -> float:
    if carries_output(name, big.spec):
        output = small.multipliers.output / big.multipliers.output
        return output * rms_ratio(small.spec.width, big.spec.width)
    factor = zero_pad.residual_factor(name, small, big)
    if role := reads(name, big.spec):
        factor *= rms_ratio(*(_count(spec, role) for spec in (small.spec, big.spec)))
    if zero_pad.on_scores(name, big.spec):
        heads = rms_ratio(small.spec.head_size, big.spec.head_size)
        factor *= heads * score_ratio(small, big)
    return factor


def _count(spec: ModelSpec, role: Role) -> int:
    sizes = {"mlp": spec.mlp_width, "heads": spec.attention_width}
    return sizes.get(role, spec.width)


def rms_ratio(old: int, new: int) -> float:
    """rho of this many inputs."""
    c = new / old - 1
    return 1 / math.sqrt(1 + 3 * c) if c <= 1 else 1 / (1 + c)


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    rewarm: float = 0.05,
    peak: float = 1.3,
) -> Moments:
    """The old corner's, as they were."""
    m, v = (
        {name: zero_pad.pad(name, old[name], small.spec, big.spec, fill=0.0) for name in old}
        for old in moments
    )
    return Moments(m, v)


def during(
    small: ModelSpec, big: ModelSpec, steps: int, *, rewarm: float = 0.05, peak: float = 1.3
) -> During:
    """The new coordinates' own rate."""
    new = {
        name: zero_pad.pad(name, torch.zeros(shape), small, big, fill=1.0)
        for name, shape in shapes(small).items()
    }

    def rates(t: int) -> dict[str, Tensor | float]:
        factor = rate(t, rewarm * steps, peak)
        return {name: 1 + (factor - 1) * mask for name, mask in new.items()} if factor != 1 else {}

    return During(rates=rates)


def rate(t: int, warm_steps: float, peak: float) -> float:
    """What a new coordinate's rate is multiplied by at its step ``t``, from 0."""
    done = (t + 1) / warm_steps if warm_steps else math.inf
    if done <= 1:
        return peak * done
    return peak + (1 - peak) * min(done - 1, 1)


METHOD = GrowthMethod(
    name="sparkling",
    summary="copies that keep activations' size; the new ones' moments reset, their rate re-warmed",
    paper="arXiv 2602.02472",
    axes=("width",),
    preserves="the logits, at whole ratios; else the root mean square",
    supports=zero_pad.supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
    during=during,
)
