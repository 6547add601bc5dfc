"""Emulated fine-tuning: a large model steered by what fine-tuning did to a small one.

    log p = log softmax(large_base + strength (small_tuned - small_base))

with the logits of three models (Mitchell et al., arXiv 2310.12962). With ``strength`` 1 and the
large base equal to the small one it is the small tuned model exactly: up-scaling changes the scale
of pre-training and nothing of fine-tuning. The models need a vocabulary in common, not a shape.
"""

from collections.abc import Sequence

from torch import Tensor

from mugrow.bench.evaluation import Evaluation, Model, loss_of
from mugrow.bench.spec import UserError


def evaluate(
    models: Sequence[Model], windows: Tensor, *, strength: float = 1.0
) -> dict[str, float]:
    """``loss`` in nats per token of the logits ``large + strength * (tuned - base)``. Raises
    ``UserError`` for models of different vocabularies."""
    large, small_base, small_tuned = models
    if len({model.decoder.spec.vocab_size for model in models}) > 1:
        raise UserError("models of different vocabularies have no logits to add")

    def logits(tokens_BT: Tensor) -> Tensor:
        tuned_by = small_tuned.logits(tokens_BT) - small_base.logits(tokens_BT)
        return large.logits(tokens_BT) + strength * tuned_by

    return {"loss": loss_of(logits, windows)}


EVALUATION = Evaluation(
    "emulate",
    "the loss of a large model with a small one's fine-tuning added to its logits",
    "arXiv 2310.12962",
    ("large base", "small base", "small tuned"),
    evaluate,
)
