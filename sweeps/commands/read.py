"""``mugrow read``: what is understood of a table, before anything is computed from it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from mugrow.analysis.read.guess import Understood

WRITTEN = (".csv", ".tsv", ".parquet", ".jsonl")


@dataclass(frozen=True)
class ReadCommand:
    """What is understood of anybody's logs or tables: runs, x, losses, rows left out and why.

    CSV, TSV, Parquet, JSON, compressed or not; exports of W&B, TensorBoard, MLflow and Trackio,
    trainer_state.json, event files, a folder of `mugrow run`; several files are one table, each a
    run by its name. EXPR is a column or an expression on columns, such as "6 * params * tokens".
    """

    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="TABLE ...")]
    """Files, or a folder of `mugrow run`."""
    run: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that names a run; one of its name by default."""
    x: Annotated[str | None, arg(metavar="EXPR")] = None
    """What was paid: steps, tokens, FLOPs; a column of such a name by default."""
    loss: Annotated[str | None, arg(metavar="EXPR")] = None
    """The loss; a column of such a name by default."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one name apart."""
    sorted: bool = False
    """Take --x for the order of a run's rows, whatever the file's is."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Write the runs as a tidy table, a row a point: .csv, .tsv, .parquet or .jsonl."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.read.guess import read, write
        from mugrow.analysis.read.plain import to_json

        if self.out is not None and self.out.suffix not in WRITTEN:
            raise UserError(f"--out writes {', '.join(WRITTEN)}, not {self.out}")
        found = read(
            *self.files, run=self.run, x=self.x, loss=self.loss, seeds=self.seeds, by_x=self.sorted
        )
        if self.json:
            print(json.dumps(to_json(found), indent=2))
        else:
            _show(found)
        if self.out is not None:
            write(found, self.out)
            print(f"written: {self.out}", file=sys.stderr)


def _show(found: "Understood") -> None:
    print(f"{found.name}: {found.kind}, {found.rows} rows, {len(found.columns)} columns")
    print(f"columns: {', '.join(found.columns)}")
    for text in found.notes:
        print(f"note: {text}")
    if not found.runs:
        return
    seeds = "" if found.seeds is None else f", --seeds {found.seeds}"
    print(f"\nread as --run {found.run}, --x {found.x}, --loss {found.loss}{seeds}")
    print_table(
        [
            {
                "run": one.label,
                "points": str(one.points),
                "rows left out": str(one.rows - one.points),
                f"first {found.x}": one.x_first,
                f"last {found.x}": one.x_last,
                "first loss": one.loss_first,
                "last loss": one.loss_last,
            }
            for one in found.runs
        ]
    )
