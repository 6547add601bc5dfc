"""``mugrow fit``: a scaling law on anybody's table, with a status before any number."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from mugrow.bench.entries import assigned
from mugrow.bench.spec import UserError
from mugrow.sweeps.arguments import Amount
from mugrow.sweeps.commands.output import check_positive

if TYPE_CHECKING:
    from mugrow.analysis.laws.form import Options


@dataclass(frozen=True)
class FitCommand:
    """A scaling law on anybody's table, in a file or several (see `mugrow read`).

    EXPR is a column or an expression on columns, in backticks where a name is no identifier:
    "`Training FLOP` / (6 * `Model Size`)". One row a run enters the fit, its last, unless
    --checkpoints is given.

    A fit that is unidentified or not converged has no numbers and is an answer: the exit code is 0
    too, and `status` of --json says which it is.
    """

    table: Annotated[Positional[tuple[Path, ...]], arg(metavar="TABLE ...")]
    """Files, or a folder of `mugrow run`."""
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
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one name apart."""
    sorted: bool = False
    """Take --step (or --d) for the order of a run's rows, whatever the file's is."""
    checkpoints: bool = False
    """Fit all rows of a run but its first tenth."""
    lr: Annotated[str | None, arg(metavar="EXPR")] = None
    """The learning rate; the column lr by default, where there is one."""
    allow_mixed: bool = False
    """Fit rows together that differ in more than the law's variables."""
    best: bool = False
    """Of rows that agree in the law's variables, as in a sweep, fit the one of lowest loss."""
    group: Annotated[str | None, arg(metavar="COLUMN")] = None
    """What the bootstrap resamples: rows that were not drawn independently share a group."""
    delta: float | None = None
    """Of the Huber loss on log loss; the form's own by default."""
    bootstrap: Annotated[int, arg(metavar="RESAMPLES")] = 0
    """Resamples for standard errors and 95 % intervals."""
    predict: Annotated[tuple[str, ...], arg(metavar="N,D ...")] = ()
    """Predict the loss at these values of the form's variables."""
    optimal: Annotated[tuple[Amount, ...], arg(metavar="FLOPS ...")] = ()
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
        from mugrow.analysis.laws import REGISTRY
        from mugrow.analysis.laws.rows import RowPolicy
        from mugrow.analysis.laws.table_fit import fit
        from mugrow.analysis.read.plain import to_json
        from mugrow.sweeps.commands.fit_text import show

        options = self._options()
        if self.exclusions is not None and self.exclusions.suffix not in (".csv", ".parquet"):
            raise UserError(f"--exclusions writes .csv or .parquet, not {self.exclusions}")
        policy = RowPolicy(
            where=self.where,
            run=self.run,
            step=self.step,
            group=self.group,
            seeds=self.seeds,
            checkpoints=self.checkpoints,
            by_x=self.sorted,
            best=self.best,
            allow_mixed=self.allow_mixed,
        )
        found = fit(
            self.table,
            self.form,
            loss=self.loss,
            n=self.n,
            d=self.d,
            c=self.c,
            s=self.s,
            g=self.g,
            lr=self.lr,
            variables=_pairs("var", self.var),
            policy=policy,
            options=options,
            exclusions=self.exclusions,
        )
        if self.form == "all":
            for reason in REGISTRY.loadable()[1]:
                print(reason, file=sys.stderr)
        if self.json:
            print(json.dumps(to_json(found), indent=2, allow_nan=False))
        else:
            show(found)

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


def _pairs(option: str, words: tuple[str, ...]) -> dict[str, str]:
    return assigned(words, f"--{option} takes NAME=VALUE")


def _number(option: str, text: str) -> float:
    from mugrow.analysis.read.cells import amount

    try:
        return amount(text)
    except UserError:
        raise UserError(f"--{option} takes numbers, not {text!r}") from None
