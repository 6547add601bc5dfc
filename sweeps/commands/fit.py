"""``mugrow fit``: a scaling law on anybody's table, with a status before any number."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import check_positive

if TYPE_CHECKING:
    from mugrow.analysis.laws.form import Form, Options
    from mugrow.analysis.laws.result import FitResult
    from mugrow.analysis.laws.rows import Selection
    from mugrow.analysis.laws.selection import FormComparison

VARIABLES = ("n", "d", "c", "s", "g", "lr")


@dataclass(frozen=True)
class FitCommand:
    """A scaling law on anybody's table (CSV, Parquet or JSON lines).

    EXPR is a column or an expression on columns, in backticks where a name is no identifier:
    "`Training FLOP` / (6 * `Model Size`)". One row a run enters the fit, its last, unless
    --checkpoints is given.
    """

    table: Positional[Path]
    form: str
    """The law, see `mugrow list forms`; several, or "all", are compared on the largest runs."""
    loss: Annotated[str, arg(metavar="EXPR")]
    """The loss, in nats per token or any unit."""
    n: Annotated[str | None, arg(metavar="EXPR")] = None
    """Parameters."""
    d: Annotated[str | None, arg(metavar="EXPR")] = None
    """Training tokens."""
    c: Annotated[str | None, arg(metavar="EXPR")] = None
    """Compute in FLOPs; for isoflop the budget, the same number in all its rows."""
    s: Annotated[str | None, arg(metavar="EXPR")] = None
    """Optimizer steps."""
    g: Annotated[str | None, arg(metavar="EXPR")] = None
    """Growth factor."""
    var: Annotated[tuple[str, ...], arg(metavar="NAME=EXPR ...")] = ()
    """Further variables that a form reads."""
    where: Annotated[str | None, arg(metavar="EXPR")] = None
    """The rows to use, as in 'loss < 3.4 and corpus == "c4"'."""
    run: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that says which rows are one run: only its last enters the fit."""
    step: Annotated[str | None, arg(metavar="EXPR")] = None
    """The order of a run's rows; --d by default."""
    checkpoints: bool = False
    """Fit all rows of a run but its first tenth."""
    lr: Annotated[str | None, arg(metavar="EXPR")] = None
    """The learning rate; the column lr by default, where there is one."""
    allow_mixed: bool = False
    """Fit rows of several learning rates or FLOP conventions together."""
    group: Annotated[str | None, arg(metavar="COLUMN")] = None
    """What the bootstrap resamples: rows that were not drawn independently share a group."""
    delta: float | None = None
    """Of the Huber loss on log loss; the form's own by default."""
    bootstrap: Annotated[int, arg(metavar="RESAMPLES")] = 0
    """Resamples for standard errors and 95 % intervals."""
    predict: Annotated[tuple[str, ...], arg(metavar="N,D ...")] = ()
    """Predict the loss at these values of the form's variables."""
    optimal: Annotated[tuple[float, ...], arg(metavar="FLOPS ...")] = ()
    """The parameters and tokens with the lowest loss at these budgets."""
    fixed: Annotated[tuple[str, ...], arg(metavar="PARAM=VALUE ...")] = ()
    """Parameters that are known."""
    seed: int = 0
    """Of the bootstrap."""
    exclusions: Path | None = None
    """Write the rows left out, with the reason, to this .csv or .parquet file."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.laws.rows import RowPolicy, select, write_exclusions
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.table import read_table
        from mugrow.sweeps.commands.fit_text import show

        forms = self._forms()
        columns = self._columns(forms)
        options = self._options()
        if self.exclusions is not None and self.exclusions.suffix not in (".csv", ".parquet"):
            raise UserError(f"--exclusions writes .csv or .parquet, not {self.exclusions}")
        policy = RowPolicy(
            where=self.where,
            run=self.run,
            step=self.step,
            lr=self.lr,
            group=self.group,
            checkpoints=self.checkpoints,
            curves=len(forms) == 1 and forms[0].curves,
            allow_mixed=self.allow_mixed,
        )
        zeros = {name for form in forms for name in _may_be_zero(form)}
        selection = select(read_table(self.table), columns, policy, zeros)
        if self.exclusions is not None:
            write_exclusions(self.exclusions, selection)
        found = fit_table(forms, selection, options)
        if self.json:
            print(json.dumps(to_json(found), indent=2, allow_nan=False))
        else:
            show(found)

    def _forms(self) -> list["Form"]:
        from mugrow.analysis.laws import get_form, names

        asked = names() if self.form == "all" else self.form.split(",")
        return [get_form(name) for name in asked]

    def _columns(self, forms: list["Form"]) -> dict[str, str]:
        """Expressions by the variable they give; ``UserError`` where a form lacks one."""
        given = {name: getattr(self, name) for name in VARIABLES} | _pairs("var", self.var)
        if not any("lr" in form.variables for form in forms) or self.form == "all":
            given["lr"] = None  # it is for the row policy, not for the law
        columns = {name: expression for name, expression in given.items() if expression is not None}
        for form in forms if self.form != "all" else []:
            for name in form.variables:
                if name not in columns:
                    flag = f"--{name}" if name in VARIABLES else f"--var {name}=EXPR"
                    raise UserError(
                        f"form {form.name!r} reads {', '.join(form.variables)}: {flag} is missing"
                    )
        return columns | {"loss": self.loss}

    def _options(self) -> "Options":
        from mugrow.analysis.laws.form import Options

        if self.bootstrap:
            check_positive("bootstrap", self.bootstrap)
        if self.delta is not None and not self.delta > 0:
            raise UserError(f"--delta must be above 0, not {self.delta}")
        fixed = _pairs("fixed", self.fixed)
        return Options(
            delta=self.delta,
            bootstrap=self.bootstrap,
            seed=self.seed,
            predict=[[_number("predict", one) for one in point.split(",")]
                     for point in self.predict],
            optimal=self.optimal,
            fixed={name: _number("fixed", value) for name, value in fixed.items()},
        )  # fmt: skip


@dataclass(frozen=True)
class TableFit:
    """A fit to the ``rows`` of a table; of several forms that of the best, with how they compare,
    the ``selection``."""

    fit: "FitResult"
    rows: "Selection"
    selection: "FormComparison | None" = None

    def to_json(self) -> dict[str, object]:
        """The fit's keys beside those of the comparison and of the rows left out."""
        selection = {} if self.selection is None else {"selection": asdict(self.selection)}
        excluded = [{"row": row, "reason": why} for row, why in self.rows.excluded.items()]
        rows = {"undecayed": self.rows.undecayed, "exclusions": excluded}
        return self.fit.to_json() | selection | rows


def fit_table(forms: "list[Form]", rows: "Selection", options: "Options") -> TableFit:
    """Fit the one form, or compare several on the largest rows and fit the best to all.

    ``UserError`` where none of several can be recommended.
    """
    from mugrow.analysis.laws.fit import fit_with
    from mugrow.analysis.laws.selection import comparable, compare, largest

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
    return TableFit(fit_with(form, points, replace(options, groups=groups)), rows, comparison)


def _scores(comparison: "FormComparison") -> str:
    """Why each of the forms compared is no winner, in one line."""
    forms = [
        f"{one.form} {one.status}" + ("" if one.are is None else f" (ARE {one.are:.2%})")
        for one in comparison.scores
    ]
    return ", ".join([*forms, f"the best small model {comparison.baseline_are:.2%}"])


def _may_be_zero(form: "Form") -> tuple[str, ...]:
    """The variables that the form lets be 0; a procedure checks its own."""
    zeros: tuple[str, ...] = getattr(form.law, "may_be_zero", form.variables)
    return zeros


def _pairs(option: str, words: tuple[str, ...]) -> dict[str, str]:
    for word in words:
        if not word.partition("=")[1]:
            raise UserError(f"--{option} takes NAME=VALUE, not {word!r}")
    return dict(word.split("=", 1) for word in words)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--{option} takes numbers, not {text!r}") from None
