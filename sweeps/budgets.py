"""Final losses at many budgets: what a grown model is compared with, at equal charged compute.

A grown arm has paid for its target and for its sources. What it is held against is a model that
was given the *same compute* on a whole schedule of its own, and there are three:

    scratch           the target's shape, from random weights
    its own source    the arm's last source, trained on instead of grown
    the front         the best of several shapes at that compute

Each is a *budget line*: final losses of whole schedules at several budgets. Under a warm-up,
stable, decay schedule a line is cheap (Hägele et al., arXiv 2405.18392). One *trunk* is trained at
the constant rate; for every budget a short *branch* leaves it where that budget's cool-down begins,
so that n horizons H_1 < ... < H_n cost, with a cool-down of a share c,

    H_n + c (H_1 + ... + H_{n-1})   instead of   H_1 + ... + H_n.

A branch has taken every step that a run of its own to that horizon takes, at the same rates on the
same batches, so its loss is that run's to the last bit. Under the other schedules, which must know
their horizon, and where there is no cool-down or nothing before one, each budget is a run of its
own.

A trunk is made of segments, each a run that goes on where the one before it stopped. A source that
stops where its cool-down would begin *is* the first segment of its own line.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import RunSpec, ScheduleSpec, Start
from mugrow.sweeps.study import LEAST_STEPS


@dataclass(frozen=True)
class Budget:
    """A whole schedule of ``horizon`` steps from a line's first, and the runs that it takes: the
    ``trunk``, its first segment first, and the run whose final loss it is."""

    horizon: int
    trunk: tuple[RunSpec, ...]
    final: RunSpec


CARRY = Start(optimizer="carry")


def continued(source: RunSpec, policy: Start = CARRY, **fields: Any) -> RunSpec:
    """``source`` trained on: its weights, its optimizer's state, its place in schedule and batches,
    unless ``fields`` of its spec say otherwise; ``steps`` is the new horizon."""
    resumed: dict[str, Any] = {
        "stop_step": None,
        "first_step": source.last_step,
        "first_batch": source.first_batch + source.train_steps,
        "rewarm_steps": 0,
        "start": replace(
            policy,
            method="continue",
            source_run_id=source.run_id,
            source_step=source.last_step,
        ),
    }
    return replace(source, **(resumed | fields))


def budget_line(
    first: RunSpec,
    horizons: Iterable[int],
    final_val_tokens: int,
    trunk: tuple[RunSpec, ...] = (),
) -> tuple[Budget, ...]:
    """The budgets of a line, ascending. ``first`` is a run from which it takes all but its horizon,
    and ``horizons`` are steps of its schedule. What a ``trunk`` has trained already is trained on;
    a horizon whose cool-down would begin before its end, or of hardly a step, is left out. What
    ends a schedule has a final evaluation on so many tokens, and nothing else.
    """
    first = replace(first, stop_step=None)
    found: list[Budget] = []
    for horizon in sorted(set(horizons)):
        if horizon < LEAST_STEPS:
            continue
        schedule = _same_warmup(first, horizon)
        leaves = cooldown_start(schedule, horizon)
        if schedule.kind != "wsd" or leaves in (0, horizon):
            whole = replace(first, steps=horizon, schedule=schedule)
            found.append(Budget(horizon, (), _evaluated(whole, final_val_tokens)))
            continue
        if trunk and leaves < trunk[-1].last_step:
            continue
        cut: dict[str, Any] = {"steps": horizon, "stop_step": leaves, "schedule": schedule}
        if not trunk:
            trunk = (_evaluated(replace(first, **cut), 0),)
        elif leaves > trunk[-1].last_step:
            trunk = (*trunk, _evaluated(continued(trunk[-1], **cut), 0))
        branch = continued(trunk[-1], steps=horizon, schedule=schedule)
        found.append(Budget(horizon, trunk, _evaluated(branch, final_val_tokens)))
    return tuple(found)


def _same_warmup(first: RunSpec, horizon: int) -> ScheduleSpec:
    """The schedule for another horizon: its warm-up of as many steps, where that leaves room, and
    its cool-down of as large a share."""
    warmup = round(first.schedule.warmup * first.steps) / horizon
    return replace(first.schedule, warmup=min(warmup, 1 - first.schedule.cooldown))


def _evaluated(run: RunSpec, final_val_tokens: int) -> RunSpec:
    return replace(run, data=replace(run.data, final_val_tokens=final_val_tokens))


def bracketing(
    first: Iterable[int],
    budgets: int,
    loss_at: Callable[[int], float | None],
    losses: Sequence[float | None],
) -> frozenset[int]:
    """Which of ``budgets``, by their place, a line has to have: ``first``, and from there up and
    down until their losses bracket all of ``losses``, or there is no other. What has not been
    measured yet is None, what cannot be nan; one budget is added at a time.
    """
    chosen = set(first)
    known = [loss for loss in losses if loss is not None and not math.isnan(loss)]
    while chosen and known and None not in losses:
        low, high = min(chosen), max(chosen)
        worst, best = loss_at(low), loss_at(high)
        if worst is None or best is None:
            break
        if best > min(known) and high + 1 < budgets:
            chosen.add(high + 1)
        elif worst < max(known) and low > 0:
            chosen.add(low - 1)
        else:
            break
    return frozenset(chosen)
