"""What growth does to a loss curve: the jump, the slope that it keeps, and the compute it saves.

Shen et al. (arXiv 2203.06211) ask two things of a growth operator: that the loss is the source's,
and that it then falls as that of a large model trained from scratch falls *from that loss*. So a
grown run is laid over the one from scratch where their losses are equal, not where their steps are:

    rho(l) = S_small(l) / S_large(l),       S(l) the step at which the envelope first reaches loss l

is how far back the large model's schedule is taken up, and the slope is tau = dln L / dln C.

The surprising fact: what is saved is only what the large model would have paid for the part
skipped, less what the small one paid for it. Where rho is no more than the ratio of their FLOPs a
step, the perfect operator saves nothing.

Steps are those of the schedule, and FLOPs include all sources. Quantities are of the mean curve of
the seeds in common, with the jackknife's interval over them.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from mugrow.analysis.measure.measured import arm, over_seeds
from mugrow.analysis.measure.savings import Curve, cost, envelope
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval, student_interval
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import RunSpec, run_spec_from_json

SPIKE = 1.01  # a rise by more is left out of a slope, as in the paper's own procedure
SMOOTHED = 5  # points of the running mean of a loss before its slope is taken


@dataclass(frozen=True, eq=False)
class Trace:
    """The runs of an arm: schedule steps (points,), FLOPs with all sources (points,), validation
    losses (seeds, points) in nats per token."""

    step: Array
    flops: Array
    losses: Array

    @property
    def loss(self) -> Array:
        return np.asarray(self.losses.mean(axis=0), dtype=np.float64)

    def until(self, step: float) -> "Trace":
        kept = self.step <= step
        return Trace(self.step[kept], self.flops[kept], self.losses[:, kept])

    def step_at(self, loss: float) -> float:
        """The step at which the loss is first reached; nan where it never is."""
        return float(cost(Curve(self.step, self.loss), np.array([loss]))[0])

    def flops_at(self, loss: float) -> float:
        return float(cost(Curve(self.flops, self.loss), np.array([loss]))[0])

    def loss_at(self, step: float) -> float:
        """The lowest loss up to a step, linear between points; nan outside."""
        lowest = envelope(Curve(self.step, self.loss)).loss
        return float(np.interp(step, self.step, lowest, left=math.nan, right=math.nan))


def constant_steps(run: RunSpec) -> int:
    """How many steps a run trains before its rate is cooled down."""
    wsd = run.schedule.kind == "wsd"
    return min(run.last_step, cooldown_start(run.schedule, run.steps) if wsd else run.steps)


def constant_part(store: Store, name: str) -> int:
    """The same of an arm."""
    return constant_steps(run_spec_from_json(arm(store.runs, name)["spec"].iloc[0]))


def trace(store: Store, name: str, seeds: Collection[int] | None = None) -> Trace:
    """Of an arm, or of some of its seeds. A run that only continues another begins where that did.
    Raises ``UserError`` where the arm has no finished run."""
    by_seed = _by_seed(store, name)
    traces = [one for seed, one in by_seed.items() if seeds is None or seed in seeds]
    assert all(np.array_equal(one.step, traces[0].step) for one in traces), name
    return replace(traces[0], losses=np.concatenate([one.losses for one in traces]))


@lru_cache(maxsize=64)  # an interval asks for the same arms once a seed left out
def _by_seed(store: Store, name: str) -> Mapping[int, Trace]:
    own = arm(store.runs, name)
    by_id = {row["run_id"]: row for row in store.runs.to_dict("records")}
    return {
        int(seed): _of_run(store, by_id, run_id)
        for seed, run_id in zip(own["seed"], own["run_id"], strict=True)
    }


def _of_run(store: Store, rows: Mapping[str, Mapping[Any, Any]], run_id: str) -> Trace:
    row = rows[run_id]
    curve = store.curves[store.curves["run_id"] == run_id].sort_values("step")
    first = json.loads(row["spec"]).get("first_step", 0)
    own = Trace(
        curve["step"].to_numpy(float) + first,
        curve["flops"].to_numpy(float) + row["flops_source"],
        curve["val_loss"].to_numpy(float)[None],
    )
    if row["method"] != "continue":
        return own
    before = _of_run(store, rows, row["source_run_id"])
    pairs = ((before.step, own.step), (before.flops, own.flops), (before.losses, own.losses))
    return Trace(*(np.concatenate([a, b[..., 1:]], axis=-1) for a, b in pairs))


def seeds_of(store: Store, *names: str) -> list[int]:
    """The seeds that all these arms have."""
    return sorted(set.intersection(*(set(_by_seed(store, name)) for name in names)))


def jump(store: Store, name: str) -> Interval:
    """The loss right after growth minus the source's last, in nats."""
    ends = store.runs.set_index("run_id")["final_val_loss"]
    grown = trace(store, name).losses[:, 0]
    return student_interval(grown - ends[arm(store.runs, name)["source_run_id"]].to_numpy())


def spike(store: Store, name: str) -> Interval:
    """The highest loss after growth minus the loss at growth, in nats; 0 where it only falls."""
    losses = trace(store, name).losses
    return student_interval(losses.max(axis=1) - losses[:, 0])


def step_ratio(store: Store, small: str, large: str, step: float) -> Interval:
    """rho at the loss that the small model has at ``step``."""

    def ratio(seeds: Sequence[int]) -> float:
        return step / trace(store, large, seeds).step_at(trace(store, small, seeds).loss_at(step))

    return over_seeds(seeds_of(store, small, large), ratio)


def kept_slope(store: Store, name: str, baseline: str, steps: float) -> Interval:
    """How far the loss falls in the first ``steps`` after growth, over how far the baseline's falls
    in as many from the same loss: 1 where the slope is kept."""

    def ratio(seeds: Sequence[int]) -> float:
        grown, scratch = trace(store, name, seeds), trace(store, baseline, seeds)
        begun = grown.loss[0]
        falls = begun - grown.loss_at(grown.step[0] + steps)
        return float(falls / (begun - scratch.loss_at(scratch.step_at(begun) + steps)))

    return over_seeds(seeds_of(store, name, baseline), ratio)


def saved(
    store: Store, name: str, baseline: str, at: float, last: float, seeds: Collection[int]
) -> float:
    """The share of compute saved, sources included, at the loss that the baseline has at step
    ``at``. Steps after ``last`` do not count. An arm that does not get there saves at most what is
    left when its whole curve is paid for, and that is its value."""
    grown = trace(store, name, seeds).until(last)
    scratch = trace(store, baseline, seeds).until(last)
    loss = scratch.loss_at(at)
    spent = grown.flops_at(loss)
    spent = grown.flops[-1] if math.isnan(spent) else spent
    return float(1 - spent / scratch.flops_at(loss))


def slopes(curve: Trace) -> tuple[Array, Array, Array]:
    """Steps, FLOPs and tau of the mean curve: spikes left out, a running mean of the loss, and the
    slope of its logarithm. Empty where there are too few points."""
    loss, usable = curve.loss, curve.flops > 0
    usable[1:] &= loss[1:] <= SPIKE * loss[:-1]
    step, flops, loss = (values[usable] for values in (curve.step, curve.flops, loss))
    if len(loss) <= SMOOTHED:
        return np.empty(0), np.empty(0), np.empty(0)
    mean = partial(np.convolve, v=np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
    log_flops, log_loss = mean(np.log(flops)), np.log(mean(loss))
    return mean(step), np.exp(log_flops), np.gradient(log_loss, log_flops)


def slope(curve: Trace, step: float) -> float:
    """tau at a step, or at the nearest that the curve has one at; nan where it has none."""
    steps, _, tau = slopes(curve)
    return float(np.interp(step, steps, tau)) if len(steps) else math.nan


def slope_at(store: Store, name: str, step: float) -> Interval:
    """tau of an arm at a step, or at the nearest that its curve has one at."""
    return over_seeds(seeds_of(store, name), lambda s: slope(trace(store, name, s), step))
