"""``mugrow reproduce``: a paper's figures and its claims, from runs trained here."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from mugrow.sweeps.commands.machine_options import HERE, MachineOptions
from mugrow.sweeps.commands.output import check_priced, print_table

OUT = Path("results/papers")


@dataclass(frozen=True)
class ReproduceCommand:
    """Train a paper's runs, draw its figures and check its claims. Resumes whatever is there.

    PAPER is a name of `mugrow list papers`, an arXiv id, or a Python file with a PAPER. Papers
    share their runs: what two of them compare against is trained once.
    """

    paper: Annotated[Positional[str], arg(metavar="PAPER")]
    scale: Literal["cpu", "gpu", "paper"] = "cpu"
    """Two cores in minutes, one large GPU in minutes, or the paper's own configuration."""
    only: str | None = None
    """One figure, the runs it needs, and its claims."""
    out: Path | None = None
    """The folder of all papers at a scale; results/papers/SCALE by default."""
    corpus: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="NAME=PATH ...")
    ] = ()
    """Other corpora, by the names that the paper's recipe gives them."""
    looks: tuple[int, ...] = ()
    """Numbers of seeds, as 3 5 10: claims are judged after each, and figures whose claims are not
    decided get the seeds of the next. All looks together err in 5 %."""
    dry_run: bool = False
    """Print every run with its cost, and an estimate of the time, and train nothing."""
    price: Annotated[str | None, arg(metavar="DEVICE")] = None
    """With --dry-run: the time on a device that need not be here, a100, a100-40gb, h100, h200, or
    measured, on this machine's own cores."""
    machine: OmitArgPrefixes[MachineOptions] = HERE
    json: bool = False
    """Print the ledger (or the dry run) as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.report.paper import LEDGER, claims_tables, counts
        from mugrow.bench.entries import assigned
        from mugrow.sweeps.dry_run import print_bill
        from mugrow.sweeps.reproduce import bill_of, reproduce

        corpora = assigned(chain(*self.corpus), "--corpus takes NAME=PATH")
        if self.dry_run:
            bill = bill_of(
                self.paper,
                self.out,
                scale=self.scale,
                only=self.only,
                corpora=corpora,
                looks=self.looks,
                price=self.price,
                **self.machine.priced(),
            )
            return print_bill(bill, as_json=self.json)
        check_priced(self.price)
        done = reproduce(
            self.paper,
            self.out,
            scale=self.scale,
            only=self.only,
            corpora=corpora,
            looks=self.looks,
            **self.machine.trained(),
        )
        if self.json:
            print((done.folder / LEDGER).read_text(encoding="utf-8"), end="")
            return
        for whose, table in claims_tables(done.ledger).items():
            found = counts([row.verdict for row in done.ledger if row.whose == whose])
            said = ", ".join(f"{count} {verdict}" for verdict, count in found.items())
            print(f"{table.title}: {said or 'none'}")
            print_table([dict(zip(table.columns, row, strict=True)) for row in table.rows])
        print(f"report: {done.page}")
