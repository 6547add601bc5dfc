"""Training compute by one convention: forward and backward matrix products, head included.

Per token, with ``M`` the weights that multiply activations (all matrices and the readout; a tied
embedding counts as the readout it is; table look-ups are free), context T, depth L, and A the heads
times their size, which is the width unless ``query_heads`` says otherwise:

    forward   2 M + L * 2 * 2 A (T + 1) / 2      backward   twice that

Grouped keys and values (``kv_heads``) have fewer weights; queries attend as many times as before.
The second term is causal attention, scores and mixing, over the (T + 1) / 2 positions a token sees
on average, fewer behind a ``window``. Norms, also of queries and keys, rotations, activations, the
optimizer and validation are not counted. The usual ``6ND``, with N all parameters (Hoffmann et al.,
arXiv 2203.15556), is kept beside it: on small models with a large vocabulary or a long context the
two differ by tens of per cent.
"""

import math

from mugrow.bench.model import count, parameters
from mugrow.bench.spec import ModelSpec

CONVENTION = "forward + backward matrix products, head and causal attention included"


def per_token(model: ModelSpec, *, causal: bool = True) -> float:
    """Training FLOPs a token; ``causal=False`` counts attention over all T positions, also those
    behind a window."""
    kinds = ("matrix", "readout", *(("embedding",) if model.tied else ()))
    matmul = sum(
        math.prod(shape)
        for name, (shape, kind) in parameters(model).items()
        if kind in kinds and name != "positions.weight"
    )
    seen = _seen(model) if causal else model.context
    attention = model.depth * 2 * model.attention_width * seen
    return 3 * 2 * (matmul + attention)


def _seen(model: ModelSpec) -> float:
    """How many positions a token sees, on average over the context."""
    T, W = model.context, min(model.window or model.context, model.context)
    return (T + 1) / 2 if W == T else W - W * (W - 1) / (2 * T)


def per_token_6n(model: ModelSpec) -> float:
    """The rule of thumb: 6 FLOPs a parameter and token, all parameters counted."""
    return 6.0 * count(model)[0]
