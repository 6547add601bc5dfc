"""One law and its rows, made ready to fit: units, what is fixed, groups of rows.

Every variable is measured in units of its geometric mean, which separates coefficients from
exponents: the condition of the Jacobian on the Chinchilla points is 33, and 220 in raw units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.form import Form, Options, Points, Pointwise, Units, internal, natural
from mugrow.analysis.laws.objective import Objective
from mugrow.analysis.laws.resample import group_rows
from mugrow.analysis.laws.result import Extras, FitResult
from mugrow.analysis.stats import Array


@dataclass(frozen=True, eq=False)
class Problem:
    """One law, its rows in fitting units, and what is asked of it.

    ``columns`` are in the user's units, ``groups`` (rows,) numbers the independent units, and
    ``empty`` is a result without numbers.
    """

    form: Form
    law: Pointwise
    columns: Points
    units: Units
    objective: Objective
    groups: npt.NDArray[np.int64]
    options: Options
    empty: FitResult

    def params(self, theta: Array) -> Array:
        """Natural parameters (B, p) in the user's units, of free internal ones (B, k)."""
        params = natural(self.form, self.law, self.objective.full(theta))
        with np.errstate(all="ignore"):
            return self.law.rescale(params, self.units)

    def of_rows(self, kept: npt.NDArray[np.bool_]) -> "Problem":
        """The same problem of some rows (rows,), in the same units."""
        objective = self.objective
        return replace(
            self,
            columns={name: column[kept] for name, column in self.columns.items()},
            groups=self.groups[kept],
            objective=replace(
                objective,
                x={name: column[kept] for name, column in objective.x.items()},
                loss=objective.loss[kept],
            ),
        )

    def form_starts(self) -> Array:
        """Starts (S, k) of the form, as free internal parameters."""
        x, loss, base = self.objective.x, self.objective.loss, self.objective.base
        with np.errstate(all="ignore"):
            return self.law.starts(x, loss, base)[:, self.objective.free]

    def given_starts(self, starts: Mapping[str, npt.ArrayLike]) -> Array:
        """Starts in natural parameters and the user's units, as free internal ones (S, k)."""
        params = np.stack([np.asarray(starts[name], float) for name in self.form.params], axis=1)
        inverse = {name: 1 / unit for name, unit in self.units.items()}
        relative = self.law.rescale(params, inverse)
        return internal(self.form, self.law, relative)[:, self.objective.free]


def state_problem(form: Form, law: Pointwise, columns: Points, options: Options) -> Problem:
    """The problem of checked ``columns``, each (rows,); see ``check_points``."""
    fixed = dict(law.fixed) | dict(options.fixed)
    # a coefficient has the units of the variables to a power that is yet to be fitted
    keep_units = any(name in law.positive for name in fixed)
    units = {name: 1.0 if keep_units else _geometric_mean(columns[name]) for name in form.variables}
    given = np.array([[fixed.get(name, np.nan) for name in form.params]])
    on_log = options.delta is not None or law.delta is not None
    delta = options.delta if options.delta is not None else law.delta
    objective = Objective(
        law=law,
        x={name: columns[name] / units[name] for name in form.variables},
        loss=columns["loss"],
        base=internal(form, law, given)[0],
        free=np.flatnonzero(np.isnan(given[0])),
        delta=np.inf if delta is None else delta,
        on_log=on_log,
    )
    groups = group_rows(options.groups, len(columns["loss"]))
    empty = FitResult(
        form=form.name,
        status="unidentified",
        delta=delta,
        n_rows=len(groups),
        n_groups=int(groups.max()) + 1,
        extras=Extras(fixed or None),
    )
    return Problem(form, law, columns, units, objective, groups, options, empty)


def _geometric_mean(column: Array) -> float:
    logs = np.log(column[column > 0])
    return float(np.exp(logs.mean())) if len(logs) else 1.0
