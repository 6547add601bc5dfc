"""The learning rate of whole runs, as the laws of curves read it from a log of steps.

    S1(t) = integral of the learning rate over the steps up to t

takes the place of training time. Logs are sparse, so between rows the rate is taken as linear, with
two exceptions. A change between two plateaus is a jump before the step of the later row (the second
stage of a two-stage schedule), for a ramp there would put its loss drop a whole row early. And a
log that begins after step 0 had a linear warm-up from 0 until its first row: S1 is a power's base,
so what was done before logging began is part of the law.
"""

from dataclasses import dataclass

import numpy as np

from mugrow.analysis.laws.form import Options, Points
from mugrow.analysis.laws.resample import Index, group_rows
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

WARMUP_NODES = 32
MOST_STEPS = 10_000_000


@dataclass(frozen=True, eq=False)
class RateSchedule:
    """A learning rate linear between nodes: ``step`` ascending from 0, and ``lr``, (nodes,)."""

    step: Array
    lr: Array

    @property
    def area(self) -> Array:
        """S1 at the nodes, (nodes,)."""
        pieces = np.diff(self.step) * (self.lr[1:] + self.lr[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(pieces)])


@dataclass(frozen=True, eq=False)
class LoggedRun:
    """The rows of one run in the order of their steps, (m,), and its schedule."""

    rows: Index
    step: Array
    schedule: RateSchedule

    @property
    def s1(self) -> Array:
        """S1 at the rows, (m,)."""
        return np.interp(self.step, self.schedule.step, self.schedule.area)


def schedule(step: Array, lr: Array) -> RateSchedule:
    """The schedule behind a log (m,) of ascending steps; the module says what is assumed."""
    changes = np.diff(lr) != 0
    plateau = np.concatenate([[False], ~changes, [False]])
    jumps = np.flatnonzero(changes & plateau[:-2] & plateau[2:]) + 1
    before = np.maximum(step[jumps] - 1, step[jumps - 1])
    both = np.column_stack([before, np.nextafter(before, np.inf)]).ravel()
    rates = np.column_stack([lr[jumps - 1], lr[jumps]]).ravel()
    step, lr = np.insert(step, jumps.repeat(2), both), np.insert(lr, jumps.repeat(2), rates)
    if step[0] > 0:
        share = np.arange(WARMUP_NODES) / WARMUP_NODES
        step = np.concatenate([share * step[0], step])
        lr = np.concatenate([share * lr[0], lr])
    return RateSchedule(step, lr)


def runs(points: Points, options: Options, form: str) -> list[LoggedRun]:
    """The runs of rows ``s`` (optimiser steps) and ``lr``, each (rows,), one for each group.

    ``UserError`` where rows are not named by run, a run has a step twice, no learning rate above 0,
    or a row from before it was.
    """
    if options.groups is None:
        raise UserError(f"form {form!r} reads whole curves: name the run of each row with --run")
    if (last := points["s"].max()) > MOST_STEPS:
        raise UserError(f"form {form!r} reads optimiser steps in s, at most 1e7, not {last:.6g}")
    codes = group_rows(options.groups, len(points["loss"]))
    found = []
    for code in range(int(codes.max()) + 1):
        rows = np.flatnonzero(codes == code)
        rows = rows[np.argsort(points["s"][rows], kind="stable")]
        step, lr = points["s"][rows], points["lr"][rows]
        twice = step[1:][np.diff(step) == 0]
        if len(twice):
            raise UserError(
                f"a run has step {twice[0]:g} twice; name the run of each row with --run"
            )
        found.append(run := LoggedRun(rows, step, schedule(step, lr)))
        if not run.s1[0] > 0:
            raise UserError(f"at step {step[0]:g} the learning rate is still 0; leave that row out")
    return found


def by_row(found: list[LoggedRun], values: list[Array]) -> Array:
    """One column (rows,) from values by run (m,)."""
    column = np.empty(sum(len(run.rows) for run in found))
    for run, part in zip(found, values, strict=True):
        column[run.rows] = part
    return column


def no_fall(form: str, points: Points, options: Options) -> FitResult:
    """The result where no learning rate falls: nothing tells what a fall is worth."""
    groups = group_rows(options.groups, len(points["loss"]))
    return FitResult(
        form,
        "unidentified",
        "no run's learning rate falls, so the rows do not tell what a fall is worth",
        n_rows=len(groups),
        n_groups=int(groups.max()) + 1,
    )
