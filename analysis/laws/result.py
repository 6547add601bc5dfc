"""What a fit returns: a status first, and numbers only where the status allows them.

Numbers are plain floats: nan where there is none, infinite where an end is open. JSON has neither;
``to_json`` of each class gives the keys that a file has, and the file's edge writes nan and
infinity as null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

Status = Literal["converged", "bound_hit", "unidentified", "not_converged"]
Ends = tuple[float, float]
"""The ends of a 95 % percentile interval."""


@dataclass(frozen=True)
class Bootstrap:
    """How many resamples there were, and of how many the fit converged."""

    resamples: int = 0
    converged: int = 0


@dataclass(frozen=True)
class Prediction:
    """The loss of a law ``at`` a point, the values of the form's variables by their names."""

    at: Mapping[str, float]
    loss: float
    interval: Ends | None = None

    def to_json(self) -> dict[str, object]:
        return {**self.at, "loss": self.loss, "interval": self.interval}


@dataclass(frozen=True)
class Allocation:
    """The parameters ``n`` and tokens ``d`` of lowest loss for ``c`` FLOPs, under ``c = 6 n d``.

    ``loss`` is None of laws that say where it is lowest, not how low. ``interval`` has the ends by
    the name of what they are of; it is empty, or its entries None, without resamples.
    """

    c: float
    n: float
    d: float
    tokens_per_parameter: float
    loss: float | None
    interval: Mapping[str, Ends | None]


@dataclass(frozen=True)
class Extras:
    """Facts that only one form has: a form with any returns a subclass of its own.

    ``fixed`` are the parameters that were given and not fitted, by name.
    """

    fixed: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, object]:
        """The facts that there are, by the names of the fields."""
        facts = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True)
class FitResult:
    """A fitted law.

    ``converged``: a minimum inside the form's ranges. ``bound_hit``: the minimum is at or outside
    the edge of what the form means (a term that vanished, an exponent of the wrong sign); the
    numbers are those of the minimum. ``unidentified``: the rows cannot tell the parameters apart.
    ``not_converged``: no start reached a minimum. ``reason`` says it in words. In the last two
    states there are no numbers: ``params``, ``predictions`` and ``optimal`` are empty.

    ``params``, ``intervals`` and ``standard_errors`` are by the name of the parameter, in the units
    of the rows. ``objective`` is the sum over rows (never the mean), ``delta`` that of the Huber
    loss, None for plain least squares on the loss. ``starts_at_optimum`` is the share of starts
    that end within 1e-6 of the best objective, ``condition`` that of the Jacobian with columns of
    equal norm. ``residuals`` (rows,) are ln L - ln L_predicted; ``slopes`` theirs against logs of
    the variables (``n``, ``d``, ``d/n``).
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
    bootstrap: Bootstrap = Bootstrap()
    residuals: Sequence[float] = ()
    slopes: Mapping[str, float] = field(default_factory=dict)
    predictions: Sequence[Prediction] = ()
    optimal: Sequence[Allocation] = ()
    extras: Extras = Extras()

    @property
    def residual_rms(self) -> float | None:
        """Root mean square of the residuals; None where there are none."""
        if not self.residuals:
            return None
        return math.sqrt(sum(r * r for r in self.residuals) / len(self.residuals))

    def to_json(self) -> dict[str, object]:
        """Everything, but of the residuals by row their root mean square alone."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        del shown["residuals"]
        return shown | ({"residual_rms": self.residual_rms} if self.residuals else {})
