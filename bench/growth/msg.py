"""Masked structural growth: what is new is multiplied by a mask that rises from 0 to 1.

    c(t) = min(1, t / grow_steps)

         [ W | A ]     old weights W, the target's own initial weights A; every output of a new
         [ A | A ]     unit is multiplied by c where it is read

Yao et al., arXiv 2305.02869, for the width of the residual stream, the number of heads, the MLP
and the depth. A norm multiplies new coordinates by c, and weighs them by c in its statistics,

    mean = sum_i c_i x_i / sum_i c_i,    variance = sum_i c_i (x_i - mean)^2 / sum_i c_i,

so at t = 0 the new coordinates are neither read nor counted: the logits are the source's exactly,
in LayerNorm as in RMSNorm, whatever the new weights are. The outputs of new heads and MLP units are
masked in the columns of o and down, and new blocks, which lie above the old ones and begin as
copies of them in order, in all of o and down. The reading is ours where the paper, which is about
BERT, leaves room: the mask is on what is read from the residual stream and not also on what is
written to it, so no path carries c twice in one layer, and growth ends with the training at the
latest. From then on the model is an ordinary one, and trained as such. Adam's moments are
zero-padded, as in the released code.

The mask is zero at t = 0, and so are all gradients of what is new. In that step the target trains
as its source would, but for the weight decay of what is new.
"""

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, Moments, exact, zero_pad
from mugrow.bench.growth.net2net import deeper
from mugrow.bench.growth.stack import source
from mugrow.bench.model import Decoder, Weights, parameters, shapes
from mugrow.bench.spec import ModelSpec, UserError
from mugrow.bench.units import roles

DEFAULT = 100


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Heads stay whole, and nothing may shrink."""
    if big.head_size != small.head_size:
        return f"heads stay whole: head_size must stay {small.head_size}, not {big.head_size}"
    return zero_pad.supports(small, big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    grow_steps: int = DEFAULT,
) -> Weights:
    """Old weights in the corner, ``init`` around it; ``rng`` is not used."""
    if grow_steps < 1:
        raise UserError(f"grow_steps must be at least 1, not {grow_steps}")
    order = [block % small.spec.depth for block in range(big.spec.depth)]
    grown, corner = {}, deeper(small, big).spec
    for name, drawn in init.items():
        factor = zero_pad.forward_factor(name, small, big, ".attention.q.")
        grown[name] = drawn.clone()
        zero_pad.place(name, weights[source(name, order)] * factor, grown[name], corner, big.spec)
    return grown


def grow_moments(
    moments: Moments,
    small: Decoder,
    big: Decoder,
    rng: torch.Generator,
    *,
    grow_steps: int = DEFAULT,
) -> Moments:
    """Zero wherever anything is new; a weight that is multiplied by c has its gradient divided."""
    corner = deeper(small, big).spec
    first, second = (
        {
            name: zero_pad.pad(name, tensors[name], corner, big.spec, fill=0.0)
            / zero_pad.forward_factor(name, small, big, ".attention.q.") ** power
            if name in tensors
            else tensors["norm.gain"].new_zeros(shape)
            for name, shape in shapes(big.spec).items()
        }
        for power, tensors in enumerate(moments, start=1)
    )
    return Moments(first, second)


def during(small: ModelSpec, big: ModelSpec, steps: int, *, grow_steps: int = DEFAULT) -> During:
    """The masks; the last step is unmasked also where ``steps`` is below ``grow_steps``."""
    old = {name: mask for name in shapes(big) if (mask := _old(name, small, big)) is not None}
    old_D = (torch.arange(big.width) < small.width).double()
    rise = min(grow_steps, steps)

    def used(trained: Weights, t: int, rng: torch.Generator | None) -> Weights:
        if t >= rise:
            return trained
        return {
            name: tensor * _mask(old[name], t / rise).to(tensor) if name in old else tensor
            for name, tensor in trained.items()
        }

    def norm_mask(t: int) -> Tensor | None:
        return _mask(old_D, t / rise) if t < rise else None

    return During(used=used, norm_mask=norm_mask)


def _mask(old: Tensor, c: float) -> Tensor:
    return old + (1 - old) * c


def _old(name: str, small: ModelSpec, big: ModelSpec) -> Tensor | None:
    """1 for what is old and 0 for what is new, if the mask is on this tensor at all: of shape
    ``(width,)`` for a norm, ``(in,)`` for the columns of an output projection, ``(1,)`` for its
    bias."""
    if roles(name) == ("residual",) and "norm" in name:
        return (torch.arange(big.width) < small.width).double()
    heads = zero_pad.kept_heads(small, big)[:, None] * big.head_size
    kept = {
        "o": (heads + torch.arange(big.head_size)).flatten(),
        "down": torch.arange(small.mlp_width),
    }
    for module, units in kept.items():
        if f".{module}." in name:
            is_old = float(int(name.split(".")[1]) < small.depth)
            if name.endswith("bias"):
                return torch.full((1,), is_old, dtype=torch.float64)
            columns = parameters(big)[name].shape[1]
            return torch.zeros(columns, dtype=torch.float64).index_fill(0, units, is_old)
    return None


METHOD = GrowthMethod(
    name="msg",
    summary="new units behind a mask that rises from 0 to 1",
    paper="arXiv 2305.02869",
    axes=("width", "depth"),
    preserves="the logits, exactly, at step 0",
    supports=supports,
    grow=grow,
    breaks=exact,
    grow_moments=grow_moments,
    during=during,
)
