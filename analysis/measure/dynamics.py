"""What growth does to a loss curve: the jump, the slope that it keeps, and the compute it saves.

Shen et al. (arXiv 2203.06211) ask two things of a growth operator: that the loss is the source's,
and that it then falls as that of a large model trained from scratch falls *from that loss*. So a
grown run is laid over the one from scratch where their losses are equal, not where their steps are:

    rho(l) = S_small(l) / S_large(l),       S(l) the step at which the envelope first reaches loss l

is how far back the large model's schedule is taken up, and the slope is tau = dln L / dln C.

What is saved is only what the large model would have paid for the part skipped, less what the small
one paid for it. Where rho is no more than the ratio of their FLOPs a step, the perfect operator
saves nothing.

Steps are those of the schedule, and FLOPs include all sources. ``of_curves`` makes a quantity of a
function of mean curves, here written for one ``Trace`` an arm.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import Quantity, Sample
from mugrow.analysis.measure.savings import Curve, cost, envelope
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import factors_json
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import RunSpec, run_spec_from_json

SPIKE = 1.01  # a rise by more is left out of a slope, as in the paper's own procedure
SMOOTHED = 5  # points of the running mean of a loss before its slope is taken


@dataclass(frozen=True, eq=False)
class Trace:
    """The runs of an arm: schedule steps (points,), FLOPs with all sources (points,), validation
    losses (seeds, points) in nats per token. Its learning rate is cooled down after the step
    ``constant``."""

    step: Array
    flops: Array
    losses: Array
    constant: float

    @property
    def loss(self) -> Array:
        return np.asarray(self.losses.mean(axis=0), dtype=np.float64)

    def until(self, step: float) -> "Trace":
        kept = self.step <= step
        return replace(
            self, step=self.step[kept], flops=self.flops[kept], losses=self.losses[:, kept]
        )

    def band(self, x: Literal["step", "flops"]) -> pd.DataFrame:
        """min, mean and max of the losses over seeds, by steps or FLOPs, without step 0."""
        ends = {"min": self.losses.min(axis=0), "mean": self.loss, "max": self.losses.max(axis=0)}
        return pd.DataFrame(ends, index=getattr(self, x))[self.step > 0]

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


def trace(store: Store, name: str, seeds: Collection[int] | None = None) -> Trace:
    """Of an arm, or of some of its seeds. A run that only continues another begins where that did.
    Raises ``UserError`` where the arm has no finished run."""
    by_seed = _by_seed(store, name, factors_json(name))
    traces = [one for seed, one in by_seed.items() if seeds is None or seed in seeds]
    assert all(np.array_equal(one.step, traces[0].step) for one in traces), name
    return replace(traces[0], losses=np.concatenate([one.losses for one in traces]))


@lru_cache(maxsize=64)  # an interval asks for the same arms once a seed left out
def _by_seed(store: Store, name: str, _factors: str | None) -> Mapping[int, Trace]:
    runs = arm(store.runs, name)
    by_id = {row["run_id"]: row for row in store.runs.to_dict("records")}
    return {
        int(seed): _of_run(store, by_id, run_id)
        for seed, run_id in zip(runs["seed"], runs["run_id"], strict=True)
    }


def _of_run(store: Store, rows: Mapping[str, Mapping[Any, Any]], run_id: str) -> Trace:
    row = rows[run_id]
    curve = store.curves[store.curves["run_id"] == run_id].sort_values("step")
    spec = run_spec_from_json(row["spec"])
    alone = Trace(
        curve["step"].to_numpy(float) + spec.first_step,
        curve["flops"].to_numpy(float) + row["flops_source"],
        curve["val_loss"].to_numpy(float)[None],
        constant_steps(spec),
    )
    if row["method"] != "continue":
        return alone
    before = _of_run(store, rows, row["source_run_id"])
    step, flops, losses = (
        np.concatenate([one, other[..., 1:]], axis=-1)
        for one, other in (
            (before.step, alone.step), (before.flops, alone.flops), (before.losses, alone.losses)
        )
    )  # fmt: skip
    return Trace(step, flops, losses, alone.constant)


@dataclass(frozen=True)
class OfCurves(Quantity):
    """A function of the mean curves of arms over the seeds that all of them have."""

    function: Callable[..., float]
    arms: tuple[str, ...]

    def of(self, store: Store) -> Sample:
        tables = [_by_seed(store, name, factors_json(name)) for name in self.arms]
        return Sample(
            frozenset.intersection(*map(frozenset, tables)),
            lambda seeds: self.function(*(trace(store, name, seeds) for name in self.arms)),
        )


def of_curves(function: Callable[..., float], *arms: str) -> Quantity:
    """``function`` of a ``Trace`` for each of ``arms``, in their order."""
    return OfCurves(function, arms)


def step_ratio(small: Trace, large: Trace, step: float) -> float:
    """rho at the loss that the small model has at ``step``."""
    return step / large.step_at(small.loss_at(step))


def kept_slope(grown: Trace, baseline: Trace, steps: float) -> float:
    """How far the loss falls in the first ``steps`` after growth, over how far the baseline's falls
    in as many from the same loss: 1 where the slope is kept."""
    first = grown.loss[0]
    falls = first - grown.loss_at(grown.step[0] + steps)
    return float(falls / (first - baseline.loss_at(baseline.step_at(first) + steps)))


def saved(grown: Trace, baseline: Trace, at: float, last: float) -> float:
    """The share of compute saved, sources included, at the loss that the baseline has at step
    ``at``. Steps after ``last`` do not count. An arm that does not get there saves at most what is
    left when its whole curve is paid for, and that is its value."""
    grown, baseline = grown.until(last), baseline.until(last)
    loss = baseline.loss_at(at)
    spent = grown.flops_at(loss)
    spent = grown.flops[-1] if math.isnan(spent) else spent
    return float(1 - spent / baseline.flops_at(loss))


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
