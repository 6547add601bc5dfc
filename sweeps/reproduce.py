"""A paper from its runs to its ledger: train what its figures need, evaluate, draw, judge."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mugrow.analysis.measure.claims import INCONCLUSIVE
from mugrow.analysis.measure.sequential import Looks
from mugrow.analysis.read.store import Store, load
from mugrow.bench.checksums import Damaged
from mugrow.bench.record import set_aside
from mugrow.bench.spec import UserError
from mugrow.sweeps import price as pricing
from mugrow.sweeps.compiling import Compile
from mugrow.sweeps.evaluate import Judged, evaluate_all
from mugrow.sweeps.execute import Experiment, Where, execute, where_of
from mugrow.sweeps.paper import (
    Paper,
    PaperFigure,
    ReproducedPaper,
    Scale,
    Setting,
    experiment,
    judged,
    report,
    setting,
    verdicts_of,
)
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
    looks: Sequence[int] = (),
    workers: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    devices: str | None = None,
    on: str = "local",
    log: str | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
    ranks: int | None = None,
    compile: Compile = "off",
) -> ReproducedPaper:
    """Train a paper's runs, or go on where they were stopped, draw its figures, judge its claims.

    ``paper`` is a name of `mugrow list papers`, an arXiv id, the path of a Python file, or a
    ``Paper``; ``only`` one of its figures. ``out`` is the pool of all papers at a scale,
    ``results/papers/SCALE`` by default: what two of them compare against is trained once.
    ``corpora`` replace the recipe's, by its own names for them. Machine and processes are as in
    ``mugrow.run``. With ``looks``, numbers of seeds that ascend, the claims are judged after each
    of them, and a figure gets the seeds of the next while a claim of its is undecided; the error of
    all looks together is 5 %. Raises ``UserError`` before anything trains.

    >>> import mugrow
    >>> found = mugrow.reproduce("gstack", only="G1")  # doctest: +SKIP
    >>> {line.claim: line.verdict for line in found.ledger}  # doctest: +SKIP
    """
    entry = paper if isinstance(paper, Paper) else papers.paper(paper)
    figures = entry.only(only)
    where = where_of(
        workers, threads, device, devices, on, log, memory_bytes, recompute, ranks, compile
    )
    given, paths = setting(entry, scale, corpora or {})
    pool = Path(out) if out is not None else OUT / scale
    folder = pool / entry.name
    where = replace(where, corpus_paths=paths)
    planned = planned_looks(looks)
    if looks:
        check_seeds(entry, given, figures, looks[-1])
    seeds: dict[str, int] = {}
    for more in (0, *looks):
        undecided = undecided_figures(entry, load(folder), figures) if more else [*figures]
        if not undecided:
            break
        seeds |= dict.fromkeys(undecided, more)
        wanted = experiment(entry, given, figures, seeds, planned, where.gpus)
        _trained(wanted, judged(given, figures, seeds), folder, where, pool)
    return report(entry, folder, figures)


def _trained(
    wanted: Experiment, judged: Iterable[Judged], folder: Path, where: Where, pool: Path
) -> None:
    """Train and evaluate. A run whose checkpoint is damaged is done again, once."""
    evaluated, done_again = [*judged], set[Path]()
    while True:
        execute(wanted, folder, where, pool)
        try:
            return evaluate_all(evaluated, pool, folder, where.corpus_paths)
        except Damaged as error:
            if error.path in done_again:
                raise
            done_again.add(error.path)
            aside = set_aside(error.path).name
            print(f"{error}; set aside as {aside}, its run will be done again", file=sys.stderr)


def planned_looks(looks: Sequence[int]) -> Looks | None:
    """Looks as the command line and the API give them. Raises ``UserError``."""
    if not looks:
        return None
    if list(looks) != sorted(set(looks)) or looks[0] < 2:
        said = ", ".join(map(str, looks))
        raise UserError(f"looks are numbers of seeds that ascend from at least 2, unlike {said}")
    return Looks(tuple(looks))


def check_seeds(
    paper: Paper, given: Setting, figures: Mapping[str, PaperFigure], most: int
) -> None:
    """Raise the ``UserError`` of a figure that is judged and would not get so many seeds: more
    looks at the same runs would widen its intervals and add nothing."""
    for name, figure in figures.items():
        planned = {node.spec.seed for node in figure.runs(replace(given, seeds=most))}
        if most > len(planned) and any(claim.measure for claim in figure.claims):
            raise UserError(
                f"figure {name} of {paper.name} plans {len(planned)} seeds and looks ask for "
                f"{most}: its runs must take their seeds from setting.of"
            )


def undecided_figures(paper: Paper, store: Store, figures: Mapping[str, PaperFigure]) -> list[str]:
    """The figures that have a claim which is neither reproduced nor contradicted yet."""
    return [
        name
        for name, figure in figures.items()
        if any(row.verdict == INCONCLUSIVE for row in verdicts_of(paper, store, {name: figure}))
    ]


def bill_of(
    paper: str | Paper,
    out: str | Path | None = None,
    *,
    scale: Scale = "cpu",
    only: str | None = None,
    corpora: Mapping[str, str] | None = None,
    looks: Sequence[int] = (),
    workers: int | None = None,
    device: str = "cpu",
    devices: str | None = None,
    on: str = "local",
    price: str | None = None,
    ranks: int | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
) -> Bill:
    """What ``reproduce`` would train and cost, with ``looks`` at the first of them and at most at
    the last; reads no corpus whose vocabulary is known. The machine is as in ``mugrow.bill``."""
    machine = pricing.machine(workers, device, devices, on, price, ranks, memory_bytes, recompute)
    entry = paper if isinstance(paper, Paper) else papers.paper(paper)
    figures = entry.only(only)
    given, _ = setting(entry, scale, corpora or {}, priced=True)
    pool = Path(out) if out is not None else OUT / scale
    planned = planned_looks(looks)
    if not looks:
        return pricing.bill(experiment(entry, given, figures, gpus=machine.gpus), pool, machine)
    check_seeds(entry, given, figures, looks[-1])
    first, last = (
        experiment(entry, given, figures, dict.fromkeys(figures, seeds), planned, machine.gpus)
        for seeds in (looks[0], looks[-1])
    )
    return pricing.bill(replace(first, most=last.plan), pool, machine)
