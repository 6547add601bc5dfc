"""A paper from its runs to its ledger: train what its figures need, evaluate, draw, judge."""

import sys
from collections.abc import Mapping
from pathlib import Path

from mugrow.bench.checksums import Damaged
from mugrow.bench.record import set_aside
from mugrow.sweeps import price
from mugrow.sweeps.evaluate import evaluate_all
from mugrow.sweeps.execute import Where, execute
from mugrow.sweeps.machine import check_device, check_positive, worker_count
from mugrow.sweeps.paper import Paper, ReproducedPaper, Scale, experiment, judged, report, setting
from mugrow.sweeps.price import Bill
from mugrow.sweeps.recipes import papers

OUT = Path("results/papers")


def reproduce(
    paper: str | Paper,
    out: str | Path | None = None,
    *,
    scale: Scale = "cpu",
    only: str | None = None,
    corpora: Mapping[str, str] | None = None,
    workers: int | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> ReproducedPaper:
    """Train a paper's runs, or go on where they were stopped, draw its figures, judge its claims.

    ``paper`` is a name of `mugrow list papers`, an arXiv id, the path of a Python file, or a
    ``Paper``; ``only`` one of its figures. ``out`` is the pool of all papers at a scale,
    ``results/papers/SCALE`` by default: what two of them compare against is trained once.
    ``corpora`` replace the recipe's, by its own names for them. Machine and processes are as in
    ``mugrow.run``. Raises ``UserError`` before anything trains.

    >>> import mugrow
    >>> found = mugrow.reproduce("gstack", only="G1")  # doctest: +SKIP
    >>> {line.claim: line.verdict for line in found.ledger}  # doctest: +SKIP
    """
    entry = paper if isinstance(paper, Paper) else papers.paper(paper)
    figures = entry.only(only)
    check_positive("threads", threads)
    check_device(device)
    given, paths = setting(entry, scale, corpora or {})
    pool = Path(out) if out is not None else OUT / scale
    folder = pool / entry.name
    where = Where(worker_count(workers, device), threads, device, paths)
    done_again: set[Path] = set()
    while True:
        execute(experiment(entry, given, figures), folder, where, pool)
        try:
            evaluate_all(judged(given, figures), pool, folder, paths)
        except Damaged as error:  # a checkpoint: its run is done again, once
            if error.path in done_again:
                raise
            done_again.add(error.path)
            aside = set_aside(error.path).name
            print(f"{error}; set aside as {aside}, its run will be done again", file=sys.stderr)
        else:
            return report(entry, folder, figures)


def bill_of(
    paper: str | Paper,
    out: str | Path | None = None,
    *,
    scale: Scale = "cpu",
    only: str | None = None,
    corpora: Mapping[str, str] | None = None,
    workers: int | None = None,
    device: str = "cpu",
) -> Bill:
    """What ``reproduce`` would train and cost; reads no corpus whose vocabulary is known."""
    entry = paper if isinstance(paper, Paper) else papers.paper(paper)
    figures = entry.only(only)
    given, _ = setting(entry, scale, corpora or {}, priced=True)
    pool = Path(out) if out is not None else OUT / scale
    return price.bill(experiment(entry, given, figures), pool, worker_count(workers, device))
