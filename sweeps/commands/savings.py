"""``mugrow savings``: compute saved, on anybody's table of loss curves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import check_figure, print_table, write_figure


@dataclass(frozen=True)
class SavingsCommand:
    """Compute savings on anybody's table of loss curves (CSV, Parquet or JSON lines).

    EXPR is a column or an expression on columns, such as "6 * params * tokens".
    """

    curves: Positional[Path]
    run: Annotated[str, arg(metavar="COLUMN")]
    """The column that names a run, or the method of one."""
    x: Annotated[str, arg(metavar="EXPR")]
    """What was paid: FLOPs, tokens, hours."""
    loss: Annotated[str, arg(metavar="EXPR")]
    """The loss."""
    baseline: Annotated[str, arg(metavar="RUN")]
    """The run all others are compared with."""
    method: Annotated[tuple[str, ...], arg(metavar="RUN ...")] = ()
    """The runs to compare; all others by default."""
    at: Annotated[tuple[float, ...], arg(metavar="LOSS ...")] = ()
    """Losses to compare at; the baseline's last by default."""
    source_cost: Annotated[tuple[str, ...], arg(metavar="COST|RUN=COST ...")] = ()
    """What the source cost, in units of x: of all methods, or by run."""
    tuning_cost: Annotated[tuple[str, ...], arg(metavar="COST|RUN=COST ...")] = ()
    """What tuning cost, in units of x: of all methods and the baseline, or by run."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one method apart; without it there is no interval."""
    smooth: int = 1
    """Points of a running median, for noisy logs."""
    figure: Path | None = None
    """Draw the speed-up at every loss to this .svg or .png file."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.measure.logs import read_arms, savings_of
        from mugrow.analysis.read.plain import to_json

        check_figure(self.figure)
        arms = read_arms(
            self.curves,
            run=self.run,
            x=self.x,
            loss=self.loss,
            baseline=self.baseline,
            methods=self.method,
            source_cost=_cost("source-cost", self.source_cost),
            tuning_cost=_cost("tuning-cost", self.tuning_cost),
            seeds=self.seeds,
            smooth=self.smooth,
        )
        rows = savings_of(arms, self.at)
        if self.figure is not None:
            from mugrow.analysis.figures.savings import of_table
            from mugrow.analysis.measure.logs import savings_curves

            write_figure(self.figure, lambda: of_table(savings_curves(arms), self.baseline))
        plain = [to_json(row) for row in rows]
        if self.json:
            print(json.dumps(plain, indent=2))
        else:
            print_table(plain)


def _cost(option: str, words: tuple[str, ...]) -> float | Mapping[str, float]:
    """One cost, or costs by run; a run's name may itself hold an equals sign."""
    try:
        if len(words) == 1 and "=" not in words[0]:
            return float(words[0])
        pairs = [word.rsplit("=", 1) for word in words]
        return {run: float(cost) for run, cost in pairs} if words else 0.0
    except ValueError:
        raise UserError(
            f"--{option} takes one number, or RUN=NUMBER for each run, not {' '.join(words)!r}"
        ) from None
