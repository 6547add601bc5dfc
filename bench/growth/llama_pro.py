"""Block expansion: copies of blocks whose output is switched off, between the old ones.

    x + attention(norm(x)) + mlp(...)     with W_o = 0, b_o = 0  and  W_down = 0, b_down = 0

         source   0 1 2 3
         target   0 1 1' 2 3 3'        ' a copy whose output projections are zero

LLaMA Pro of Wu et al., arXiv 2401.02415: a new block after every L / (L' - L) old ones. Where that
is no whole number, new blocks are spread as evenly as can be, and there may be several after one.
The logits are the source's exactly, whatever the norm and the head, *if the biases are zeroed too*:
LLaMA has none, and with GPT-2's kept the logits of random models are wrong by 20 to 65 %.

The paper trains the new blocks alone (``freeze=True``: embeddings, head, norms and old blocks stay
as they were), which is meant for a second domain; here the default is to train everything. Old
blocks keep Adam's moments, new ones start at zero.

The outputs are zero, and not the norm's gain as in Staged Training: a SwiGLU block behind a zero
gain has a zero gate *and* a zero up-projection, so neither gets a gradient, ever. Behind zero
outputs, in the first step only the outputs get one, and in the second all.
"""

from collections.abc import Mapping

import torch

from mugrow.bench.growth import During, GrowthMethod, Moments, any_pair, exact
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec

OUTPUTS = (".attention.o.", ".mlp.down.")


def order(small: ModelSpec, big: ModelSpec) -> tuple[list[int], set[int]]:
    """The source's block for each of the target's, and which of the target's are new."""
    added = big.depth - small.depth
    blocks: list[int] = []
    new: set[int] = set()
    for old in range(small.depth):
        copies = (old + 1) * added // small.depth - old * added // small.depth
        new |= set(range(len(blocks) + 1, len(blocks) + 1 + copies))
        blocks += [old] * (1 + copies)
    return blocks, new


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    freeze: bool = False,
) -> Weights:
    """The expanded source; neither ``init`` nor ``rng`` is used, and ``freeze`` acts later."""
    blocks, new = order(small.spec, big.spec)
    grown = from_blocks(weights, small, big, blocks)
    for name in grown:
        if _block(name) in new and any(output in name for output in OUTPUTS):
            grown[name].zero_()
    return grown


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    freeze: bool = False,
) -> Moments:
    """The source's in old blocks, zero in new ones."""
    blocks, new = order(small.spec, big.spec)
    grown = moments_from_blocks(moments, small, big, blocks)
    for tensors in grown:
        for name in tensors:
            if _block(name) in new:
                tensors[name].zero_()
    return grown


def during(small: ModelSpec, big: ModelSpec, steps: int, *, freeze: bool = False) -> During:
    """With ``freeze``, the old tensors do not move, also not by weight decay."""
    _, new = order(small, big)
    still: Mapping[str, float] = {name: 0.0 for name in parameters(big) if _block(name) not in new}
    return During(rates=(lambda t: still) if freeze else None)


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


METHOD = GrowthMethod(
    name="llama_pro",
    summary="copied blocks with zero output projections in between",
    paper="arXiv 2401.02415",
    axes=("depth",),
    preserves="the logits, exactly",
    supports=any_pair,
    grow=grow,
    breaks=exact,
    grow_moments=grow_moments,
    during=during,
)
