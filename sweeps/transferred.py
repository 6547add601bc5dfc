"""The optimum of a sweep, as the hyperparameters that larger models are given.

Of the initial scales searched, the one with the best trial. At that scale, the vertex of the
parabola through the losses around the best learning rate (``mugrow.analysis.transfer.optimum``);
where there is none, the best learning rate tested. A vertex is rounded to 1/64 in log2: finer is
below what a sweep can tell, and the last bits of a fit would change the identity of every run after
it.

Where multipliers of modules are searched too, no two trials share all but the rate: the best trial
is transferred as it is.

An optimum at the edge of the grid is transferred as it stands. It is flagged, because whether a
wider grid would have been better is for the reader to ask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mugrow.analysis.transfer import Edge, optimum
from mugrow.sweeps.search import Trial

STEPS_PER_LOG2 = 64


@dataclass(frozen=True)
class Transferred:
    """Base learning rate and initial scale, and the log2 of the multipliers searched, in their
    order; ``loss`` is the best trial's, in nats per token."""

    log2_lr: float
    init_std: float
    loss: float
    edge: Edge
    used: Literal["vertex", "argmin"]
    log2_modules: tuple[float, ...] = ()

    @property
    def lr(self) -> float:
        """The base learning rate itself."""
        return math.exp2(self.log2_lr)


def transferred(trials: Sequence[Trial]) -> Transferred | None:
    """The optimum of a sweep's trials, all ended; ``None`` where no trial is complete."""
    complete = [(trial.value, trial.init_std) for trial in trials if trial.value is not None]
    if not complete:
        return None
    if trials[0].log2_modules:
        return _as_it_is(trials)
    _, init_std = min(complete)
    losses = {
        trial.log2_lr: math.inf if trial.value is None else trial.value  # tested, no candidate
        for trial in trials
        if trial.init_std == init_std
    }
    best = optimum(list(losses), list(losses.values()))
    if best.vertex_log2_lr is None:
        return Transferred(best.argmin_log2_lr, init_std, best.argmin_loss, best.edge, "argmin")
    log2_lr = round(best.vertex_log2_lr * STEPS_PER_LOG2) / STEPS_PER_LOG2
    return Transferred(log2_lr, init_std, best.argmin_loss, best.edge, "vertex")


def _as_it_is(trials: Sequence[Trial]) -> Transferred:
    """The best trial."""
    loss, number = min(
        (trial.value, i) for i, trial in enumerate(trials) if trial.value is not None
    )
    best, rates = trials[number], [trial.log2_lr for trial in trials]
    ends: dict[float, Edge] = {max(rates): "high", min(rates): "low"}
    edge = ends.get(best.log2_lr) if len(ends) > 1 else None
    return Transferred(best.log2_lr, best.init_std, loss, edge, "argmin", best.log2_modules)
