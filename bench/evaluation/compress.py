"""Compression after training: the smallest weights to zero, and the others to few bits.

Of each hidden matrix the share ``sparsity`` of entries with the least magnitude becomes 0 (Han et
al., arXiv 1506.02626); then each row is rounded to the 2**bits - 1 evenly spaced levels of its own
range (``bits`` 0: not rounded). Embeddings, norms and head stay as they are, in 32 bits.

``bytes`` is what the model takes: a bit for each entry that says whether it is there, where any is
not, and ``bits`` for those that are, with one 32-bit scale a row.

Train Large, Then Compress (Li et al., arXiv 2002.11794): at equal bytes the larger model,
compressed harder, is the better one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mugrow.bench.evaluation import Evaluation, Model, changed, loss_of, matrices
from mugrow.bench.spec import UserError

FULL_BITS = 32


def evaluate(
    models: Sequence[Model], windows: Tensor, *, sparsity: float = 0.0, bits: float = 0.0
) -> dict[str, float]:
    """``loss`` in nats per token and ``bytes`` of one model, compressed. Raises ``UserError`` for a
    share or a number of bits that cannot be."""
    if not 0 <= sparsity < 1:
        raise UserError(f"sparsity is a share of the entries, at least 0 and below 1: {sparsity}")
    if bits not in (0, *range(2, 17)):
        raise UserError(f"bits are 2 to 16, or 0 for no rounding, not {bits}")
    (model,) = models
    small = {name: rounded(pruned(w, sparsity), int(bits)) for name, w in matrices(model.weights)}
    return {
        "loss": loss_of(changed(model, small).logits, windows),
        "bytes": size_bytes(model, sparsity, int(bits)),
    }


def pruned(weight: Tensor, sparsity: float) -> Tensor:
    """The matrix with ``sparsity`` of its entries 0, those of least magnitude."""
    count = round(sparsity * weight.numel())
    if count == 0:
        return weight
    threshold = weight.abs().flatten().kthvalue(count).values
    return torch.where(weight.abs() > threshold, weight, 0)


def rounded(weight_OI: Tensor, bits: int) -> Tensor:
    """Each row on 2**bits - 1 evenly spaced levels around 0; 0 stays 0."""
    if not bits:
        return weight_OI
    levels = 2 ** (bits - 1) - 1
    scale_O1: Tensor = weight_OI.abs().amax(1, keepdim=True).clamp_min(1e-30) / levels
    return scale_O1 * torch.round(weight_OI / scale_O1)


def size_bytes(model: Model, sparsity: float, bits: int) -> float:
    """Of all weights, as stored."""
    stored = float(FULL_BITS * sum(w.numel() for w in model.weights.values()))
    for _, weight in matrices(model.weights):
        stored -= FULL_BITS * weight.numel()
        stored += weight.numel() * (sparsity > 0)
        stored += (weight.numel() - round(sparsity * weight.numel())) * (bits or FULL_BITS)
        stored += FULL_BITS * len(weight) * (bits > 0)
    return stored / 8


EVALUATION = Evaluation(
    "compress",
    "the loss after magnitude pruning and rounding, and the bytes that are left",
    "arXiv 2002.11794",
    ("model",),
    evaluate,
)
