"""A scaling law fitted to anyone's table of runs, with a status before any number.

Which rows enter is decided by ``rows``; of several forms the one that best predicts the runs with
the most compute is fitted (``selection``). Variables and loss are columns, or expressions on
columns: ``6 * params * tokens``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mugrow.analysis.laws import REGISTRY, get_form
from mugrow.analysis.laws.cautions import cautions, of_residuals
from mugrow.analysis.laws.fit import fit_with
from mugrow.analysis.laws.form import Form, Options
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.rows import RowPolicy, Selection, select, write_exclusions
from mugrow.analysis.laws.selection import FormComparison, comparable, compare, largest
from mugrow.analysis.read.expression import names_in
from mugrow.analysis.read.table import Tables, table_in
from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class TableFit:
    """A fit to the ``rows`` of a table; of several forms that of the best, with how they compare,
    the ``selection``. ``cautions`` say what to beware of, ``notes`` how the table was read."""

    fit: FitResult
    rows: Selection
    selection: FormComparison | None = None
    cautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fit's keys beside those of the comparison and of the rows left out."""
        selection = {} if self.selection is None else {"selection": asdict(self.selection)}
        excluded = [{"row": row, "reason": why} for row, why in self.rows.excluded.items()]
        rows = {
            "undecayed": self.rows.undecayed,
            "exclusions": excluded,
            "cautions": self.cautions,
            "notes": self.notes,
        }
        return self.fit.to_json() | selection | rows


def fit_table(
    forms: Sequence[Form],
    rows: Selection,
    options: Options,
    columns: Mapping[str, str] | None = None,
) -> TableFit:
    """Fit the one form, or compare several on the largest rows and fit the best to all. ``columns``
    are the expressions of the variables, where there are such.

    ``UserError`` where none of several can be recommended.
    """
    points, form, comparison = rows.points, forms[0], None
    if len(forms) > 1:
        rivals = comparable(forms, points, options.fixed)
        comparison = compare(
            rivals, points, largest(points), delta=options.delta, fixed=options.fixed
        )
        winner = next((one for one in rivals if one.name == comparison.winner), None)
        if winner is None:
            raise UserError(f"no form can be recommended: {_scores(comparison)}")
        form = winner
        known = {name: v for name, v in options.fixed.items() if name in form.params}
        options = replace(options, fixed=known)
    groups = None if rows.groups is None else rows.groups.tolist()
    found = fit_with(form, points, replace(options, groups=groups))
    beware = cautions(form, found, points, options, columns or {})
    return TableFit(found, rows, comparison, beware)


def _scores(comparison: FormComparison) -> str:
    """Why each of the forms compared is no winner, in one line."""
    forms = [
        f"{one.form} {one.status}" + ("" if one.are is None else f" (ARE {one.are:.2%})")
        for one in comparison.scores
    ]
    return ", ".join([*forms, f"the best small model {comparison.baseline_are:.2%}"])


def fit(
    table: Tables,
    form: str,
    *,
    loss: str,
    n: str | None = None,
    d: str | None = None,
    c: str | None = None,
    s: str | None = None,
    g: str | None = None,
    lr: str | None = None,
    variables: Mapping[str, str] | None = None,
    policy: RowPolicy | None = None,
    options: Options | None = None,
    exclusions: str | Path | None = None,
) -> TableFit:
    """Fit a law to a table of runs, in a file or several (see ``mugrow.read_table``), or a data
    frame: what `mugrow fit` prints.

    ``form`` is a name of `mugrow list forms`; several, comma-separated, or ``all``, are compared.
    ``loss`` (nats per token, or any unit), ``n`` (parameters), ``d`` (tokens), ``c`` (FLOPs), ``s``
    (steps), ``g`` (growth factor), ``lr`` and further ``variables`` by name are columns, or
    expressions on columns. ``policy`` says which rows are runs and which of them enter,
    ``options`` how to fit, what is known and what to predict. The rows left out are written to the
    file ``exclusions`` (.csv or .parquet) before the fit, which may fail for want of rows. Raises
    ``UserError`` for a form, column, expression or row that does not fit.

    >>> import mugrow, pandas as pd
    >>> sizes = pd.DataFrame({"params": [1e6, 4e6, 16e6, 64e6, 256e6]})
    >>> sizes["loss"] = 1.5 + 40 * sizes["params"] ** -0.3
    >>> found = mugrow.fit(sizes, "power", loss="loss", variables={"x": "params"})
    >>> found.fit.status, round(found.fit.params["c"], 3)
    ('converged', 1.5)
    """
    forms = REGISTRY.loadable()[0] if form == "all" else [*map(get_form, form.split(","))]
    given = {"n": n, "d": d, "c": c, "s": s, "g": g} | dict(variables or {})
    if form != "all" and any("lr" in one.variables for one in forms):
        given["lr"] = lr  # else it is for the policy, not for the law
    columns = {name: expression for name, expression in given.items() if expression is not None}
    for one in forms if form != "all" else []:
        for name in one.variables:
            if name not in columns:
                reads = ", ".join(one.variables)
                raise UserError(f"form {one.name!r} reads {reads}: {_flag(name)} is missing")
    read = table_in(table)
    frame = read.frame
    zeros = {name for one in forms for name in _may_be_zero(one)}
    whole = len(forms) == 1 and forms[0].curves
    policy = replace(policy or RowPolicy(), curves=whole)
    rows = select(frame, columns | {"loss": loss}, replace(policy, lr=lr or policy.lr), zeros)
    if exclusions is not None:
        write_exclusions(Path(exclusions), rows)
    found = fit_table(forms, rows, options or Options(), columns)
    used = {name for one in (*columns.values(), loss) for name in names_in(frame, one)}
    used |= {one for one in (policy.run, policy.group, policy.seeds) if one is not None}
    beware = of_residuals(found.fit, rows, frame, used)
    return replace(found, cautions=(*found.cautions, *beware), notes=read.notes)


def _flag(variable: str) -> str:
    """How the command takes a variable."""
    named = ("n", "d", "c", "s", "g", "lr")
    return f"--{variable}" if variable in named else f"--var {variable}=EXPR"


def _may_be_zero(form: Form) -> tuple[str, ...]:
    """The variables that the form lets be 0; a procedure checks its own."""
    zeros: tuple[str, ...] = getattr(form.law, "may_be_zero", form.variables)
    return zeros
