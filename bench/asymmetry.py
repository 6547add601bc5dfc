"""Asymmetry: how far copies of a unit have come apart.

Growth by copying makes every unit of the residual stream n times. Copies that get equal gradients
stay copies under AdamW, and a model whose copies never part is no larger than its source. With h
the normalised residual stream before the head, and a, b two of its copies,

    asymmetry = ||h_a - h_b|| / ||h||.

Methods lay copies one after the other (a b c a b c) or side by side (a a b b c c); the reading with
the smaller value counts. 0 is a model still locked; independent units are at about 1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mugrow.bench.model import Decoder, Weights


@torch.no_grad()
def asymmetry(decoder: Decoder, weights: Weights, tokens_BT: Tensor, source_width: int) -> float:
    """The asymmetry of one model, grown from a source whose width divides its own."""
    width = decoder.spec.width
    assert width % source_width == 0, (width, source_width)
    copies = width // source_width
    h = decoder.stream(weights, tokens_BT)[-1]
    h = F.layer_norm(h, h.shape[-1:])
    after = h.view(-1, copies, source_width).unbind(1)
    beside = h.view(-1, source_width, copies).unbind(2)
    return min(float((a - b).norm() / h.norm()) for a, b, *_ in (after, beside))
