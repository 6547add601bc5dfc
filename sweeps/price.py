"""A study's bill beforehand: every run with its size and cost, and the time it would take.

A run trains ``6 N D`` FLOPs and more, as ``mugrow.bench.flops`` counts them. What depends on the
optimum still to be found is priced with a stand-in, which has the same shape, tokens and FLOPs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mugrow.bench.checkpoint import Damaged
from mugrow.bench.flops import per_token
from mugrow.bench.model import count
from mugrow.bench.run import ended
from mugrow.sweeps.estimate import Estimate
from mugrow.sweeps.execute import Experiment
from mugrow.sweeps.plan import Plan, PlannedStack, SkippedGrowth
from mugrow.sweeps.preserved import claims_measured


@dataclass(frozen=True)
class PricedRun:
    """A run and what it costs: ``params`` in all, ``tokens`` it trains on, ``flops`` of them.
    ``stand_in`` where its hyperparameters are not known yet, ``cached`` where it has ended."""

    role: Literal["proxy", "source", "target", "trunk", "branch"]
    name: str
    params: int
    tokens: int
    flops: float
    stand_in: bool
    cached: bool


@dataclass(frozen=True)
class Bill:
    """What an experiment costs. ``estimated_s`` are the seconds that what is left of it takes with
    ``workers`` processes. ``runs`` are those that it needs whatever their losses; ``most_flops``
    are of all that it may need, at every budget, and at every look if none decides an arm.
    ``claims`` is what methods of others say that they preserve, and what was measured."""

    runs: tuple[PricedRun, ...]
    skipped: tuple[SkippedGrowth, ...]
    workers: int
    estimated_s: float
    most_flops: float
    claims: tuple[str, ...] = ()

    @property
    def flops(self) -> float:
        """Of all runs, ended or not: the least that it costs."""
        return sum(run.flops for run in self.runs)


def bill(experiment: Experiment, pool: Path, workers: int) -> Bill:
    """What running the experiment costs, given the runs in ``pool``; writes nothing. A few steps
    of each shape are timed. Raises ``UserError`` for what no run can have."""
    finished = dict(_finished(pool))
    plan = experiment.plan(finished)
    stacks = (*plan.stacks, *plan.provisional)
    estimate = Estimate(workers)
    runs = [run for stack in stacks for run in _runs(stack, stack not in plan.stacks, finished)]
    flops = sum(run.flops for run in runs)
    return Bill(
        runs=tuple(runs),
        skipped=plan.skipped,
        workers=workers,
        estimated_s=estimate.wall(estimate.left(stacks, finished, (), pool)),
        most_flops=max(flops, _flops(experiment.most(finished))) if experiment.most else flops,
        claims=tuple(claims_measured(plan)),
    )


def _flops(plan: Plan) -> float:
    return sum(
        run.spec.tokens * per_token(run.spec.model)
        for stack in (*plan.stacks, *plan.provisional)
        for run in stack.runs
    )


def _finished(pool: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in pool.glob("runs/*"):
        try:
            row = ended(pool, path.name)
        except Damaged:
            continue
        if row is not None and row["status"] != "failed":  # a failed run is tried again
            yield path.name, row


def _runs(
    stack: PlannedStack, stand_in: bool, finished: Mapping[str, object]
) -> Iterator[PricedRun]:
    for run in stack.runs:
        spec = run.spec
        yield PricedRun(
            role=run.role,
            name=spec.name,
            params=count(spec.model)[0],
            tokens=spec.tokens,
            flops=spec.tokens * per_token(spec.model),
            stand_in=stand_in,
            cached=spec.run_id in finished,
        )
