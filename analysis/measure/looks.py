"""Seeds until decided: which looks a study has taken, and what those that decide nothing lack.

A study with ``looks`` adds seeds to an arm until its difference from what it is compared
``against`` at equal charged compute is decided (``sequential``). Each look has an error of its own,
so that all of them together have the study's ``error_rate``. For an arm that is not decided, the
seeds that it would take follow from the mean and the spread of those it has: an estimate as
uncertain as they are.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.baselines import Comparisons, Ended, comparisons
from mugrow.analysis.measure.equal_compute import difference
from mugrow.analysis.measure.sequential import Decision, Looks, decide, seeds_needed


@dataclass(frozen=True)
class ArmLooks(Decision):
    """What the looks say of one label at one target. ``more_seeds`` are those that deciding it is
    likely to take beyond those it has, and ``more_flops`` theirs, with what it is compared with: 0
    where it is decided, infinite where its mean is 0, nan where nothing tells."""

    target: str
    label: str
    more_seeds: float
    more_flops: float


@dataclass(frozen=True)
class LooksTaken:
    """Looks after so many ``seeds``, each at an error of ``level``, all together at
    ``error_rate``. ``flops`` are what the seeds took that each look added, searches left out, 0
    for looks that were not taken."""

    seeds: tuple[int, ...]
    against: str
    error_rate: float
    level: float
    flops: tuple[float, ...]
    arms: tuple[ArmLooks, ...]


def looks_taken(
    runs: pd.DataFrame, targets: pd.DataFrame, study: Mapping[str, Any]
) -> LooksTaken | None:
    """Of a store's table ``runs`` and its ``study``; None where that has no looks. ``targets`` are
    as ``arms.label_targets`` has them."""
    if not study.get("looks"):
        return None
    looks = Looks(tuple(map(int, study["looks"])), float(study["error_rate"]))
    against = str(study["against"])
    rest = runs[runs["role"] != "proxy"]
    seeds = sorted(set(rest["seed"]))
    spent = [
        float(rest.loc[rest["seed"].isin(seeds[before:upto]), "flops"].sum())
        for before, upto in zip((0, *looks.seeds), looks.seeds, strict=False)
    ]
    arms = tuple(_arms(comparisons(runs), targets, against, looks))
    return LooksTaken(looks.seeds, against, looks.alpha, looks.level, tuple(spent), arms)


def _arms(
    ended: Comparisons, targets: pd.DataFrame, against: str, looks: Looks
) -> Iterator[ArmLooks]:
    for target, of_target in targets.groupby("target", sort=False):
        of_scratch = of_target["method"] == BASELINE
        scratch = ended.scratch_runs(of_target.loc[of_scratch, "run_id"])
        for label, rows in of_target[~of_scratch].groupby("label", sort=False):
            ids = list(rows["run_id"])
            line = scratch if against == BASELINE else ended.source_runs(ids)
            decision, more_seeds, flops_a_seed = _of_arm(ended, ids, line, looks)
            more_flops = more_seeds * flops_a_seed if more_seeds else 0.0
            yield ArmLooks(**vars(decision), target=str(target), label=str(label),
                           more_seeds=more_seeds, more_flops=more_flops)  # fmt: skip


def _of_arm(
    ended: Comparisons, run_ids: Sequence[str], line: Collection[Ended], looks: Looks
) -> tuple[Decision, float, float]:
    """The decision, the seeds that are missing, and the FLOPs of one of them."""
    arm = ended.arm(run_ids)
    if arm is None or not line:
        return decide({}, looks), math.nan, math.nan
    by_seed = difference(arm, ended.line(line)).by_seed
    decision = decide(by_seed, looks)
    if decision.state == "decided":
        return decision, 0.0, math.nan
    sample = np.array([by_seed[seed] for seed in sorted(by_seed)])
    if len(sample) < 2:
        return decision, math.nan, math.nan
    needed = seeds_needed(float(sample.mean()), float(sample.std(ddof=1)), alpha=looks.level)
    return decision, max(1.0, needed - len(sample)), arm.flops + ended.flops_a_seed(line, run_ids)
