"""The optimum of a sweep, as the hyperparameters that larger models are given.

Of the initial scales searched, the one with the best trial. At that scale, the vertex of the
parabola through the losses around the best learning rate (``mugrow.analysis.transfer.optimum``);
where there is none, the best learning rate tested. A vertex is rounded to 1/64 in log2: finer is
below what a sweep can tell, and the last bits of a fit would change the identity of every run after
it.

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
    """Base learning rate and initial scale; ``loss`` is the best trial's, in nats per token."""

    log2_lr: float
    init_std: float
    loss: float
    edge: Edge
    used: Literal["vertex", "argmin"]

    @property
    def lr(self) -> float:
        """The base learning rate itself."""
        return math.exp2(self.log2_lr)


def transferred(trials: Sequence[Trial]) -> Transferred | None:
    """The optimum of a sweep's trials, all ended; ``None`` where no trial is complete."""
    complete = [(trial.value, trial.init_std) for trial in trials if trial.value is not None]
    if not complete:
        return None
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
