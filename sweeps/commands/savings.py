"""``mugrow savings``: compute saved, on anybody's table of loss curves."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.arguments import Amount
from mugrow.sweeps.commands.output import check_figure, print_notes, print_table, write_figure


@dataclass(frozen=True)
class SavingsCommand:
    """Compute savings on anybody's table of loss curves, in a file or several (see `mugrow read`).

    Final losses at equal charged compute first, where the baseline has whole schedules of several
    lengths (--length); then what was paid until a fixed loss. EXPR is a column or an expression on
    columns, such as "6 * params * tokens".
    """

    curves: Annotated[Positional[tuple[Path, ...]], arg(metavar="TABLE ...")]
    """Files, or a folder of `mugrow run`."""
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
    at: Annotated[tuple[Amount, ...], arg(metavar="LOSS ...")] = ()
    """Losses to compare at; the baseline's last by default."""
    source_cost: Annotated[tuple[str, ...], arg(metavar="COST|RUN=COST ...")] = ()
    """What the source cost, in units of x: of all methods, or by run."""
    tuning_cost: Annotated[tuple[str, ...], arg(metavar="COST|RUN=COST ...")] = ()
    """What tuning cost, in units of x: of all methods and the baseline, or by run."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one method apart; without it there is no interval."""
    length: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one method and seed apart, each a whole schedule."""
    sorted: bool = False
    """Take --x for the order of a run's rows, whatever the file's is."""
    smooth: int = 1
    """Points of a centred running median, for noisy logs: an odd number."""
    figure: Path | None = None
    """Draw the speed-up at every loss to this .svg, .png or .pdf file."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.measure.lengths import (
            NOT_MEASURABLE,
            at_equal_compute,
            several_lengths,
        )
        from mugrow.analysis.measure.logs import late, read_arms, savings_of
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
            length=self.length,
            by_x=self.sorted,
        )
        found = savings_of(arms, self.at)
        print_notes([*arms.notes, *late(found, self.baseline)])
        fixed_loss = [to_json(row) for row in found]
        equal_compute = [to_json(row) for row in at_equal_compute(arms)]
        if self.figure is not None:
            from mugrow.analysis.figures.savings import of_table
            from mugrow.analysis.measure.logs import savings_curves

            write_figure(self.figure, lambda: of_table(savings_curves(arms), self.baseline))
        if not several_lengths(arms):
            print(NOT_MEASURABLE, file=sys.stderr if self.json else sys.stdout)
        if self.json and self.length is None:
            print(json.dumps(fixed_loss, indent=2))
        elif self.json:
            both = {"equal_compute": equal_compute, "fixed_loss": fixed_loss}
            print(json.dumps(both, indent=2))
        else:
            if equal_compute:
                print("At equal charged compute, each on a whole schedule:")
                print_table(equal_compute)
                print("\nAt a fixed loss, the longest of each:")
            print_table(fixed_loss)


def _cost(option: str, words: tuple[str, ...]) -> float | Mapping[str, float]:
    """One cost, or costs by run; a run's name may itself hold an equals sign."""
    from mugrow.analysis.read.cells import amount

    try:
        if len(words) == 1 and "=" not in words[0]:
            return amount(words[0])
        pairs = [word.rsplit("=", 1) for word in words]
        costs = [(run, amount(cost)) for run, cost in pairs]
    except ValueError:
        raise UserError(
            f"--{option} takes one number, or RUN=NUMBER for each run, not {' '.join(words)!r}"
        ) from None
    for place, (run, cost) in enumerate(costs):
        if run in dict(costs[:place]):
            earlier = dict(costs[:place])[run]
            raise UserError(f"--{option} has {run!r} twice: {earlier:g} and {cost:g}")
    return dict(costs) if costs else 0.0
