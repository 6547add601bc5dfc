"""``mugrow savings``: compute saved, on anybody's table of loss curves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sweeps.commands.output import print_table


@dataclass(frozen=True)
class Savings:
    """Compute savings on anybody's table of loss curves (CSV, Parquet or JSON lines)."""

    curves: Positional[Path]
    run: Annotated[str, arg(metavar="COLUMN")]
    """The column that names a run, or the method of one."""
    x: Annotated[str, arg(metavar="EXPR")]
    """Compute: a column, or arithmetic on columns such as "6 * params * tokens"."""
    loss: Annotated[str, arg(metavar="EXPR")]
    """The loss: a column, or arithmetic on columns."""
    baseline: Annotated[str, arg(metavar="RUN")]
    """The run all others are compared with."""
    method: Annotated[tuple[str, ...], arg(metavar="RUN ...")] = ()
    """The runs to compare; all others by default."""
    at: Annotated[tuple[float, ...], arg(metavar="LOSS ...")] = ()
    """Losses to compare at; the baseline's last by default."""
    source_cost: float = 0.0
    """What the source cost, in units of x; charged to the methods."""
    tuning_cost: float = 0.0
    """What tuning cost, in units of x; charged to both arms."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one method apart; without it there is no interval."""
    smooth: int = 1
    """Points of a running median, for noisy logs."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from analysis.foreign import table_savings

        rows = table_savings(
            self.curves,
            run=self.run,
            x=self.x,
            loss=self.loss,
            baseline=self.baseline,
            methods=self.method,
            at=self.at,
            source_cost=self.source_cost,
            tuning_cost=self.tuning_cost,
            seeds=self.seeds,
            smooth=self.smooth,
        )
        if self.json:
            print(json.dumps(rows, indent=2))
        else:
            print_table(rows)
