"""Grown models beside scratch, over sizes, growth factors and tokens per parameter.

Every run has a *horizon*, its tokens per parameter of its own, and a growth factor g, its
parameters over its source's, embeddings included in both; scratch has g = 1. Compute is C = 6 N D
of the target alone. So of one size and horizon all runs cost the same, and what a source had cost
is left out, unless it is said to be charged. (Mallik, Janowski, Hog et al. 2026, arXiv 2605.13405,
count like this.)

The *ladder* is every size beside the one grown by about two; its largest size is held out of all
laws. Quantities are of mean losses over seeds, with the jackknife's interval over them.

The surprising fact: at equal tokens per parameter a source costs 1 / g^2 of its target. That is a
quarter at g = 2, but more than half at g = 1.3, which this way of counting leaves out as well.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import FitResult, fit
from mugrow.analysis.laws.growth_factor import FORM as GROWTH_FACTOR
from mugrow.analysis.laws.growth_factor import levels_of
from mugrow.analysis.laws.power_line import PowerLine, power_line
from mugrow.analysis.measure.measured import difference, over_seeds, speedup
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

SCRATCH, SZP, NET2NET, CLONE = "scratch", "szp", "net2net", "hypercloning"
METHODS = (SCRATCH, SZP, NET2NET, CLONE)
HORIZONS = (5, 10, 20, 30)  # tokens per parameter
USUAL = 20  # the horizon of every source, and of what is compared unless another is named
SHRINK = 0.4
TWO = math.log(2.0)
LEVELS = np.linspace(1 / 6, 1, 8)  # of a run's compute
Statistic = Callable[[pd.DataFrame], float]


def named(method: str, horizon: int) -> str:
    """The arm of all runs of a method to a horizon."""
    return f"{method}, {horizon} tokens per parameter"


ARMS = {named(method, horizon): (method, horizon) for method in METHODS for horizon in HORIZONS}


@lru_cache(maxsize=8)  # every claim and figure reads it
def finals(store: Store) -> pd.DataFrame:
    """A row for each finished run of ``ARMS``: run_id, seed, method, horizon, n (parameters), d
    (tokens), c (6 n d), g, shrink (nan but for SZP), source (its width), loss."""
    runs = store.runs[(store.runs["status"] == "finished") & store.runs["arm"].isin(ARMS)]
    if runs.empty:
        raise UserError("no run of any arm has finished")
    small = store.runs.set_index("run_id")[["params", "width"]].reindex(runs["source_run_id"])
    params = [dict(json.loads(spec)["start"]["params"]) for spec in runs["spec"]]
    found = pd.DataFrame({
        "run_id": runs["run_id"],
        "seed": runs["seed"].astype(int),
        "method": [ARMS[name][0] for name in runs["arm"]],
        "horizon": [ARMS[name][1] for name in runs["arm"]],
        "n": runs["params"],
        "d": runs["tokens"],
        "c": 6.0 * runs["params"] * runs["tokens"],
        "g": (runs["params"].to_numpy() / small["params"].to_numpy(float)),
        "shrink": [one.get("shrink", math.nan) for one in params],
        "source": small["width"].to_numpy(float),
        "loss": runs["final_val_loss"].astype(float),
    })  # fmt: skip
    return found.fillna({"g": 1.0}).reset_index(drop=True)


def kept(rows: pd.DataFrame, which: "pd.Series[bool]") -> pd.DataFrame:
    own: pd.DataFrame = rows[which]
    return own


def usual(rows: pd.DataFrame) -> pd.DataFrame:
    """Without SZP at any other shrink factor."""
    return kept(rows, rows["shrink"].isna() | (rows["shrink"] == SHRINK))


def ladder(store: Store, method: str) -> pd.DataFrame:
    """A method's runs of every size at all horizons, each from the source nearest to g = 2."""
    rows = usual(finals(store))
    own = rows[rows["method"] == method]
    away = (np.log(own["g"]) - TWO).abs()
    nearest = away.groupby([own["n"], own["horizon"]]).transform("min")
    return kept(own, away <= nearest + 1e-9)


def fitted(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the largest size."""
    return kept(rows, rows["n"] < rows["n"].max())


def balanced(rows: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The runs of those seeds that have every value of ``arm``."""
    count = rows.groupby("seed")[arm].transform("nunique")
    return kept(rows, count == rows[arm].nunique())


def held_out(rows: pd.DataFrame) -> pd.DataFrame:
    return kept(rows, rows["n"] == rows["n"].max())


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean loss over seeds of each n, d, c, horizon, by ascending compute."""
    return rows.groupby(["c", "n", "d", "horizon"])["loss"].mean().reset_index()


def over(rows: Mapping[str, pd.DataFrame], statistic: Callable[..., float]) -> Interval:
    """A statistic of tables of runs, by name, over the seeds that all of them have."""
    seeds = set.intersection(*(set(own["seed"]) for own in rows.values()))

    def of(drawn: Sequence[int]) -> float:
        chosen = {name: own[own["seed"].isin(list(drawn))] for name, own in rows.items()}
        return float(statistic(**chosen))

    return over_seeds(sorted(int(seed) for seed in seeds), of)


# --- growth factors ----------------------------------------------------------------------------


def targets(store: Store, method: str = SZP) -> list[int]:
    """The sizes that a method grows from several sources, at the usual shrink factor and horizon,
    ascending. Raises ``UserError`` where it has none."""
    rows = usual(finals(store))
    own = rows[(rows["method"] == method) & (rows["horizon"] == USUAL)]
    sources = own.groupby("n")["g"].nunique()
    found = sorted(sources[sources > 1].index.astype(int).tolist())
    if not found:
        raise UserError(f"{method} has no target of several sources")
    return found


def factors(store: Store, method: str, n: int, horizon: int) -> pd.DataFrame:
    """Final losses of a target from scratch and from every source of a method, of those seeds that
    have them all."""
    rows = usual(finals(store))
    of = (rows["n"] == n) & (rows["horizon"] == horizon) & rows["method"].isin([SCRATCH, method])
    return balanced(kept(rows, of), "g")


def at_levels(store: Store, method: str, n: int, horizon: int) -> pd.DataFrame:
    """The same along training, at ``LEVELS`` of the compute: columns c, g, seed, loss."""
    rows = factors(store, method, n, horizon)
    curves = dict(list(store.curves.dropna(subset="val_loss").groupby("run_id")))
    parts = []
    for run in rows.to_dict("records"):
        curve = curves[run["run_id"]]
        loss = np.interp(LEVELS * run["d"], curve["tokens"], curve["val_loss"])
        columns = {"c": 6.0 * n * LEVELS * run["d"], "loss": loss}
        parts.append(pd.DataFrame(columns | {name: run[name] for name in ("g", "seed")}))
    return pd.concat(parts, ignore_index=True) if parts else rows[["c", "g", "seed", "loss"]]


def of_level(rows: pd.DataFrame, level: int, quantity: str) -> float:
    """``optimum_g`` or ``break_even_g`` of one of the levels, 0 the first and -1 the last; nan
    where the parabola has none, infinite above the largest factor."""
    points = {name: rows[name].to_numpy(float) for name in ("g", "c", "loss")}
    found = levels_of(fit(GROWTH_FACTOR, points))[level]
    return {"optimum_g": found.optimum_g, "break_even_g": found.break_even_g}[quantity]


def best_factor(store: Store, method: str, n: int, quantity: str = "optimum_g") -> Interval:
    """At the end of the usual horizon."""
    rows = at_levels(store, method, n, USUAL)
    return over({"rows": rows}, lambda rows: of_level(rows, -1, quantity))


def fall(store: Store, method: str, n: int) -> Interval:
    """The best factor at the first of the levels minus that at the last."""

    def early_minus_end(rows: pd.DataFrame) -> float:
        return of_level(rows, 0, "optimum_g") - of_level(rows, -1, "optimum_g")

    return over({"rows": at_levels(store, method, n, USUAL)}, early_minus_end)


def by_seed(rows: pd.DataFrame) -> dict[int, float]:
    """The mean loss of each seed."""
    loss = rows.groupby("seed")["loss"].mean()
    return dict(zip(loss.index.astype(int).tolist(), loss.tolist(), strict=True))


def furthest(store: Store, method: str, n: int) -> Interval:
    """Final loss grown from the smallest source minus that of scratch, nats."""
    rows = factors(store, method, n, USUAL)
    smallest = rows[rows["g"] == rows["g"].max()]
    return difference(by_seed(smallest), by_seed(rows[rows["method"] == SCRATCH]))


def best_gain(store: Store, method: str, n: int) -> Interval:
    """The lowest mean loss over growth factors minus that of scratch, nats."""

    def gain(rows: pd.DataFrame) -> float:
        loss = rows.groupby("g")["loss"].mean()
        return float(loss.drop(1.0).min() - loss[1.0])

    return over({"rows": factors(store, method, n, USUAL)}, gain)


def minus(store: Store, one: str, other: str, n: int) -> Interval:
    """Final losses of two methods, mean over the sources that both have, nats."""
    rows = usual(finals(store))
    rows = rows[(rows["n"] == n) & (rows["horizon"] == USUAL)]
    both = [rows[rows["method"] == method] for method in (one, other)]
    common = set(both[0]["g"]) & set(both[1]["g"])
    ours, theirs = (by_seed(own[own["g"].isin(common)]) for own in both)
    return difference(ours, theirs)


def by_shrink(store: Store) -> dict[float, dict[float, pd.DataFrame]]:
    """By growth factor and shrink factor, the runs of the target whose shrink factor is varied.
    Raises ``UserError`` where it is not."""
    rows = finals(store)
    own = rows[(rows["method"] == SZP) & (rows["horizon"] == USUAL)]
    found = {
        g: {shrink: kept(of, of["shrink"] == shrink) for shrink in sorted(set(of["shrink"]))}
        for g in sorted(set(own["g"]))
        if len(set((of := kept(own, own["g"] == g))["shrink"])) > 1
    }
    if not found:
        raise UserError("the shrink factor is not varied")
    return found


def unshrunk(store: Store) -> Interval:
    """Final loss at a shrink factor of 1 minus the highest at any other, mean over sources."""
    found = [pd.concat(of.values()) for of in by_shrink(store).values()]
    rows = pd.concat([balanced(own, "shrink") for own in found])

    def above(rows: pd.DataFrame) -> float:
        loss = rows.groupby("shrink")["loss"].mean()
        return float(loss[1.0] - loss.drop(1.0).max())

    return over({"rows": rows}, above)


# --- the ladder --------------------------------------------------------------------------------


def gains(store: Store, horizon: int) -> pd.DataFrame:
    """Scratch's final loss minus SZP's over the ladder: a row for each n, a column for each seed;
    sizes that have runs at every horizon."""
    tables = []
    for method in (SCRATCH, SZP):
        rows = fitted(ladder(store, method))
        whole = rows.groupby("n")["horizon"].transform("nunique") == rows["horizon"].nunique()
        own = rows[whole & (rows["horizon"] == horizon)]
        tables.append(own.pivot_table(index="n", columns="seed", values="loss"))
    return tables[0] - tables[1]


def gain(store: Store, horizon: int) -> dict[int, float]:
    """By seed, the mean over sizes."""
    found = gains(store, horizon).mean()
    return dict(zip(found.index.astype(int).tolist(), found.tolist(), strict=True))


def sooner(store: Store, accounting: Accounting) -> Interval:
    """FLOPs of scratch over those of SZP by about two to scratch's final loss, at the largest of
    ``targets``."""
    n = targets(store)[-1]
    own = pd.concat([ladder(store, method) for method in (SCRATCH, SZP)])
    own = own[(own["n"] == n) & (own["horizon"] == USUAL)].set_index("run_id")
    runs = store.runs[store.runs["run_id"].isin(own.index)]
    runs = runs.assign(arm=own["method"].reindex(runs["run_id"]).to_numpy())
    return speedup(replace(store, runs=runs), SCRATCH, SZP, accounting)


def front(mean: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``means`` with a lower loss than any that cost no more."""
    best = mean["loss"].cummin()
    return mean[(mean["loss"] == best) & (best < best.shift(fill_value=math.inf))]


def line(mean: pd.DataFrame, quantity: str) -> PowerLine:
    """The power law of ``loss``, ``n`` or ``d`` against compute along the front; of nan where that
    is one point."""
    own = front(mean)
    if len(own) < 2:
        return PowerLine(math.nan, math.nan, math.nan)
    return power_line(own["c"].to_numpy(float), own[quantity].to_numpy(float))


def exponent(store: Store, method: str, quantity: str) -> Interval:
    rows = fitted(ladder(store, method))
    return over({"rows": rows}, lambda rows: line(means(rows), quantity).exponent)


def steeper(store: Store) -> Interval:
    """SZP's exponent of loss against compute minus scratch's."""

    def less(scratch: pd.DataFrame, szp: pd.DataFrame) -> float:
        slopes = [line(means(rows), "loss").exponent for rows in (szp, scratch)]
        return slopes[0] - slopes[1]

    return over({name: fitted(ladder(store, name)) for name in (SCRATCH, SZP)}, less)


def law(rows: pd.DataFrame, **options: object) -> FitResult:
    """L = E + A / N^alpha + B / D^beta by the Huber loss, each run a group of its own."""
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    return fit(get_form("chinchilla"), points, **options)  # type: ignore[arg-type]


def r_squared(found: FitResult, rows: pd.DataFrame) -> float:
    """Of log loss; nan without a fit."""
    if not found.params:
        return math.nan
    log = np.log(rows["loss"].to_numpy(float))
    return float(1 - np.sum(np.square(found.residuals)) / np.sum((log - log.mean()) ** 2))


def error_percent(store: Store, method: str) -> Interval:
    """Of the law's prediction for the size held out; positive where it says too much."""

    def error(rows: pd.DataFrame) -> float:
        end = means(held_out(rows)).iloc[0]
        found = law(means(fitted(rows)), predict=[[end["n"], end["d"]]]).predictions
        return 100 * (found[0].loss / end["loss"] - 1) if found else math.nan

    return over({"rows": ladder(store, method)}, error)
