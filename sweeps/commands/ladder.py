"""``mugrow ladder``: how well a law through a table's small models predicts its largest."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.sweeps.commands.output import check_figure, print_notes, print_table, write_figure


@dataclass(frozen=True)
class LadderCommand:
    """Errors of a law on anybody's families of models, in a file or several (see `mugrow read`).

    EXPR is a column or an expression on columns. A law through the small models of each family
    predicts its largest; what is fitted is varied. The errors are mean absolute relative errors in
    percent over the last 30 % of the largest model's tokens, their intervals over families.
    """

    table: Annotated[Positional[tuple[Path, ...]], arg(metavar="TABLE ...")]
    """Files, or a folder of `mugrow run`."""
    loss: Annotated[str, arg(metavar="EXPR")]
    """The loss."""
    n: Annotated[str, arg(metavar="EXPR")]
    """Parameters."""
    d: Annotated[str, arg(metavar="EXPR")]
    """Training tokens."""
    family: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that names a row's family; without it all rows are one."""
    run: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that says which rows are checkpoints of one run; without it each row is a run."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one name apart."""
    sorted: bool = False
    """Take --d for the order of a run's rows, whatever the file's is."""
    figure: Path | None = None
    """Draw the errors to this .svg, .png or .pdf file."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.laws.families import errors, families_of
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.table import read_table

        check_figure(self.figure)
        table = read_table(*self.table)
        families, notes = families_of(
            table,
            n=self.n,
            d=self.d,
            loss=self.loss,
            family=self.family,
            run=self.run,
            seeds=self.seeds,
            by_x=self.sorted,
        )
        print_notes([*table.notes, *notes])
        found = errors(families)
        if self.figure is not None:
            from mugrow.analysis.figures.ladder_errors import draw

            write_figure(self.figure, lambda: draw(found))
        if self.json:
            print(json.dumps(to_json(found), indent=2, allow_nan=False))
        else:
            print_table([one.to_json() for one in found])
