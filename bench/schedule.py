"""Learning-rate schedules, as a factor of the peak rate at each step.

With S steps, W = warmup * S and C = cooldown * S, at step t = 0, 1, ..., S - 1:

    warm-up   (t + 1) / W                       for t < W, in every schedule
    constant  1
    linear    falls in a line from 1 to ``final`` over the steps after warm-up
    cosine    falls along half a cosine from 1 to ``final`` over the same steps
    wsd       1 until S - C, then falls to ``final`` (warm-up, stable, decay: Hägele et al.,
              arXiv 2405.18392): in a line, or as 1 - sqrt((t - (S - C)) / C), steeply at first

A run that takes a schedule up at ``first_step`` can rise into it: over its first R = rewarm steps
the factor is multiplied by (t + 1) / R, t counted from there.

The last step's factor lies just above ``final``, which would be reached at t = S. A WSD run that
stops at ``cooldown_start`` has seen no decay: its checkpoint can be grown, or cooled down later.
"""

import math

from mugrow.bench.spec import RunSpec, ScheduleSpec


def factor(schedule: ScheduleSpec, steps: int, step: int) -> float:
    """The learning rate at ``step`` (from 0) as a fraction of its peak."""
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    match schedule.kind:
        case "constant":
            return 1.0
        case "wsd":
            start = cooldown_start(schedule, steps)
            shape = 1.0 if step < start else _cooldown(schedule, steps - step, steps - start)
        case "linear":
            shape = (steps - step) / (steps - warmup)
        case "cosine":
            shape = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
    return schedule.final + (1 - schedule.final) * shape


def _cooldown(schedule: ScheduleSpec, left: int, length: int) -> float:
    """The factor with so many steps left of a cool-down to 0."""
    share = left / length
    return 1 - math.sqrt(1 - share) if schedule.cooldown_shape == "sqrt" else share


def run_factor(run: RunSpec, step: int) -> float:
    """The same at a run's own step, counted from 0 where it begins."""
    rising = min(1.0, (step + 1) / run.rewarm_steps) if run.rewarm_steps else 1.0
    return rising * factor(run.schedule, run.steps, run.first_step + step)


def cooldown_start(schedule: ScheduleSpec, steps: int) -> int:
    """The number of steps before a WSD schedule begins to decay."""
    return steps - round(schedule.cooldown * steps)
