"""Weight interpolation: between a pre-trained model and the one it was adapted to.

    w = (1 - share) w_pretrained + share w_adapted

The path between the two stays in one basin, so a point on it can be better at home than the one
and better under shift than the other (WiSE-FT, Wortsman et al., arXiv 2109.01903).
"""

from collections.abc import Sequence

from torch import Tensor

from mugrow.bench.evaluation import Evaluation, Model, changed, loss_of, same_shape


def evaluate(models: Sequence[Model], windows: Tensor, *, share: float = 0.5) -> dict[str, float]:
    """``loss`` in nats per token at ``share`` of the way from the first model to the second. Raises
    ``UserError`` for models of different shapes."""
    same_shape(models)
    one, other = models
    mixed = {name: w + share * (other.weights[name] - w) for name, w in one.weights.items()}
    return {"loss": loss_of(changed(one, mixed).logits, windows)}


EVALUATION = Evaluation(
    "interpolate",
    "the loss at a point between two models' weights",
    "arXiv 2109.01903",
    ("pretrained", "adapted"),
    evaluate,
)
