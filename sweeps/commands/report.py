"""``mugrow report``: a study's report, made again from its tables, or that of anyone's runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import check_folder, check_once, check_positive, print_summary


@dataclass(frozen=True)
class ReportCommand:
    """Write a report: HTML, figures, LaTeX tables and macros.

    Of a study's folder the whole report, into its folder ``report``; of several folders, studies
    or papers, also a page that leads to all of them. Of a table of runs (see `mugrow read`) the
    section on scaling laws; the flags after --json are for tables. EXPR is a column or an
    expression on columns, as in `mugrow fit`; of a study's own runs.parquet the columns are known.
    """

    source: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR ...|TABLE")]
    """A folder of `mugrow run`, or several with those of `mugrow reproduce`; or a table of runs."""
    json: bool = False
    """Print the claims as JSON."""
    out: Path | None = None
    """The folder to write to: of a table NAME-report by default, of several folders reports."""
    n: Annotated[str | None, arg(metavar="EXPR")] = None
    """Parameters; the column params by default."""
    d: Annotated[str | None, arg(metavar="EXPR")] = None
    """Training tokens; the column tokens by default."""
    loss: Annotated[str | None, arg(metavar="EXPR")] = None
    """The loss in nats per token; the column final_val_loss by default."""
    c: Annotated[str | None, arg(metavar="EXPR")] = None
    """Compute in FLOPs, which says which runs are the largest; 6 N D by default."""
    g: Annotated[str | None, arg(metavar="EXPR")] = None
    """Growth factor."""
    method: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The growth method: a law is fitted for each."""
    baseline: str = "scratch"
    """The method that the others are compared with."""
    where: Annotated[str | None, arg(metavar="EXPR")] = None
    """The rows to use, as in 'loss < 3.4 and corpus == "c4"'."""
    run: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that says which rows are one run: only its last enters a fit."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one name apart."""
    sorted: bool = False
    """Take --d for the order of a run's rows, whatever the file's is."""
    best: bool = False
    """Of rows that agree in N and D, as in a sweep, use the one of lowest loss."""
    group: Annotated[str | None, arg(metavar="COLUMN")] = None
    """What the bootstrap resamples: rows that were not drawn independently share a group."""
    allow_mixed: bool = False
    """Fit rows together that differ in more than the law's variables."""
    form: str | None = None
    """The law, or several to compare on the largest runs: "chinchilla,kaplan"."""
    bootstrap: Annotated[int | None, arg(metavar="RESAMPLES")] = None
    """Resamples of each law; 1000 by default, fewer from 2000 rows on."""

    def __call__(self) -> None:
        if not self.source:
            raise UserError("name a folder of `mugrow run`, or a table")
        first, *others = self.source
        if first.is_file() and not others:
            self._of_table(first)
            return
        flags = FLAGS[bool(others) :]  # several have an --out
        given = [name for name in flags if getattr(self, name) != getattr(ReportCommand, name)]
        if given:
            raise UserError(f"--{given[0].replace('_', '-')} is for a table; {first} is none")
        if others:
            self._of_several()
            return
        from mugrow.analysis.report.helper import started

        with started(first) as other:  # before this process imports what it needs
            from mugrow.analysis.report.build import build_with

            written = build_with(first, other)
        print_summary(first, written, self.json)

    def _of_several(self) -> None:
        from mugrow.analysis.report.index import build_index

        if self.json:
            raise UserError("--json is of one study; each folder has its summary.json")
        check_folder(self.out)
        check_once(self.source)
        print(f"page: {build_index(self.source, self.out or Path('reports'))}")

    def _of_table(self, table: Path) -> None:
        from mugrow.analysis.laws.rows import RowPolicy
        from mugrow.analysis.laws.scaling import FORMS
        from mugrow.analysis.laws.table_rows import Columns
        from mugrow.analysis.report.table_report import build_table

        if self.bootstrap is not None:
            check_positive("bootstrap", self.bootstrap)
        folder = self.out or Path(f"{table.stem}-report")
        columns = Columns(
            n=self.n,
            d=self.d,
            loss=self.loss,
            c=self.c,
            g=self.g,
            method=self.method,
            baseline=self.baseline,
            policy=RowPolicy(
                where=self.where,
                run=self.run,
                seeds=self.seeds,
                by_x=self.sorted,
                best=self.best,
                group=self.group,
                allow_mixed=self.allow_mixed,
            ),
        )
        forms = FORMS if self.form is None else tuple(self.form.split(","))
        page = build_table(table, folder, columns, forms=forms, resamples=self.bootstrap)
        if self.json:
            print((folder / "laws.json").read_text(encoding="utf-8"), end="")
        else:
            print(f"report: {page}")


FLAGS = ("out", "n", "d", "loss", "c", "g", "method", "baseline", "where", "run", "seeds",
         "sorted", "best", "group", "allow_mixed", "form", "bootstrap")  # fmt: skip
