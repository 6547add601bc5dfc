"""SZP: shrink the source, zero-pad it, perturb it with the target's own initial weights.

    theta = shrink * pad0(theta_source) + perturb * theta_init

(Mallik et al., arXiv 2411.07340; Mallik, Janowski, Hog et al., arXiv 2605.13405, whose main results
have shrink = 0.4.) ``theta_init`` is a full draw of the target's parametrization, not a small
noise: a coordinate that the source does not reach starts as from scratch, and one that it does
reach starts as scratch plus a shrunken memory. It is shrink-and-perturb (Ash and Adams, arXiv
1910.08475) across widths.

Gains start at the constant one, so there is nothing to draw; the published text does not say how
they are treated. Here a gain is shrunk towards that one,

    gain = shrink * pad1(gain_source) + (1 - shrink),

so it is the deviation from the initial value that shrinks, as for every other tensor, whose initial
mean is zero. Read literally the formula would give gains of 1 + shrink on old coordinates beside
ones on new; {MEASURED}
The surprising fact: nothing is preserved, on purpose. shrink = 1 is the worst of the published
sweep.
"""

import torch

from bench.growth import GrowthMethod, zero_pad
from bench.model import Decoder, Weights, parameters


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    shrink: float = 0.4,
    perturb: float = 1.0,
) -> Weights:
    """``shrink=1, perturb=0`` is ``zero_pad``; ``shrink=0, perturb=1`` is ``scratch``."""
    padded = zero_pad.grow(weights, small, big, init, rng)
    grown = {}
    for name, (_, kind) in parameters(big.spec).items():
        mean = float(kind == "gain")  # of the initial weights
        grown[name] = shrink * padded[name] + (1 - shrink) * mean + perturb * (init[name] - mean)
    return grown


METHOD = GrowthMethod(
    name="szp",
    summary="shrink, zero-pad, perturb with the target's own init",
    paper="arXiv 2605.13405",
    axes=("width",),
    preserves="nothing, on purpose",
    supports=zero_pad.supports,
    grow=grow,
)
