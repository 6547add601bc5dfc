"""Which form to believe: each is fitted without the largest runs, and predicts them.

A form is wanted for what lies beyond the runs, so forms are ranked by the mean absolute relative
error (ARE) |L - L_predicted| / L on the runs with the most compute, which none of them saw. Their
objectives on the runs they saw say little: on the points of Besiroglu et al. (arXiv 2404.10102) the
form with tied exponents has the higher objective and the lower error. What to beat is "as good as
the best small model": predicting the lowest loss seen, which for a form worth its parameters is far
behind. (Choshen et al. 2024, arXiv 2410.11840, find 18 % for it over many families.)
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Form, Points, Pointwise
from mugrow.analysis.laws.result import Status
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

Mask = npt.NDArray[np.bool_]

HELD_OUT = 0.1
RULE = (
    f"the {HELD_OUT:.0%} of rows with the most compute are held out; the lowest mean absolute "
    "relative error on them wins, if its fit converged and it beats the best small model"
)


@dataclass(frozen=True)
class FormScore:
    """How a form fitted to the smaller rows predicts the largest; ``are`` None: it could not."""

    form: str
    status: Status
    reason: str
    objective: float | None
    are: float | None


@dataclass(frozen=True)
class FormComparison:
    """Forms by their held-out error, the best first; ``winner`` None: none beats the baseline."""

    held_out: int
    kept: int
    baseline_are: float
    scores: Sequence[FormScore]
    winner: str | None
    rule: str = RULE


def largest(points: Points) -> Mask:
    """The rows to hold out: those with the most compute, at least one and all that tie with it.

    Compute is ``c``, or else the product of the variables: n d is compute up to a factor.
    """
    variables = [values for name, values in points.items() if name != "loss"]
    compute = points["c"] if "c" in points else np.prod(variables, axis=0)
    count = max(1, math.ceil(HELD_OUT * len(compute)))
    return np.asarray(compute >= np.sort(compute)[-count] * (1 - 1e-9))


def compare(
    forms: Iterable[Form],
    points: Points,
    held_out: Mask,
    *,
    delta: float | None = None,
    fixed: Mapping[str, float] | None = None,
) -> FormComparison:
    """Score forms, pointwise ones, on the rows held out. ``UserError`` where no row is kept."""
    if held_out.all():
        raise UserError("forms are compared on the largest rows, but all rows are of one size")
    kept = {name: values[~held_out] for name, values in points.items()}
    target = {name: values[held_out] for name, values in points.items()}
    baseline = _error(np.full(held_out.sum(), kept["loss"].min()), target["loss"])
    scores = [_score(form, kept, target, delta, fixed) for form in forms]
    scores.sort(key=lambda score: (score.are is None, score.are or 0.0))
    winners = [one.form for one in scores if one.status == "converged" and _below(one, baseline)]
    return FormComparison(
        held_out=int(held_out.sum()),
        kept=int((~held_out).sum()),
        baseline_are=baseline,
        scores=scores,
        winner=winners[0] if winners else None,
    )


def _below(score: FormScore, baseline: float) -> bool:
    return score.are is not None and score.are < baseline


def _score(
    form: Form,
    kept: Points,
    target: Points,
    delta: float | None,
    fixed: Mapping[str, float] | None,
) -> FormScore:
    asked = np.stack([target[name] for name in form.variables], axis=1)
    known = {name: value for name, value in (fixed or {}).items() if name in form.params}
    result = fit(form, kept, delta=delta, fixed=known, predict=asked.tolist())
    predicted = [prediction.loss for prediction in result.predictions]
    are = _error(np.array(predicted), target["loss"]) if predicted else None
    return FormScore(form.name, result.status, result.reason, result.objective, are)


def _error(predicted: Array, loss: Array) -> float:
    return float(np.mean(np.abs(loss - predicted) / loss))


def comparable(forms: Iterable[Form], points: Points, known: Collection[str] = ()) -> list[Form]:
    """The forms that can be compared: of single rows, reading every variable given but compute.

    A form that comes with numbers of its own (the exponents of ``chinchilla_pinned``) may have them
    from the very runs held out; it is left out unless the user gave those parameters, ``known``.
    """
    return [
        form
        for form in forms
        if isinstance(form.law, Pointwise)
        and set(form.variables) <= points.keys()
        and points.keys() - set(form.variables) <= {"loss", "c"}
        and set(form.law.fixed) <= set(known)
    ]
