"""Extrapolation in families of models that others trained, read from a published table.

The errors of ``extrapolation``, of a law through a family's small models on its largest: a family
is what shares an architecture and a corpus, and intervals are over families, as in Choshen et al.
(arXiv 2410.11840). ``mugrow ladder`` prints them.

Where the table has one row a run, its last, what is fitted are final losses, and one more thing can
be asked: whether the law of other families serves this one, so that one small model is enough:

    L = E + A / N^alpha + B / D^beta    with E fitted, and the rest the medians of the others' fits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.alike import alike
from mugrow.analysis.laws.extrapolation import (
    FEWEST,
    RULES,
    Rule,
    baseline_percent,
    error_percent,
    largest,
    sizes,
    smallest,
    target,
)
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.read.expression import column, numbers
from mugrow.analysis.read.formats import stem
from mugrow.analysis.read.runs import Note, read_runs
from mugrow.analysis.read.table import Table, Tables, table_in
from mugrow.analysis.stats import Interval, student_interval
from mugrow.bench.spec import UserError

Families = Mapping[str, pd.DataFrame]
FINAL_RULES: Mapping[str, Rule] = {
    "all models": error_percent,
    "the 3 smallest models": lambda small, big: error_percent(smallest(small, FEWEST), big),
    "the 3 largest models": lambda small, big: error_percent(largest(small, FEWEST), big),
    "as good as the best fitted": baseline_percent,
}
BORROWED = "the smallest model, and the other families’ law"


def read_families(
    tables: Tables,
    *,
    n: str,
    d: str,
    loss: str,
    family: str | None,
    run: str | None,
    seeds: str | None = None,
    by_x: bool = False,
) -> Families:
    """The checkpoints of each family in a file or several, or a data frame; see ``families_of``."""
    table = table_in(tables)
    return families_of(table, n=n, d=d, loss=loss, family=family, run=run, seeds=seeds, by_x=by_x)[
        0
    ]


def families_of(
    table: Table,
    *,
    n: str,
    d: str,
    loss: str,
    family: str | None,
    run: str | None,
    seeds: str | None = None,
    by_x: bool = False,
) -> tuple[Families, tuple[Note, ...]]:
    """The checkpoints of each family: columns n (parameters), d (tokens), loss, horizon (the run's
    tokens), share (of them, d); and what was done to the rows of runs. ``family``, ``run`` and
    ``seeds`` are columns, the others expressions; without ``run`` a row is a run. Rows without a
    finite loss are left out, sizes and horizons that agree to ``alike.SAME`` are one. Raises
    ``UserError`` for what is not there, for rows that are no run, and for a family of fewer than
    four sizes, of which the largest is predicted."""
    frame = table.frame
    notes: tuple[Note, ...] = ()
    rows = pd.DataFrame({"n": numbers(frame, n), "d": numbers(frame, d)})
    for name, expression in (("n", n), ("d", d)):
        if not (np.isfinite(rows[name]) & (rows[name] > 0)).all():
            raise UserError(f"--{name} {expression}: not every row has a number above 0")
    rows["n"] = alike(rows["n"].to_numpy())
    rows["loss"] = numbers(frame, loss)
    named = "all" if table.name.startswith("the ") else stem(Path(table.name))
    rows["family"] = column(frame, family).astype(str) if family else named
    rows["run"] = np.arange(len(frame))
    rows = rows[np.isfinite(rows["loss"])]
    if run is not None:
        log = read_runs(table, run=run, seeds=seeds, x=d, loss=loss, by_x=by_x)
        notes = log.notes
        kept = {row: place for place, one in enumerate(log.runs) for row in one.rows.tolist()}
        rows = rows[rows.index.isin(list(kept))]
        rows["run"] = [kept[row] for row in rows.index]
    rows["horizon"] = alike(rows.groupby("run")["d"].transform("max").to_numpy())
    rows["share"] = np.minimum(rows["d"] / rows["horizon"], 1.0)
    rows.loc[rows["d"] == rows.groupby("run")["d"].transform("max"), "share"] = 1.0
    found = {
        str(name): part.drop(columns=["family", "run"]) for name, part in rows.groupby("family")
    }
    for name, part in found.items():
        if len(sizes(part)) < FEWEST:
            raise UserError(
                f"family {name!r} has {part['n'].nunique()} sizes; {FEWEST} are fitted and a "
                "larger one is predicted"
            )
    return found, notes


@dataclass(frozen=True)
class ExtrapolationError:
    """ARE in percent of the largest model's loss by what is ``fitted``: of each family, by name
    (nan where there is no fit), and the mean over those that have one."""

    fitted: str
    by_family: Mapping[str, float]

    @property
    def mean(self) -> Interval:
        return student_interval([one for one in self.by_family.values() if not math.isnan(one)])

    def to_json(self) -> dict[str, object]:
        mean = self.mean
        ends = {"mean": mean.value, "lo": mean.lo, "hi": mean.hi}
        return {"fitted": self.fitted, **self.by_family, **ends}


def extrapolate(
    table: Tables,
    *,
    n: str,
    d: str,
    loss: str,
    family: str | None = None,
    run: str | None = None,
    seeds: str | None = None,
    by_x: bool = False,
) -> list[ExtrapolationError]:
    """How well a law through the small models of each family in a table predicts its largest, by
    what is fitted: what `mugrow ladder` prints. Arguments and errors as of ``families_of``.

    >>> import mugrow, tempfile
    >>> sizes = [(n, 20 * n, 1.7 + 40 / n**0.3) for n in (1e6, 4e6, 16e6, 64e6)]
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as table:
    ...     _ = table.write("n,d,loss\\n" + "".join(f"{n},{d},{x}\\n" for n, d, x in sizes))
    ...     _ = table.flush()
    ...     errors = mugrow.extrapolate(table.name, n="n", d="d", loss="loss")
    >>> errors[-1].fitted, round(errors[-1].mean.value, 1)  # percent
    ('as good as the best fitted', 5.0)
    """
    families = read_families(
        table, n=n, d=d, loss=loss, family=family, run=run, seeds=seeds, by_x=by_x
    )
    return errors(families)


def errors(families: Families) -> list[ExtrapolationError]:
    """The errors of everything that can be fitted; of final losses alone where a row is a run."""
    finals = all((rows["share"] == 1).all() for rows in families.values())
    rules = FINAL_RULES if finals else RULES
    parts = {name: (_small(rows), target(rows)) for name, rows in families.items()}
    found = [
        ExtrapolationError(label, {name: rule(*of_family) for name, of_family in parts.items()})
        for label, rule in rules.items()
    ]
    if finals and len(families) > 1:
        of_others = {name: borrowed(families, name) for name in families}
        found.append(ExtrapolationError(BORROWED, of_others))
    return found


def borrowed(families: Families, name: str) -> float:
    """ARE in percent of a law whose E alone is this family's, from its smallest model."""
    laws = [_law(_small(rows)) for other, rows in families.items() if other != name]
    known = [law for law in laws if law]
    if not known:
        return math.nan
    fixed = {
        key: float(np.median([law[key] for law in known])) for key in ("A", "B", "alpha", "beta")
    }
    return error_percent(smallest(_small(families[name]), 1), target(families[name]), fixed)


def _small(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["n"].isin(sizes(rows))]


def _law(rows: pd.DataFrame) -> Mapping[str, float] | None:
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    return fit(get_form("chinchilla"), points, delta=math.inf).params
