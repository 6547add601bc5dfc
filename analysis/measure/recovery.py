"""What growing does to the loss at first, and how long until it is made good.

With L the validation loss of the source at the checkpoint used, and l(t) that of the grown run t
tokens after it was grown,

    spike = l(0) - L          peak = max over t of l(t) - L

and the run is *back* at the first t from its peak on at which l(t) <= L, linear between logged
points. Tokens on which a method learned its growth operator count as part of t.

A method that preserves the function has no spike and may pay later, when the learning rate of a
restarted schedule has risen: hence the peak, and hence "back" is counted from there. A shrinking
method's source is larger than its target, which may never get back.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from mugrow.analysis.measure.arms import label_targets
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval, student_interval

TOLERANCE = 1e-5  # nats: below it two evaluations of one function differ in rounding alone


@dataclass(frozen=True)
class Recovery:
    """One method at one target, means over its finished seeds.

    Losses in nats per token; ``source`` is the shape grown from. ``tokens`` until the loss is back
    at the source's is None unless all seeds came back; ``back`` of ``seeds`` did.
    """

    target: str
    label: str
    method: str
    source: str
    source_loss: Interval
    spike: Interval
    peak: Interval
    tokens: Interval | None
    back: int
    seeds: int


def recoveries(store: Store) -> list[Recovery]:
    """A row for each target and label that was grown from a source, in the order of labels."""
    arms = grown_curves(store).groupby(["target", "label"], sort=False)
    return [_recovery(rows) for _, rows in arms]


@lru_cache(maxsize=1)
def labelled_targets(store: Store) -> pd.DataFrame:
    """The store's targets as ``arms.label_targets`` has them. Like ``grown_curves`` it is kept:
    the summary and several figures of one store need it."""
    return label_targets(store.runs)


@lru_cache(maxsize=1)
def grown_curves(store: Store) -> pd.DataFrame:
    """Logged points, from step 0, of the finished targets whose source is in the store.

    Columns: run_id, target, label, method, seed, source (its shape), source_loss, and those of
    the store's curves.
    """
    runs = labelled_targets(store)
    runs = runs[(runs["status"] == "finished") & runs["source_run_id"].isin(store.runs["run_id"])]
    by_id = store.runs.set_index("run_id")
    sources = by_id.loc[runs["source_run_id"]]
    shapes = [f"w{w}-d{d}" for w, d in zip(sources["width"], sources["depth"], strict=True)]
    logged = _logged(store.curves, set(runs["source_run_id"]))
    losses = [
        _loss_at(logged.get(source_id), _trained_steps(spec, source_spec))
        for source_id, spec, source_spec in zip(
            runs["source_run_id"], runs["spec"], sources["spec"], strict=True
        )
    ]
    runs = runs.assign(source=shapes, source_loss=losses).dropna(subset="source_loss")
    names = ["run_id", "target", "label", "method", "seed", "source", "source_loss"]
    points = runs[names].merge(store.curves, on="run_id")
    return points[points["val_loss"].notna()]


def _trained_steps(spec: str, source_spec: str) -> int:
    """Steps that a source had trained at its checkpoint, whose number counts in its schedule."""
    checkpoint: int = json.loads(spec)["start"]["source_step"]
    began: int = json.loads(source_spec).get("first_step", 0)
    return checkpoint - began


def _logged(curves: pd.DataFrame, run_ids: set[str]) -> dict[str, pd.Series]:
    """Validation losses by step, ascending, of the runs named: one pass over a table of millions
    of rows, in place of one for every run."""
    selected = curves.loc[curves["run_id"].isin(run_ids) & curves["val_loss"].notna()]
    return {
        str(run_id): rows.set_index("step")["val_loss"].sort_index()
        for run_id, rows in selected.groupby("run_id", sort=False)
    }


def _loss_at(logged: pd.Series | None, step: int) -> float:
    """The validation loss logged last at or before a step; nan where there is none."""
    before = None if logged is None else logged.loc[:step]
    return float("nan") if before is None or before.empty else float(before.iloc[-1])


def _recovery(rows: pd.DataFrame) -> Recovery:
    seeds = {
        int(str(seed)): selected.sort_values("step") for seed, selected in rows.groupby("seed")
    }
    above = {
        seed: (selected["val_loss"] - selected["source_loss"]) for seed, selected in seeds.items()
    }
    tokens = {
        seed: tokens_until_back(selected["tokens"].to_numpy(float), above[seed].to_numpy(float))
        for seed, selected in seeds.items()
    }
    back = {seed: found for seed, found in tokens.items() if found is not None}
    first = rows.iloc[0]
    return Recovery(
        **{name: str(first[name]) for name in ("target", "label", "method", "source")},
        source_loss=student_interval(
            [selected["source_loss"].iloc[0] for selected in seeds.values()]
        ),
        spike=student_interval([selected.iloc[0] for selected in above.values()]),
        peak=student_interval([selected.max() for selected in above.values()]),
        tokens=student_interval(list(back.values())) if len(back) == len(seeds) else None,
        back=len(back),
        seeds=len(seeds),
    )


def tokens_until_back(tokens: Array, above: Array) -> float | None:
    """Tokens until a loss is back, from ``above``, its height (points,) over the source's.

    0 where it never was above; None where it never came back.
    """
    peak = int(np.argmax(above))
    if above[peak] <= TOLERANCE:
        return 0.0
    below = np.flatnonzero(above[peak:] <= TOLERANCE)
    if not len(below):
        return None
    right = peak + int(below[0])
    left = right - 1
    part = above[left] / (above[left] - min(above[right], 0.0))
    return float(tokens[left] + part * (tokens[right] - tokens[left]))
