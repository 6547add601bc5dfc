"""One trunk with cool-downs against a cosine for each horizon: what a study of both says.

The arms are the trunk's segments, branches off it by the length and shape of their cool-down,
cosines, and the trunk whole with an average of its weights. Runs of an arm differ in horizon,
learning rate and seed. A schedule is judged at the best of its rates, since a constant rate's best
is no cosine's; an average and a cool-down's length at the base rate, where all else is equal.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from mugrow.analysis.measure.measured import arm, common_seeds, finals, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval, student_interval
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import ScheduleSpec

LENGTHS = (0.05, 0.1, 0.2, 0.4)  # of cool-downs, as shares of the horizon
LENGTH = 0.2
LOG2_RATES = (-1, 0, 1, 2)  # around the base run's
TRUNK, COSINE, COSINE_0 = "trunk", "cosine to 10 %", "cosine to 0"
AVERAGED = {"swa": "SWA", "ema": "EMA"}  # arms

Finals = Mapping[float, Mapping[int, float]]  # by rate, then by seed


def cooled(share: float, shape: str = "linear") -> str:
    """The name of an arm of branches."""
    return f"cool-down {100 * share:g} %" + (", 1-sqrt" if shape == "sqrt" else "")


def left_at(steps: int, share: float) -> int:
    """The step at which the branch to a horizon leaves the trunk."""
    return cooldown_start(ScheduleSpec(warmup=0, cooldown=share), steps)


def base_rate(rates: pd.Series) -> float:
    """Of an arm that has all rates, or that one alone."""
    found = sorted(rates.unique())
    return float(found[LOG2_RATES.index(0) if len(found) > 1 else 0])


def ends(store: Store, name: str, at_base: bool = False) -> dict[int, Finals]:
    """Final losses of an arm by horizon, in nats per token; of all rates, or of the base one."""
    own = arm(store.runs, name)
    if at_base:
        own = own[own["lr"] == base_rate(own["lr"])]
    own = own.assign(horizon=[json.loads(text)["steps"] for text in own["spec"]])
    found: dict[int, Finals] = {}
    for steps in sorted(own["horizon"].unique()):
        here = own[own["horizon"] == steps]
        rates = sorted(here["lr"].unique())
        found[int(steps)] = {float(lr): finals(here[here["lr"] == lr], name) for lr in rates}
    return found


def best(by_rate: Finals, seeds: Sequence[int]) -> float:
    """The mean loss over seeds at the best of the rates."""
    return min(float(np.mean([losses[seed] for seed in seeds])) for losses in by_rate.values())


def gap(
    one: Mapping[int, Finals],
    other: Mapping[int, Finals],
    of_gaps: Callable[[Sequence[float]], float] = lambda gaps: float(np.mean(gaps)),
) -> Interval:
    """How far the losses of ``one`` lie above those of ``other``, in percent: ``of_gaps`` of the
    horizons that both have, in their order."""
    both = sorted(one.keys() & other.keys())
    seeds = common_seeds([losses for of in (one, other) for h in both for losses in of[h].values()])

    def statistic(drawn: Sequence[int]) -> float:
        return of_gaps([100 * (best(one[h], drawn) / best(other[h], drawn) - 1) for h in both])

    return over_seeds(seeds, statistic)


def against(store: Store, cosine: str) -> Interval:
    return gap(ends(store, cooled(LENGTH)), ends(store, cosine))


def widening(store: Store) -> Interval:
    """By how much the gap to the cosine is larger at the longest horizon than at the shortest."""
    one, other = ends(store, cooled(LENGTH)), ends(store, COSINE)
    return gap(one, other, lambda gaps: gaps[-1] - gaps[0])


def not_enough(store: Store) -> Interval:
    """The loss after a cool-down of the usual length over that after the longest."""
    usual, longest = (ends(store, cooled(share), True) for share in (LENGTH, LENGTHS[-1]))
    return gap(usual, longest)


def sqrt_over_linear(store: Store) -> Interval:
    sqrt, linear = (ends(store, cooled(LENGTH, shape), True) for shape in ("sqrt", "linear"))
    return gap(sqrt, linear)


def along(store: Store, kind: str) -> dict[str, dict[int, dict[int, float]]]:
    """By horizon and seed, the losses of the trunk there, of its average, and of its cool-down."""
    rows = arm(store.runs, AVERAGED[kind])[["run_id", "seed"]].merge(store.curves, on="run_id")
    down = ends(store, cooled(LENGTH), at_base=True)
    found: dict[str, dict[int, dict[int, float]]] = {TRUNK: {}, kind: {}, "cooled": {}}
    for steps, by_rate in down.items():
        found["cooled"][steps] = dict(*by_rate.values())
        here = rows[rows["step"] == steps]
        seeds = here["seed"].astype(int)
        found[TRUNK][steps] = dict(zip(seeds, here["val_loss"], strict=True))
        found[kind][steps] = dict(zip(seeds, here["val_loss_averaged"], strict=True))
    return found


def closed(store: Store, kind: str, only: int | None = None) -> Interval:
    """The share of the way from the trunk down to its cool-downs that its average goes, over all
    horizons or at one."""
    table = along(store, kind)
    steps = sorted(table["cooled"]) if only is None else [only]

    def share(seeds: Sequence[int]) -> float:
        total = {
            name: sum(by_horizon[h][seed] for h in steps for seed in seeds)
            for name, by_horizon in table.items()
        }
        return (total[TRUNK] - total[kind]) / (total[TRUNK] - total["cooled"])

    return over_seeds(common_seeds([of[h] for of in table.values() for h in steps]), share)


def averaged_minus_trunk(store: Store) -> Interval:
    table = along(store, "swa")
    one, other = ({h: {0.0: of} for h, of in table[name].items()} for name in ("swa", TRUNK))
    return gap(one, other)


def ladder_costs(store: Store) -> dict[int, tuple[list[float], list[float]]]:
    """By horizon, the FLOPs of all horizons up to it at the base rate, for each seed: of trunk and
    branches, and of cosines."""
    parts = {name: arm(store.runs, name) for name in (TRUNK, cooled(LENGTH), COSINE)}
    rate = base_rate(parts[COSINE]["lr"])
    rows = pd.concat([own[own["lr"] == rate] for own in parts.values()])
    specs = [json.loads(text) for text in rows["spec"]]
    rows["end"] = [spec["stop_step"] or spec["steps"] for spec in specs]
    costs = {}
    for steps in sorted(ends(store, COSINE)):
        needed = rows["arm"].map({TRUNK: left_at(steps, LENGTH)}).fillna(steps)
        spent = rows[rows["end"] <= needed].groupby(["arm", "seed"])["flops"].sum()
        branched = spent[TRUNK] + spent[cooled(LENGTH)]
        costs[steps] = (list(branched), list(spent[COSINE]))
    return costs


def cost_ratio(store: Store) -> Interval:
    ours, theirs = list(ladder_costs(store).values())[-1]
    return student_interval([one / other for one, other in zip(ours, theirs, strict=True)])
