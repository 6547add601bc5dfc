"""Evidence made into pages: every committed study's report, every committed paper's ledger.

Git keeps rows and claims (Parquet, JSON) and no rendering of them. What people read is made from
those here, in a folder of its own, so that a page can never be older than the rows it shows and
the rows are never touched.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mugrow.bench.spec import UserError, unknown

REFERENCE = Path("results/reference")
TABLES = ("*.parquet", "*.json")


@dataclass(frozen=True)
class CommittedEvidence:
    """A committed study or paper, and the folder of its tables."""

    kind: Literal["study", "paper"]
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        """Of its tables: about how long it takes to render."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


@dataclass(frozen=True)
class Rendered:
    """What became of it: the folder with its page in ``report/index.html``, or a line that says
    why there is none."""

    evidence: CommittedEvidence
    folder: Path
    error: str | None
    seconds: float

    @property
    def page(self) -> Path:
        return self.folder / "report" / "index.html"


def committed(reference: Path, only: Sequence[str] = ()) -> list[CommittedEvidence]:
    """The studies and papers in ``reference``, or those of them named. Raises ``UserError``."""
    found = [
        CommittedEvidence("study", path.parent) for path in sorted(reference.glob("*/study.json"))
    ]
    found += [
        CommittedEvidence("paper", path.parent)
        for path in sorted(reference.glob("papers/*/study.json"))
    ]
    if not found:
        raise UserError(f"no study.json below {reference}: run it at the root of a checkout")
    for name in only:
        if name not in {one.name for one in found}:
            raise unknown("committed study or paper", name, [one.name for one in found])
    return [one for one in found if not only or one.name in only]


def render(evidence: CommittedEvidence, out: Path) -> Rendered:
    """Copy the tables to ``out/NAME`` and write the report beside them. What goes wrong is told
    in the result, never raised."""
    folder, began = out / evidence.name, time.monotonic()
    folder.mkdir(parents=True)
    for pattern in TABLES:
        for path in evidence.folder.glob(pattern):
            shutil.copy(path, folder)
    try:
        _paper(folder) if evidence.kind == "paper" else _study(folder)
        error = None
    except Exception as reason:  # one that breaks must not hide the others
        error = f"{type(reason).__name__}: {(str(reason).splitlines() or [''])[0]}"
    return Rendered(evidence, folder, error, time.monotonic() - began)


def _study(folder: Path) -> None:
    from mugrow.analysis.report.build import build

    build(folder)


def _paper(folder: Path) -> None:
    """All figures of a committed paper have their runs: one that is not drawn is a mistake."""
    from mugrow.sweeps.paper import report
    from mugrow.sweeps.recipes.papers import paper

    entry = paper(folder.name)
    report(entry, folder, entry.figures)
    for name in entry.figures:
        if not (folder / "report" / "figures" / f"{name}.svg").is_file():
            raise UserError(f"figure {name} is not drawn")


def render_all(
    evidence: Sequence[CommittedEvidence], out: Path, workers: int
) -> Iterator[Rendered]:
    """Each as it is done, the longest begun first, in ``workers`` processes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core a process, which inherits it
    ordered = sorted(evidence, key=lambda one: one.bytes, reverse=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(ordered)), mp_context=context) as pool:
        for future in as_completed([pool.submit(render, one, out) for one in ordered]):
            yield future.result()
