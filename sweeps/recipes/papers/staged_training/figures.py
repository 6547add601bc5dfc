"""Staged training's panels: the jump from curve to curve, the slope that is kept, what it saves.

Each way to grow has a panel, with the small model, the large one from scratch, and the large one
grown. Against compute a grown curve begins where its small one's was left; against steps, where in
the large model's schedule it is taken up; for slopes it is laid over scratch at equal loss.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.advice.staged import KaplanSteps, optimal_growth_point
from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.dynamics import Trace, slopes, trace
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import UserError
from mugrow.sweeps.recipes.papers.staged_training import claims
from mugrow.sweeps.recipes.papers.staged_training.claims import GROW_AT, SCRATCH, WAYS, Way

SAVED = "compute saved (%), all stages counted"
SLOPES_FROM = 0.1  # of the steps; before, warm-up is what a slope would show
LINE_STYLES = {"width": style.line_style("staged"), "depth": style.LineStyle("#0072B2", "s"),
         "both": style.LineStyle("#D55E00", "^")}  # fmt: skip


def draw_losses(axis: Axes, way: Way, x: Literal["step", "flops"], *curves: Trace) -> None:
    """Of the small model, the large one from scratch and the grown one."""
    labels = ("small", "large, from scratch", "grown")
    for curve, label, dash in zip(curves, labels, (":", "-", "-"), strict=True):
        line_style = style.line_style(SCRATCH) if curve is curves[1] else LINE_STYLES[way.name]
        arms.band(axis, curve.band(x), replace(line_style, line=dash), label=label)
    scratch = curves[1]
    low, high = scratch.loss.min(), scratch.loss_at(scratch.step[-1] / 10)
    axis.set(ylabel=arms.LOSS, title=way.title, ylim=(low - 0.05 * (high - low), high))
    axis.legend()


def compute_panel(axis: Axes, store: Store, way: Way) -> None:
    names = (way.source(), SCRATCH, way.grown())
    axis.set(xscale="log", xlabel="compute (FLOPs, all stages)")
    draw_losses(axis, way, "flops", *(trace(store, name) for name in names))
    style.flops_axis(axis.xaxis, (1, 3))


def jump_panel(axis: Axes, store: Store, way: Way) -> None:
    """Steps at a constant rate alone."""
    small, scratch = trace(store, way.source()), trace(store, SCRATCH)
    last, at = scratch.constant, claims.MAIN * scratch.constant
    scratch, grown = scratch.until(last), trace(store, way.grown()).until(last)
    draw_losses(axis, way, "step", small, scratch, grown)
    loss = small.loss_at(at)
    axis.annotate("", (grown.step[0], loss), (at, loss), arrowprops={"arrowstyle": "->"})
    rho = f"ρ {at / scratch.step_at(loss):.2f} measured, {way.rho:.2f} used"
    axis.set(title=f"{way.title}\n{rho}", xlabel="step of the schedule")


def slope_panel(axis: Axes, store: Store, way: Way) -> None:
    scratch = trace(store, SCRATCH)
    last = scratch.constant
    scratch, grown = scratch.until(last), trace(store, way.grown()).until(last)
    if not len(slopes(scratch)[0]):
        raise UserError("the runs log too few points before the cool-down for a slope")
    skipped = scratch.flops_at(grown.loss[0]) - grown.flops[0]
    for curve, label, line_style, dash in (
        (trace(store, way.source()), "small", LINE_STYLES[way.name], ":"),
        (scratch, "large, from scratch", style.line_style(SCRATCH), "-"),
        (replace(grown, flops=grown.flops + skipped), "grown", LINE_STYLES[way.name], "-"),
    ):
        steps, flops, tau = slopes(curve)
        late = steps > SLOPES_FROM * last
        axis.plot(flops[late], tau[late], dash, color=line_style.colour, label=label)
    axis.axhline(way.threshold, color=style.GREY, ls="--", lw=0.9, label="grow here (paper)")
    axis.set(xscale="log", xlabel="compute (FLOPs, from equal loss)", title=way.title)
    axis.set_ylabel("slope τ of ln loss against ln FLOPs")
    style.flops_axis(axis.xaxis, (1, 3))
    axis.legend()


def timing_panel(axis: Axes, store: Store, against: str) -> None:
    """What is saved when growing after each of ``GROW_AT`` of the steps, against ``steps`` or
    the small model's ``slope`` then."""
    for way in WAYS:
        line_style = LINE_STYLES[way.name]
        found = [claims.saving(way.grown(at))(store) for at in GROW_AT]
        if against == "steps":
            x = list(GROW_AT)
            growth_factor = way.width**2 * way.depth  # of parameters
            law = optimal_growth_point(growth_factor, KaplanSteps(critical_batch=False)).saving
            axis.axhline(100 * law, color=line_style.colour, ls=":", lw=0.9)
        else:
            x = [claims.slope(way, at)(store).value for at in GROW_AT]
            axis.axvline(way.threshold, color=line_style.colour, ls="--", lw=0.9)
        arms.whiskers(axis, x, found, line_style, way.title, star=np.argmax)
    axis.axhline(0, color=style.GREY, lw=0.8)
    axis.set(xlabel="small model’s slope τ when it is grown", ylabel=SAVED)
    if against == "steps":
        axis.set_xlabel("small model’s steps / steps at a constant rate")
        axis.legend()


def savings_of(*names: ArmName) -> Callable[[Store], Figure]:
    """A row for each arm."""
    line_styles: arms.LineStyles = {
        name: LINE_STYLES[str(name.factors["way"])] for name in names if "way" in name.factors
    }
    return arms.row(
        arms.DotPanel({n: claims.saving(n) for n in names}, SAVED, line_styles, zero=True)
    )


draw_compute, draw_jump, draw_slopes = (
    arms.for_each(panel, WAYS, share_y=True) for panel in (compute_panel, jump_panel, slope_panel)
)
draw_timing = arms.for_each(timing_panel, ("steps", "slope"), share_y=True)
draw_ablations = savings_of(
    *(claims.WIDTH.grown(), claims.WIDTH.changed("no moments"), claims.WIDTH.changed("restarted")),
    *(claims.NO_NOISE, claims.DEPTH.grown(), claims.DEPTH.changed("no moments")),
    claims.DEPTH.changed("restarted"),
)
draw_earlier = savings_of(*(way.grown() for way in WAYS), *claims.EARLIER.values())
