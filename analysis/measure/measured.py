"""What a claim is about, from a study's tables: losses of arms, and their speed-ups.

The arms of a study written out run by run are in the columns ``factors`` and ``arm``. Of runs that
share a seed the batches and initial draws are the same, so arms are compared seed by seed. Every
function gives an ``Interval`` over seeds: Student's, or the jackknife's where a quantity is no mean
of seeds.
"""

import difflib
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.measure.arms import arm as arm_of
from mugrow.analysis.measure.arms import curves_by_run
from mugrow.analysis.measure.savings import Accounting, baseline_final, compare
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import LEVEL, NOTHING, Interval, jackknife_interval
from mugrow.bench.arm import factors_from_json, factors_of
from mugrow.bench.spec import UserError


def arm(runs: pd.DataFrame, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The finished runs of an arm, by seed, which its factors select (an ``ArmName``) or its name;
    all columns, or these (to copy all takes most of the time). Raises ``UserError`` where it has
    none."""
    rows = _places(runs, name)
    if columns is None:
        return runs.iloc[rows]
    return pd.DataFrame({one: runs[one].array[rows] for one in columns}, index=runs.index[rows])


def _places(runs: pd.DataFrame, name: str) -> npt.NDArray[np.intp]:
    """Where the finished runs of an arm are, by seed: claims ask for hundreds of arms, and pandas
    takes a millisecond for each that it selects. Raises ``UserError`` where there is none."""
    found = np.flatnonzero(_named(runs, name) & (runs["status"].to_numpy() == "finished"))
    if not len(found):
        there = sorted({arm for arm in runs["arm"] if isinstance(arm, str)})
        near = difflib.get_close_matches(name, there, n=1) if name not in there else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"arm {str(name)!r} has no finished run{hint}")
    return found[np.argsort(runs["seed"].to_numpy()[found])]


def run_ids(runs: pd.DataFrame, name: str) -> frozenset[str]:
    """Of the runs that an arm's factors select; none where it or the table has no factors."""
    if not factors_of(name) or "factors" not in runs:
        return frozenset()
    return frozenset(runs["run_id"][_named(runs, name)])


def _named(runs: pd.DataFrame, name: str) -> npt.NDArray[np.bool_]:
    """Which rows are an arm's: by its factors, or by its name where it or the table has none."""
    factors = factors_of(name)
    texts = runs["factors"].to_numpy() if factors and "factors" in runs else ()
    if not any(isinstance(text, str) for text in texts):
        return np.asarray(runs["arm"].to_numpy() == name)
    said = {text: factors_from_json(text) for text in set(texts) if isinstance(text, str)}
    return np.array([said.get(text) == factors for text in texts], dtype=np.bool_)


def factor_table(runs: pd.DataFrame) -> pd.DataFrame:
    """The factors of runs, a column each, by the index of ``runs``; missing where a run has not
    that factor: ``runs[factor_table(runs)["g"] == 2]``."""
    said = [factors_from_json(text) if isinstance(text, str) else {} for text in runs["factors"]]
    return pd.DataFrame(said, index=runs.index)


def finals(runs: pd.DataFrame, name: str) -> dict[int, float]:
    """Final validation losses of an arm by seed, in nats per token."""
    rows = _places(runs, name)
    seeds, losses = (runs[column].to_numpy()[rows] for column in ("seed", "final_val_loss"))
    found = dict(zip(seeds.astype(int).tolist(), losses.astype(float).tolist(), strict=True))
    if len(found) < len(rows):
        (seed, *_) = [one for one in found if list(seeds).count(one) > 1]
        raise UserError(f"arm {str(name)!r} has two runs of seed {seed}: give it a factor more")
    return found


def speedup(
    store: Store, baseline: str, method: str, accounting: Accounting, level: float = LEVEL
) -> Interval:
    """FLOPs of ``baseline`` over those of ``method`` to the baseline's final loss, paired by seed.

    Where ``method`` never got there the value is a bound: the ratio lies between 0 and it, or as
    far above it as seeds may differ. An end that seeds leave open is 0 below, and infinite above.
    """
    rows = [arm(store.runs, name) for name in (baseline, method)]
    curves = curves_by_run(
        store.curves, {run_id for selected in rows for run_id in selected["run_id"]}
    )
    arms = [arm_of(selected, curves) for selected in rows]
    for saving in compare(arms[0], arms[1], baseline_final, level=level):
        if saving.accounting != accounting:
            continue
        if saving.speedup is not None:
            ratio = saving.speedup
            return Interval(ratio.value, float(np.maximum(ratio.lo, 0.0)), ratio.hi, ratio.n)
        if saving.state == "never_reached" and saving.bound is not None:
            ends = (math.nan, math.nan) if saving.limit is None else (0.0, saving.limit)
            return Interval(saving.bound, *ends, saving.seeds)
    return NOTHING


def over_seeds(
    seeds: Sequence[int], statistic: Callable[[Sequence[int]], float], level: float = LEVEL
) -> Interval:
    """A statistic of all seeds with the jackknife's interval."""
    seeds = sorted(seeds)
    if not seeds:
        return NOTHING
    left_out = [statistic([s for s in seeds if s != one]) for one in seeds] if seeds[1:] else []
    return jackknife_interval(statistic(seeds), np.array(left_out), level)
