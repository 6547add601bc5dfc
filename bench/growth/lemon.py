"""LEMON: lossless expansion to any width, with unequal shares so that copies part by themselves.

    residual stream   [ x | x | m ]     n = floor(D'/D) copies, and a rest of r = D' - n D units
                                        that hold the mean of x under LayerNorm, 0 under RMSNorm
    matrices          [ W a | W b ]     a + b = 1 entry by column, drawn for each matrix;
                      [ W a | W b ]     the rest's columns are free and keep the target's init
    new layers        copies with W_o = 0, W_down = 0

Wang et al., arXiv 2310.07999. A unit that holds the mean is zero behind LayerNorm, and leaves the
mean as it was; the variance is smaller by nD/D'. The paper multiplies gains by sqrt(nD/D'), which
is right up to the norm's eps; here the whole stream is multiplied by s = sqrt(D'/(nD)) and gains by
1/s (``zero_pad.stream_factor``), and it is right to the last digit. Heads and MLP units, which no
norm averages, are repeated from the first, some of them once more than others.

``uneven`` is how far shares are from equal: copy c of n has the share (1/n) (1 + uneven u_c), the
u_c uniform in [-1, 1] less their mean. The paper asks for shares that differ and sum to one; the
distribution is ours. It also lets the rate decay faster, which is the run's schedule.

One split for all matrices would do almost as well. A copy's gradient is then its twin's times a
constant, which Adam divides out; but the columns that read the two, unequal, receive equal steps,
so their ratio drifts, and with it the copies. After 50 steps these were apart by 0.08 to 0.09 of
the stream (splits of their own: 0.10 to 0.11; equal shares: 1e-16).
"""

import torch
from torch import Tensor

from mugrow.bench.growth import GrowthMethod, exact, llama_pro, zero_pad
from mugrow.bench.growth.hypercloning import zero_sum
from mugrow.bench.growth.net2net import deeper, reads, tiled, uneven_heads, widen
from mugrow.bench.growth.net2net import supports as copies
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import roles


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """What can be copied, and heads whose norm averages over as many copies of every row."""
    return copies(small, big) or uneven_heads(small, big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    uneven: float = 0.5,
) -> Weights:
    """Deeper, then wider."""
    middle = deeper(small, big)
    deep = llama_pro.grow(weights, small, middle, init, rng)
    whole = big.spec.width // small.spec.width * small.spec.width
    units = tiled(small.spec, big.spec)
    if whole < big.spec.width:
        units["residual"][whole:] = small.spec.width  # the rest's one unit, added to the source
        deep = {name: _with_rest(name, tensor, small.spec) for name, tensor in deep.items()}
    grown = widen(deep, middle, big, units)
    s = (big.spec.width / whole) ** 0.5
    for name in parameters(big.spec):
        grown[name] *= zero_pad.stream_factor(name, big.spec, s)
        if role := reads(name, big.spec):
            grown[name] *= _shares(units[role], uneven, rng).to(grown[name])
            if role == "residual":
                grown[name][:, whole:] = init[name][:, whole:]
    return grown


def _with_rest(name: str, tensor: Tensor, small: ModelSpec) -> Tensor:
    """A parameter of the source with one more unit of the stream, the mean or zero; its gain is
    one and its bias zero."""
    axes = [axis for axis, role in enumerate(roles(name)) if role == "residual"]
    if not axes:
        return tensor
    (axis,) = axes
    rest = tensor.mean(axis, keepdim=True)
    if not (zero_pad.writes(name) and small.norm == "layernorm"):
        rest = torch.full_like(rest, float(name.endswith(".gain")))
    return torch.cat([tensor, rest], axis)


def _shares(index: Tensor, uneven: float, rng: torch.Generator) -> Tensor:
    """Shares of one matrix's columns over the equal ones, ``(I,)``; their mean over the copies of
    each unit is one."""
    drawn = 2 * torch.rand(len(index), generator=rng, dtype=torch.float64) - 1
    return 1 + uneven * zero_sum(drawn, index)


METHOD = GrowthMethod(
    name="lemon",
    summary="lossless to any width, with unequal shares",
    paper="arXiv 2310.07999",
    axes=("width", "depth"),
    preserves="the logits, exactly",
    supports=supports,
    grow=grow,
    breaks=exact,
)
