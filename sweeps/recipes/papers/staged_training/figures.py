"""Staged training's panels: the jump from curve to curve, the slope that is kept, what it saves.

Each way to grow has a panel, with the small model, the large one from scratch, and the large one
grown. Against compute a grown curve begins where its small one's was left; against steps, where in
the large model's schedule it is taken up; for slopes it is laid over scratch at equal loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.advice.staged import KaplanSteps, optimal_growth_point
from mugrow.analysis.figures import style
from mugrow.analysis.figures.arms import LOSS, dots
from mugrow.analysis.measure.dynamics import Trace, slope_at, slopes, trace
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

SCRATCH = "scratch"
SAVED = "compute saved (%), all stages counted"
SLOPES_FROM = 0.1  # of the steps; before, warm-up is what a slope would show


@dataclass(frozen=True)
class Way:
    """A way to grow. ``small`` and ``grown`` are its arms, ``growth_factor`` the ratio of their
    parameters, ``rho`` that of their steps at equal loss, ``threshold`` the slope to grow at."""

    name: str
    title: str
    growth_factor: int
    rho: float
    threshold: float
    look: style.Look
    small: str
    grown: str


def line(axis: Axes, curve: Trace, x: str, look: style.Look, label: str, dash: str = "-") -> None:
    """A mean curve with a band from the lowest to the highest seed."""
    used = curve.step > 0
    at, seeds = getattr(curve, x)[used], curve.losses[:, used]
    band = seeds.min(axis=0), seeds.max(axis=0)
    axis.fill_between(at, *band, color=look.colour, alpha=0.2, lw=0)
    axis.plot(at, curve.loss[used], dash, color=look.colour, label=label)


def compute(store: Store, ways: Sequence[Way]) -> Figure:
    figure, panels = _panels(ways, LOSS)
    scratch = trace(store, SCRATCH)
    for axis, way in panels:
        line(axis, trace(store, way.small), "flops", way.look, "small", ":")
        line(axis, scratch, "flops", style.look(SCRATCH), "large, from scratch")
        line(axis, trace(store, way.grown), "flops", way.look, "grown")
        axis.set(xscale="log", xlabel="compute (FLOPs, all stages)", ylim=_shown(scratch))
        style.flops_axis(axis.xaxis, (1, 3))
        axis.legend()
    return figure


def jump(store: Store, ways: Sequence[Way], at: float, last: float) -> Figure:
    """The small models are grown at step ``at``; steps after ``last`` are not shown."""
    figure, panels = _panels(ways, LOSS)
    scratch = trace(store, SCRATCH).until(last)
    for axis, way in panels:
        small, grown = trace(store, way.small), trace(store, way.grown).until(last)
        line(axis, small, "step", way.look, "small", ":")
        line(axis, scratch, "step", style.look(SCRATCH), "large, from scratch")
        line(axis, grown, "step", way.look, "grown")
        loss = small.loss_at(at)
        axis.annotate("", (grown.step[0], loss), (at, loss), arrowprops={"arrowstyle": "->"})
        rho = f"ρ {at / scratch.step_at(loss):.2f} measured, {way.rho:.2f} used"
        axis.set(title=f"{way.title}\n{rho}", xlabel="step of the schedule", ylim=_shown(scratch))
        axis.legend()
    return figure


def kept(store: Store, ways: Sequence[Way], last: float) -> Figure:
    figure, panels = _panels(ways, "slope τ of ln loss against ln FLOPs")
    scratch = trace(store, SCRATCH).until(last)
    if not len(slopes(scratch)[0]):
        raise UserError("the runs log too few points before the cool-down for a slope")
    for axis, way in panels:
        grown = trace(store, way.grown).until(last)
        skipped = scratch.flops_at(grown.loss[0]) - grown.flops[0]
        for curve, label, look, dash in (
            (trace(store, way.small), "small", way.look, ":"),
            (scratch, "large, from scratch", style.look(SCRATCH), "-"),
            (replace(grown, flops=grown.flops + skipped), "grown", way.look, "-"),
        ):
            steps, flops, tau = slopes(curve)
            late = steps > SLOPES_FROM * last
            axis.plot(flops[late], tau[late], dash, color=look.colour, label=label)
        axis.axhline(way.threshold, color=style.GREY, ls="--", lw=0.9, label="grow here (paper)")
        axis.set(xscale="log", xlabel="compute (FLOPs, from equal loss)")
        style.flops_axis(axis.xaxis, (1, 3))
        axis.legend()
    return figure


def timing(
    store: Store, ways: Sequence[Way], parts: Sequence[float], last: float,
    saved: Callable[[Way, float], Interval],
) -> Figure:  # fmt: skip
    """What is saved when growing after each of ``parts`` of ``last`` steps."""
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    for way in ways:
        found = [saved(way, part) for part in parts]
        values = np.array([one.value for one in found])
        reach = np.nan_to_num([[one.value - one.lo, one.hi - one.value] for one in found]).T
        tau = [slope_at(store, way.small, part * last).value for part in parts]
        best = int(np.argmax(values))
        law = optimal_growth_point(way.growth_factor, KaplanSteps(critical_batch=False)).saving
        for axis, x in ((left, parts), (right, tau)):
            axis.errorbar(x, values, reach, color=way.look.colour, marker=way.look.marker,
                          lw=1.3, elinewidth=0.8, label=way.title)  # fmt: skip
            style.mark_minimum(axis, x[best], values[best], way.look.colour)
        left.axhline(100 * law, color=way.look.colour, ls=":", lw=0.9)
        right.axvline(way.threshold, color=way.look.colour, ls="--", lw=0.9)
    for axis in (left, right):
        axis.axhline(0, color=style.GREY, lw=0.8)
    left.set(xlabel="small model’s steps / steps at a constant rate", ylabel=SAVED)
    right.set_xlabel("small model’s slope τ when it is grown")
    left.legend()
    return figure


def savings(found: Mapping[str, Interval], looks: Mapping[str, style.Look]) -> Figure:
    """A row for each arm."""
    figure, ((axis,),) = style.panels(1, 1)
    dots(axis, list(found), list(found.values()), looks)
    axis.axvline(0, color=style.GREY, lw=0.8)
    axis.set_xlabel(SAVED)
    return figure


def _panels(ways: Sequence[Way], ylabel: str) -> tuple[Figure, list[tuple[Axes, Way]]]:
    figure, (row,) = style.panels(1, len(ways), sharey=True)
    row[0].set_ylabel(ylabel)
    for axis, way in zip(row, ways, strict=True):
        axis.set_title(way.title)
    return figure, list(zip(row, ways, strict=True))


def _shown(scratch: Trace) -> tuple[float, float]:
    """From the end to the loss after a tenth of the steps."""
    low, high = scratch.loss.min(), scratch.loss_at(scratch.step[-1] / 10)
    return low - 0.05 * (high - low), high
