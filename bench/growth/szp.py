"""SZP: shrink the source, zero-pad it, perturb it with the target's own initial weights.

    theta = shrink * pad0(theta_source) + perturb * theta_init

(Mallik et al., arXiv 2411.07340; Mallik, Janowski, Hog et al., arXiv 2605.13405, whose main results
have shrink = 0.4.) ``theta_init`` is a full draw of the target's parametrization, not a small
noise: a coordinate that the source does not reach starts as from scratch, and one that it does
reach starts as scratch plus a shrunken memory. It is shrink-and-perturb (Ash and Adams, arXiv
1910.08475) across widths. In depth the source's blocks are stacked first (``blocks="stack"``: 0 1 2
0 1 2, as in their later runs) or repeated in place (``"interleave"``: 0 0 1 1 2 2), and the
formula then holds for every block.

How the authors treat gains, whose initial value is the constant one, is not known to us. Here they
follow the formula like any tensor: an old coordinate begins at shrink * gain + perturb, a new one
at one, whatever ``perturb``. In a small trial (widths 32 to 64, both flavours, two seeds) that was
a little ahead of shrinking a gain's deviation from one and of fresh gains, and far ahead of
shrink * gain: the larger gain makes up for the shrunken matrix behind it.

Nothing is preserved, on purpose. shrink = 1 is the worst of the published sweep.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Params, zero_pad
from mugrow.bench.growth.net2net import deeper
from mugrow.bench.growth.stack import from_blocks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec

BLOCKS = ("stack", "interleave")


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Whatever grows, unless neither shrunk nor perturbed."""
    if (params["shrink"], params["perturb"]) != (1, 0):
        return "the source is shrunk and perturbed"
    if small.depth != big.depth:
        return "copied blocks act on the residual stream again"
    return zero_pad.breaks(small, big, {"norms": "plain"})


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    shrink: float = 0.4,
    perturb: float = 1.0,
    blocks: str = "stack",
) -> Weights:
    """``shrink=1, perturb=0`` is ``zero_pad``; ``shrink=0, perturb=1`` is ``scratch``."""
    middle = deeper(small, big)
    deep = from_blocks(weights, small, middle, order(small.spec, big.spec, blocks))
    grown = {}
    for name, (_, kind) in parameters(big.spec).items():
        padded = zero_pad.pad(name, deep[name], middle.spec, big.spec, fill=0.0)
        grown[name] = shrink * padded + perturb * init[name]
        if kind == "gain":
            old = torch.ones_like(deep[name])
            is_old = zero_pad.pad(name, old, middle.spec, big.spec, fill=0.0).bool()
            grown[name][~is_old] = 1.0
    return grown


def order(small: ModelSpec, big: ModelSpec, blocks: str) -> list[int]:
    """The source's block for each of the target's; any depth will do."""
    if blocks == "stack":
        return [block % small.depth for block in range(big.depth)]
    return [block * small.depth // big.depth for block in range(big.depth)]


METHOD = GrowthMethod(
    name="szp",
    summary="shrink, zero-pad, perturb with the target's own init",
    paper="arXiv 2605.13405",
    axes=("width", "depth"),
    preserves="nothing, on purpose",
    supports=zero_pad.supports,
    grow=grow,
    choices={"blocks": BLOCKS},
    breaks=breaks,
)
