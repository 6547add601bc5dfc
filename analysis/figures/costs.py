"""Where the compute went: tuning, source and target of each way to get the target.

The bars are sums over what one run of the target rests on: every trial of the sweep that gave its
hyperparameters, pruned and diverged ones too, and its source up to the checkpoint used. Tuning is
paid by scratch as well, since it takes its hyperparameters from the same sweep.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Final, Summary
from mugrow.analysis.words import flops
from mugrow.bench.spec import UserError

PARTS = {"flops": ("target", "#0072B2"), "flops_source": ("source", "#E69F00"),
         "flops_tuning": ("tuning", "#999999")}  # fmt: skip


def costs(summary: Summary, store: Store) -> Figure:
    """A stacked bar for each method, a panel for each target shape; the total at its end."""
    finals = summary.finals
    targets = list(dict.fromkeys(final.target for final in finals))
    if not targets:
        raise UserError("figure 'costs' needs a finished target, and the study has none")
    most = max(sum(final.target == target for final in finals) for target in targets)
    figure, axes = style.panels(len(targets), 1)
    figure.set_figheight(len(targets) * (0.9 + 0.3 * most) + 0.4)
    for axis, target in zip(axes[:, 0], targets, strict=True):
        draw_bars(axis, [final for final in finals if final.target == target])
        axis.set_title(f"target {target}")
    axes[-1, 0].set_xlabel("compute of one run and of what it rests on (FLOPs)")
    style.legend_below(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


def draw_bars(axis: Axes, finals: Sequence[Final]) -> None:
    labels = [style.wrapped(final.label, 40) for final in finals]
    left = [0.0] * len(finals)
    for column, (name, colour) in PARTS.items():
        parts = [getattr(final, column) for final in finals]
        axis.barh(labels, parts, left=left, color=colour, height=0.62, label=name)
        left = [start + part for start, part in zip(left, parts, strict=True)]
    for label, total in zip(labels, left, strict=True):
        at = (total, label)
        axis.annotate(flops(total), at, (4, 0), textcoords="offset points", va="center", size=8)
    axis.set_xlim(0, 1.18 * max(left))
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(visible=False)
    style.flops_axis(axis.xaxis)
