"""Pictures of eight growth operators at equal compute."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.quantity import final, total_flops
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.gstack import claims
from mugrow.sweeps.recipes.papers.gstack.claims import OPERATORS, SCRATCH, STACK

SOURCE = {"cpu": 0.25, "gpu": 0.25, "paper": 0.105}  # of the target's steps
DEEPER, FACTORS = 4, (2, 8)
LINE_STYLES: arms.LineStyles = {
    arm: replace(
        style.line_style(str(arm.factors["method"])), line="-" if kind != "random" else "--"
    )
    for arm in OPERATORS.values()
    for kind in [arm.factors["operator"]]
}
ALL: arms.LineStyles = {SCRATCH: style.line_style("scratch"), **LINE_STYLES}


def draw_costs(axis: Axes, store: Store) -> None:
    """Final losses against FLOPs paid: of scratch at three budgets, and of the operators."""
    rungs = sorted(
        (total_flops(arm)(store).value, final(arm)(store).value) for arm in claims.LADDER
    )
    axis.plot(*np.transpose(rungs), "o-", color=ALL[SCRATCH].colour, label=SCRATCH)
    for arm, line_style in LINE_STYLES.items():
        inside = "white" if arm in claims.WIDTH else line_style.colour
        at = [total_flops(arm)(store).value], [final(arm)(store).value]
        axis.plot(*at, line_style.marker, color=line_style.colour, mfc=inside)
    axis.set(xscale="log", xlabel="compute (FLOPs, source’s added)", ylabel=arms.FINAL)
    style.flops_axis(axis.xaxis)
    axis.set_xticks([flops for flops, _ in rungs])
    axis.legend()


def sources(store: Store) -> arms.Places:
    scale = store.study["scale"]
    return {SOURCE[scale]: STACK} | {d: STACK.varied(d=d) for d in claims.SOURCES[scale]}


def operators(title: str, names: Sequence[str]) -> arms.CurvePanel:
    return arms.CurvePanel(
        [SCRATCH, *names], LINE_STYLES, "flops", True, title, SCRATCH, legend=False
    )


draw_operators = arms.row(
    operators("grown in depth", claims.DEPTH), operators("grown in width", claims.WIDTH),
    share_x=True, share_y=True, below=ALL, columns=5,
)  # fmt: skip
draw_speedups = arms.row(
    arms.DotPanel({arm: claims.speedup_percent(arm) for arm in OPERATORS.values()},
                  "speed-up over scratch at equal loss (%)", LINE_STYLES, zero=True),
    arms.AnyPanel(draw_costs),
    widths=(3, 2),
)  # fmt: skip
STACKED = "stacked, at equal compute"
draw_sweeps = arms.row(
    arms.SweepPanel(sources, "source’s tokens d, of those of scratch", LINE_STYLES[STACK], STACKED,
                    SCRATCH, legend=True),
    arms.SweepPanel({DEEPER: STACK} | {g: STACK.varied(g=g) for g in FACTORS},
                    "growth factor g of the depth", LINE_STYLES[STACK], STACKED, SCRATCH),
    share_y=True,
)  # fmt: skip
