"""What goes on inside a model: scales of activations and weights, and how much attention says.

For every block and every module of it:

    activation/MODULE       mean |x| of the module's output
    logit_max/BLOCK         the largest attention logit, before the softmax
    spectral/MATRIX         the largest singular value, times sqrt(in / out): about 1 keeps a
                            vector's root mean square
    weight_rank/MATRIX      the singular values that hold 90 % of the matrix's squares, as a share
                            of all of them
    rank/BLOCK              attention rank: the singular values that hold 90 % of the squares of a
                            head's attention matrix, mean over heads and windows, as a share of T
    mass/BLOCK              of a head's attention matrix, the largest share of the squares that one
                            column holds, likewise

In deep models attention of late blocks collapses to rank one: every position looks at the same one
(Inheritune, Sanyal et al., arXiv 2404.08634), which is where their blocks can be left out.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mugrow.bench.evaluation import AT_ONCE, Evaluation, Model, matrices

SHARE = 0.9
LOGITS = ".attention.logits"


def evaluate(models: Sequence[Model], windows: Tensor) -> dict[str, float]:
    """Every scale of one model by name, ``KIND/MODULE``, on its first windows."""
    (model,) = models
    seen: dict[str, Tensor] = {}
    observing = replace(model.decoder, observe=seen.__setitem__)
    observing(model.weights, windows[:AT_ONCE, :-1])
    found: dict[str, float] = {}
    for module, x in seen.items():
        if module.endswith(LOGITS):
            block = module.removesuffix(LOGITS)
            attention, largest = attended(x)
            found[f"logit_max/{block}"] = largest
            found[f"rank/{block}"], found[f"mass/{block}"] = rank_and_mass(attention)
        else:
            found[f"activation/{module}"] = float(x.abs().mean())
    for name, weight in matrices(model.weights):
        outs, ins = weight.shape
        values = torch.linalg.svdvals(weight)
        matrix = name.removesuffix(".weight")
        found[f"spectral/{matrix}"] = float(values[0]) * (ins / outs) ** 0.5
        found[f"weight_rank/{matrix}"] = float(rank(values)) / len(values)
    return found


def attended(logits_BHTT: Tensor) -> tuple[Tensor, float]:
    """Causal attention ``(B, H, T, T)`` and the largest of the logits that it sees."""
    T = logits_BHTT.shape[-1]
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    masked = logits_BHTT.masked_fill(hidden, -torch.inf)
    return masked.softmax(-1), float(masked.amax())


def rank_and_mass(attention_BHTT: Tensor) -> tuple[float, float]:
    """Means over the batch and heads of attention: the share of singular values that hold ``SHARE``
    of the squares, and the share of the squares in the heaviest column."""
    ranks = rank(torch.linalg.svdvals(attention_BHTT))
    columns = attention_BHTT.square().sum(-2)
    mass = columns.amax(-1) / columns.sum(-1)
    T = attention_BHTT.shape[-1]
    return float(ranks.double().mean()) / T, float(mass.mean())


def rank(values: Tensor) -> Tensor:
    """How many of the singular values ``(..., N)``, largest first, hold a share of the squares."""
    squares = values.square()
    held = squares.cumsum(-1) / squares.sum(-1, keepdim=True)
    return (held < SHARE).sum(-1) + 1


EVALUATION = Evaluation(
    "observe",
    "scales of activations, attention logits and weights; rank and mass of attention",
    "arXiv 2404.08634",
    ("model",),
    evaluate,
)
