"""Extrapolation: how well a law fitted to a study's small models predicts its largest.

Choshen et al. (arXiv 2410.11840) fit L = E + A / N^alpha + B / D^beta by least squares to some
models of a family and some checkpoints of each, and score it by

    ARE = mean |L - L_predicted| / L

over the last 30 % of the tokens of the largest model. A checkpoint in the middle of a decaying
schedule is not a short run's end; they report that using it helps all the same, but for the first
tenth of training. Two baselines tell whether a law is of use: the loss of the best small model, and
the beginning of the target itself, continued as c + a D^b.

Losses are means over seeds, and fits are least squares on log loss. ``families`` asks the same of
models that others trained.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import Quantity, Sample
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array

Rule = Callable[[pd.DataFrame, pd.DataFrame], float]
LAST = 0.3  # of the target's tokens, over which a prediction is scored
DROPPED = 0.1  # of a run, at its beginning
FEWEST = 3  # models that make a family


def checkpoints(store: Store, name: str) -> pd.DataFrame:
    """All checkpoints of an arm's runs: columns seed, n (parameters), d (tokens), loss (nats per
    token), horizon (the run's tokens), share (of them, d)."""
    runs = arm(store.runs, name, ["run_id", "seed", "params", "tokens"])
    runs = runs.rename(columns={"params": "n", "tokens": "horizon"})
    rows = runs.merge(store.curves[["run_id", "tokens", "val_loss"]], on="run_id")
    rows = rows.rename(columns={"tokens": "d", "val_loss": "loss"})
    rows = rows[rows["d"] > 0]
    return rows.assign(share=rows["d"] / rows["horizon"]).drop(columns="run_id")


def means(rows: pd.DataFrame, seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Of the loss over these seeds or all, sizes and checkpoints ascending."""
    drawn = rows if seeds is None else rows[rows["seed"].isin(list(seeds))]
    keys = ["n", "horizon", "d", "share"]
    return drawn.groupby(keys)["loss"].mean().reset_index()  # sorted by the keys


def sizes(rows: pd.DataFrame) -> list[float]:
    """Parameter counts of the models to fit, ascending: all but the largest."""
    return sorted(float(n) for n in rows["n"].unique())[:-1]


def target(rows: pd.DataFrame) -> pd.DataFrame:
    """The largest model's longest run."""
    model = rows[rows["n"] == rows["n"].max()]
    longest: pd.DataFrame = model[model["horizon"] == model["horizon"].max()]
    return longest


def finals(rows: pd.DataFrame) -> pd.DataFrame:
    """The last checkpoint of each run."""
    return rows[rows["share"] == 1]


def between(rows: pd.DataFrame, first: float = DROPPED, last: float = 1.0) -> pd.DataFrame:
    """Checkpoints of the longest runs in this part of their tokens."""
    longest = rows["horizon"] == rows["horizon"].max()
    part: pd.DataFrame = rows[longest & (rows["share"] >= first) & (rows["share"] <= last)]
    return part


def error_percent(
    fitted: pd.DataFrame, scored: pd.DataFrame, known: Mapping[str, float] | None = None
) -> float:
    """ARE of a law through ``fitted``, in percent; nan where the rows do not identify one. Of one
    model's rows alone that is a law in tokens, unless parameters of the law in both are ``known``.
    """
    end = scored[scored["share"] > 1 - LAST]
    if len(set(fitted["n"])) == 1 and not known:
        form, columns = get_form("power"), {"x": fitted["d"].to_numpy(float)}
        at = [[float(d)] for d in end["d"]]
    else:
        form = get_form("chinchilla")
        columns = {name: fitted[name].to_numpy(float) for name in ("n", "d")}
        at = [[float(n), float(d)] for n, d in zip(end["n"], end["d"], strict=True)]
    points = columns | {"loss": fitted["loss"].to_numpy(float)}
    delta = None if form.name == "power" else math.inf
    found = fit(form, points, delta=delta, predict=at, fixed=known or {}).predictions
    if not found:
        return math.nan
    said = np.array([point.loss for point in found], dtype=np.float64)
    return _are(said, end)


def baseline_percent(fitted: pd.DataFrame, scored: pd.DataFrame) -> float:
    """ARE of saying that the target will be as good as the best of the models fitted."""
    end = scored[scored["share"] > 1 - LAST]
    return _are(np.full(len(end), fitted["loss"].min()), end)


def smallest(small: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of the ``count`` smallest models."""
    return small[small["n"].isin(sorted(set(small["n"]))[:count])]


def largest(small: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of the ``count`` largest models."""
    return small[small["n"].isin(sorted(set(small["n"]))[-count:])]


# what is fitted: the error in percent, of the models to fit and the target
RULES: Mapping[str, Rule] = {
    "final losses alone": lambda small, big: error_percent(finals(small), big),
    "all checkpoints": lambda small, big: error_percent(between(small, 0.0), big),
    "checkpoints after 10 %": lambda small, big: error_percent(between(small), big),
    "of the 3 smallest models": lambda small, big: error_percent(
        between(smallest(small, FEWEST)), big
    ),
    "of the 3 largest models": lambda small, big: error_percent(
        between(largest(small, FEWEST)), big
    ),
    "target’s own 10 to 30 %": lambda small, big: error_percent(between(big, last=0.3), big),
    "target’s own 10 to 70 %": lambda small, big: error_percent(between(big, last=0.7), big),
    "as good as the best fitted": lambda small, big: baseline_percent(between(small), big),
}


def _are(said: Array, end: pd.DataFrame) -> float:
    loss = end["loss"].to_numpy(float)
    return float(100 * np.mean(np.abs(said - loss) / loss))


@lru_cache(maxsize=256)  # claims share what they compare with
def error_of_rule(store: Store, name: str, rule: Rule, seeds: tuple[int, ...]) -> float:
    """A rule's error, of the models to fit and the target of an arm."""
    mean = means(checkpoints(store, name), seeds)
    return rule(mean[mean["n"].isin(sizes(mean))], target(mean))


@dataclass(frozen=True)
class ErrorOfRule(Quantity):
    """A rule's error of an arm, in percent, over its seeds."""

    arm: str
    rule: Rule

    def of(self, store: Store) -> Sample:
        seeds = frozenset(arm(store.runs, self.arm)["seed"].astype(int))
        return Sample(seeds, lambda drawn: error_of_rule(store, self.arm, self.rule, tuple(drawn)))
