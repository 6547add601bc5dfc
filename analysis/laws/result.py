"""What a fit returns: a status first, and numbers only where the status allows them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["converged", "bound_hit", "unidentified", "not_converged"]
Ends = tuple[float, float]
"""The ends of a 95 % percentile interval."""


@dataclass(frozen=True)
class FitResult:
    """A fitted law.

    ``converged``: a minimum inside the form's ranges. ``bound_hit``: the minimum is at or outside
    the edge of what the form means (a term that vanished, an exponent of the wrong sign); the
    numbers are those of the minimum. ``unidentified``: the rows cannot tell the parameters apart.
    ``not_converged``: no start reached a minimum. ``reason`` says it in words. In the last two
    states there are no numbers: ``params``, ``predictions`` and ``optimal`` are empty.

    ``objective`` is the sum over rows (never the mean), ``delta`` that of the Huber loss, None for
    plain least squares on the loss. ``starts_at_optimum`` is the share of starts that end within
    1e-6 of the best objective, ``condition`` that of the Jacobian with columns of equal norm.
    ``residuals`` are ln L - ln L_predicted by row; ``slopes`` theirs against logs of the variables
    (``n``, ``d``, ``d/n``). ``predictions`` have keys of the form's variables, ``loss`` and
    ``interval``; ``optimal`` has ``c, n, d, tokens_per_parameter, loss`` and ``interval`` by name.
    ``extras`` are facts that only one form has.
    """

    form: str
    status: Status
    reason: str = ""
    params: Mapping[str, float] = field(default_factory=dict)
    objective: float | None = None
    delta: float | None = None
    n_rows: int = 0
    n_groups: int = 0
    starts: int = 0
    starts_at_optimum: float | None = None
    condition: float | None = None
    intervals: Mapping[str, Ends] = field(default_factory=dict)
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    bootstrap: Mapping[str, int] = field(default_factory=lambda: {"resamples": 0, "converged": 0})
    residuals: Sequence[float] = ()
    slopes: Mapping[str, float] = field(default_factory=dict)
    predictions: Sequence[Mapping[str, Any]] = ()
    optimal: Sequence[Mapping[str, Any]] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything but the residuals by row, with null for what is not finite."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__}
        residuals = shown.pop("residuals")
        if residuals:
            rms = math.sqrt(sum(r * r for r in residuals) / len(residuals))
            shown["residual_rms"] = rms
        return {name: _plain(value) for name, value in shown.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
