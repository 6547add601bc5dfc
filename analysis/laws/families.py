"""How well laws predict the largest model of the families in a published table.

The errors of ``analysis/ladder_error.py`` for runs that others trained: a family is what shares an
architecture and a corpus, and intervals are over families, as in Choshen et al. (arXiv 2410.11840).
Where the table has one row a run, its last, what is fitted are final losses, and one more thing can
be asked: whether the law of other families serves this one, so that one small model is enough:

    L = E + A / N^alpha + B / D^beta    with E fitted, and the rest the medians of the others' fits.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.ladder_error import (
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
from mugrow.analysis.read.expression import column, numbers
from mugrow.analysis.read.table import read_table
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
    path: Path, *, n: str, d: str, loss: str, family: str | None, run: str | None
) -> Families:
    """A ladder for each family: columns n (parameters), d (tokens), loss, horizon (the run's
    tokens), share (of them, d). ``family`` and ``run`` are columns, the others expressions; without
    ``run`` a row is a run. Rows without a finite loss are left out. Raises ``UserError`` for what
    is not there, and for a family of fewer than four sizes, of which the largest is predicted."""
    table = read_table(path)
    rows = pd.DataFrame({"n": numbers(table, n), "d": numbers(table, d)})
    for name, expression in (("n", n), ("d", d)):
        if not (np.isfinite(rows[name]) & (rows[name] > 0)).all():
            raise UserError(f"--{name} {expression}: not every row has a number above 0")
    rows["loss"] = numbers(table, loss)
    rows["family"] = column(table, family).astype(str) if family else path.stem
    rows["run"] = column(table, run) if run else np.arange(len(table))
    rows = rows[np.isfinite(rows["loss"])]
    rows["horizon"] = rows.groupby(["family", "run"])["d"].transform("max")
    rows["share"] = rows["d"] / rows["horizon"]
    found = {str(name): own.drop(columns=["family", "run"]) for name, own in rows.groupby("family")}
    for name, own in found.items():
        if len(sizes(own)) < FEWEST:
            raise UserError(
                f"family {name!r} has {own['n'].nunique()} sizes; {FEWEST} are fitted and a larger "
                "one is predicted"
            )
    return found


def errors(families: Families) -> pd.DataFrame:
    """ARE in percent of the largest model's loss: a row for what is fitted, a column a family."""
    finals = all((own["share"] == 1).all() for own in families.values())
    rules = FINAL_RULES if finals else RULES
    found = {
        name: {label: rule(_small(own), target(own)) for label, rule in rules.items()}
        for name, own in families.items()
    }
    if finals and len(families) > 1:
        for name in families:
            found[name][BORROWED] = borrowed(families, name)
    return pd.DataFrame(found)


def over_families(row: pd.Series) -> Interval:
    """The mean over the families for which there is a fit."""
    return student_interval(list(row.dropna()))


def borrowed(families: Families, name: str) -> float:
    """ARE in percent of a law whose E alone is the family's own, from its smallest model."""
    laws = [_law(_small(own)) for other, own in families.items() if other != name]
    known = [law for law in laws if law]
    if not known:
        return math.nan
    fixed = {
        key: float(np.median([law[key] for law in known])) for key in ("A", "B", "alpha", "beta")
    }
    return error_percent(smallest(_small(families[name]), 1), target(families[name]), fixed)


def _small(own: pd.DataFrame) -> pd.DataFrame:
    return own[own["n"].isin(sizes(own))]


def _law(rows: pd.DataFrame) -> Mapping[str, float] | None:
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    return fit(get_form("chinchilla"), points, delta=math.inf).params
