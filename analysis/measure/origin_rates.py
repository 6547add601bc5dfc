"""Which rate the new units of a grown model want, beside that of the units its source had.

Arms that differ in ``new_rate`` alone (``mugrow.bench.origins``) are compared each at its own best
learning rate of those it was trained at, since another ratio is another mean rate too. Differences
from the arm where old and new have one rate are paired by seed. The best rate is chosen on the
seeds that it is judged by, for every arm alike.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mugrow.analysis.stats import Interval, student_interval
from mugrow.analysis.transfer.sweep import Sweep, number

NEW_RATE = "start.new_rate"


@dataclass(frozen=True)
class OriginRate:
    """A method's grown model with one ratio of the new units' rate to the old ones'. ``log2_lr`` is
    its best rate of those tried, ``on_edge`` whether a lower or higher one was not; ``minus_one``
    its loss minus that with a ratio of 1, nats per token."""

    method: str
    target: str
    new_rate: float
    log2_lr: float
    on_edge: bool
    loss: Interval
    minus_one: Interval


def origin_rates(sweeps: Iterable[Sweep]) -> tuple[OriginRate, ...]:
    """Of the sweeps whose settings differ in the ratio alone, by method and ratio; nothing where
    none do. Sweeps without one that has a ratio of 1 are left out."""
    alike: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        if sweep.finished:
            rest = {name: value for name, value in sweep.setting.items() if name != NEW_RATE}
            alike.setdefault(json.dumps(rest, sort_keys=True), []).append(sweep)
    found = []
    for group in alike.values():
        ratios = {number(sweep.setting, NEW_RATE, 1.0): sweep for sweep in group}
        if len(ratios) > 1 and 1.0 in ratios:
            found += [_against(ratios[1.0], ratios[ratio], ratio) for ratio in sorted(ratios)]
    return tuple(found)


def _against(one: Sweep, sweep: Sweep, ratio: float) -> OriginRate:
    losses, ones = _at_best(sweep), _at_best(one)
    both = [losses[seed] - ones[seed] for seed in losses if seed in ones]
    best = int(np.nanargmin(sweep.mean_loss))
    return OriginRate(
        method=sweep.method,
        target=f"w{sweep.width}-d{sweep.depth}",
        new_rate=ratio,
        log2_lr=float(sweep.log2_lr[best]),
        on_edge=best in (0, len(sweep.log2_lr) - 1),
        loss=student_interval(list(losses.values())),
        minus_one=student_interval(both),
    )


def _at_best(sweep: Sweep) -> dict[tuple[int, int], float]:
    best = int(np.nanargmin(sweep.mean_loss))
    return dict(zip(sweep.seeds, sweep.loss[:, best].tolist(), strict=True))
