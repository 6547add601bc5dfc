"""HyperCloning: every unit n times, every matrix divided by its number of input copies.

    embedding, norm, bias      hidden matrix (out, in)      head (vocabulary, in)
    [ E | E ]                  1/n [ W | W ]                1/n [ H | H ]
                                   [ W | W ]

The symmetric rule of Samragh et al., arXiv 2409.12903. Each copy of a unit reads n equal copies of
its input, each weighted 1/n, so all copies of the residual stream equal the source's; mean and
variance of n copies are those of one, so LayerNorm and RMSNorm pass them on, and the logits are the
source's exactly. Heads are tiled whole, with a fixed head size: rows of q, k, v ordered by head
tile head by head.

The forward multipliers take part. The logits are a sum over n copies times the target's output
multiplier, so the head carries

    factor = output_small / (n * output_big),

which is 1/n under SP and 1 under muP, whose readout divides by the width already. A tied head is
the embedding and cannot carry it; there the *final norm's* gain and bias do (the trick of Staged
Training, Shen et al., arXiv 2203.06211). Without it a tied model's logits are n times too large.

The surprising fact: the copies also receive equal gradients. Without dropout or noise AdamW keeps
them equal for good, and the extra width is never used.
"""

import torch

from bench.growth import GrowthMethod
from bench.model import Decoder, Weights, parameters
from bench.spec import ModelSpec


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Whole copies only: the width and the MLP width are multiples, the head size stays."""
    if big.head_size != small.head_size:
        return f"heads are copied whole: head_size must stay {small.head_size}, not {big.head_size}"
    for name in ("width", "mlp_width"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if theirs % ours:
            near = max(1, round(theirs / ours)) * ours
            return f"{name} {theirs} is not a multiple of {ours}; the nearest that is: {near}"
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The tiled source; neither ``init`` nor ``rng`` is used."""
    n = big.spec.width // small.spec.width
    factor = small.multipliers.output / (n * big.multipliers.output)
    carries_factor = ("norm.gain", "norm.bias") if big.spec.tied else ("head.weight",)
    attention = small.multipliers.attention / big.multipliers.attention
    grown = {}
    for name, (shape, kind) in parameters(big.spec).items():
        copies = [new // old for new, old in zip(shape, weights[name].shape, strict=True)]
        tiled = weights[name].repeat(copies)
        if kind == "matrix":
            tiled = tiled / copies[1]
        if name in carries_factor:
            tiled = tiled * factor
        if ".attention.q." in name:
            tiled = tiled * attention  # 1 unless source and target scale attention differently
        grown[name] = tiled
    return grown


METHOD = GrowthMethod(
    name="hypercloning",
    summary="every unit n times, matrices divided by their input copies",
    paper="arXiv 2409.12903",
    axes=("width",),
    preserves="the logits, exactly",
    supports=supports,
    grow=grow,
)
