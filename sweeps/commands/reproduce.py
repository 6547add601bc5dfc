"""``mugrow reproduce``: a paper's figures and its claims, from runs trained here."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from mugrow.sweeps.commands.output import check_device, check_positive, worker_count

OUT = Path("results/papers")


@dataclass(frozen=True)
class Reproduce:
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
    dry_run: bool = False
    """Print every run with its cost, and an estimate of the time, and train nothing."""
    workers: int | None = None
    """Processes that train at the same time; one a CPU core, or one on a GPU, by default."""
    threads: int = 1
    """CPU threads of each process."""
    device: str = "cpu"
    """Where to train: cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the ledger (or the dry run) as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.report.paper import LEDGER
        from mugrow.bench.entries import assigned
        from mugrow.sweeps.evaluate import evaluate_all
        from mugrow.sweeps.execute import Where, execute
        from mugrow.sweeps.paper import experiment, judged, report, setting
        from mugrow.sweeps.recipes.papers import paper

        entry = paper(self.paper)
        figures = entry.only(self.only)
        check_positive("threads", self.threads)
        check_device(self.device)
        workers = worker_count(self.workers, self.device)
        corpora = assigned(chain(*self.corpus), "--corpus takes NAME=PATH")
        given, paths = setting(entry, self.scale, corpora, priced=self.dry_run)
        work = experiment(entry, given, figures)
        pool = self.out or OUT / self.scale
        if self.dry_run:
            from mugrow.sweeps.dry_run import dry_run

            return dry_run(work, pool, workers, as_json=self.json)
        folder = pool / entry.name
        execute(work, folder, Where(workers, self.threads, self.device, paths), pool)
        evaluate_all(judged(given, figures), pool, folder, paths)
        page = report(entry, folder, figures)
        if self.json:
            print((folder / LEDGER).read_text(encoding="utf-8"), end="")
        else:
            _print(folder)
            print(f"report: {page}")


def _print(folder: Path) -> None:
    """The ledger, a line a claim."""
    import json

    from mugrow.analysis.report.paper import LEDGER, claims_table
    from mugrow.sweeps.commands.output import print_table

    rows = json.loads((folder / LEDGER).read_text(encoding="utf-8"))["claims"]
    table = claims_table(rows)
    print_table([dict(zip(table.columns, row, strict=True)) for row in table.rows])
