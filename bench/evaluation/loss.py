"""The loss of one model, on any corpus: what it has learned of a new text, and kept of an old."""

from collections.abc import Sequence

from torch import Tensor

from mugrow.bench.evaluation import Evaluation, Model, loss_of


def evaluate(models: Sequence[Model], windows: Tensor) -> dict[str, float]:
    """``loss`` of one model, in nats per token."""
    (model,) = models
    return {"loss": loss_of(model.logits, windows)}


EVALUATION = Evaluation("loss", "the loss on any corpus", "-", ("model",), evaluate)
