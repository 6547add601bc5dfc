"""muP upscaling: every unit k times in place, exact under muP in the weights and in training.

    unit i of the target is unit floor(i / k) of the source:  0 0 1 1 2 2

    embedding, readout, bias, norm    [ E ] with its columns repeated, not rescaled
    hidden matrix                     1/k_in ([ W ] with rows and columns repeated + noise)
    moments of a hidden matrix        m / k_out,  v / k_out^2
    moments of all others             m / k,      v / k^2

Ma, Chen, Diaz, Hayou, Kunisky and Villar, arXiv 2602.10545. muP's readout divides by the width, its
attention by the head size, so both take repeated units as they are. Then it goes on: a repeated
unit receives 1/k of its source's gradient, and muP's rates, decays and eps at the wider shape make
of that the source's own step, in every copy. With the moments carried, the wide model's training
*is* the narrow one's, until noise parts the copies. (Under SP, where that is not so, the logits are
still preserved: the readout, or with a tied one the final norm, carries the 1/k.)

``noise`` is in units of the target's own initial weights, which are the paper's noise at its tuned
std; on hidden matrices it is divided by k_in with the rest, on norms and biases there is none. The
paper tunes it, and a new learning rate, on a small pair and transfers both.

Moments are divided by the *fan-out* ratio, where weights are divided by the fan-in ratio. And
Adam's eps must shrink with the gradient, which the mup package forgets.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Moments, Params
from mugrow.bench.growth.hypercloning import supports
from mugrow.bench.growth.net2net import Units, of_heads, widen, widen_moments
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import Role


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Only noise does."""
    return "noise is added" if params["noise"] else None


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    noise: float = 0.0,
) -> Weights:
    """The repeated source plus ``noise`` times ``init``; ``rng`` is not used."""
    grown = widen(weights, small, big, repeated(small.spec, big.spec))
    if noise:
        for name, (shape, kind) in parameters(big.spec).items():
            if kind not in ("gain", "bias"):
                k_in = shape[1] / weights[name].shape[1] if kind == "matrix" else 1
                grown[name] += noise * init[name] / k_in
    return grown


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    noise: float = 0.0,
) -> Moments:
    """Divided by the copies of the output unit, the second by their square."""
    return widen_moments(moments, small, big, repeated(small.spec, big.spec))


def repeated(small: ModelSpec, big: ModelSpec) -> Units:
    """Every unit followed by its copies: ``0 0 1 1 2 2``; heads whole, and the rows of a head."""

    def each(old: int, new: int) -> torch.Tensor:
        return torch.arange(new) // (new // old)

    units: dict[Role, torch.Tensor] = {
        "residual": each(small.width, big.width),
        **of_heads(
            each(small.groups, big.groups),
            each(small.group_size, big.group_size),
            each(small.head_size, big.head_size),
            small,
        ),
        "mlp": each(small.mlp_width, big.mlp_width),
    }
    return units


METHOD = GrowthMethod(
    name="mup_upscale",
    summary="every unit repeated in place; under muP training goes on as the source's",
    paper="arXiv 2602.10545",
    axes=("width",),
    preserves="the logits, and under muP the training",
    supports=supports,
    grow=grow,
    breaks=breaks,
    grow_moments=grow_moments,
    equivalent=True,
)
