"""Arms of a study that is written out run by run: their curves, and what was measured of each.

A panel has a line for each arm, the mean over its finished seeds, with a band from the lowest to
the highest. Against FLOPs the sources can be charged, which moves a grown arm to the right by what
its source had cost: then lines that are level at one place paid the same for the same loss.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mugrow.analysis.figures import style
from mugrow.analysis.figures.curves import COMPUTE, seed_means, shown_range
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval

Looks = Mapping[str, style.Look]
LOSS = "validation loss (nats per token)"


def points(store: Store, name: str) -> pd.DataFrame:
    """Logged points after step 0 of an arm's finished runs: arm, seed, flops_source, and the
    columns of curves. Raises ``UserError`` where the arm has none."""
    runs = arm(store.runs, name)[["run_id", "arm", "seed", "flops_source"]]
    logged = runs.merge(store.curves, on="run_id")
    logged = logged[(logged["step"] > 0) & logged["val_loss"].notna()]
    return logged.fillna({"flops_source": 0.0})


def curves(
    axis: Axes,
    store: Store,
    arms: Sequence[str],
    x: Literal["flops", "tokens"] = "flops",
    charge_source: bool = False,
    looks: Looks | None = None,
) -> None:
    """Validation loss against FLOPs or tokens. ``looks`` are by arm, by default those of methods
    of these names; the legend is left to the caller."""
    assert x == "flops" or not charge_source, "a source's tokens are not those of its target"
    rows = {name: points(store, name) for name in arms}
    low, high = shown_range(pd.concat(rows.values()))
    shown = []
    for name, own in rows.items():
        means = seed_means(own)
        at = own.groupby("step")[x].mean()[means.index]
        at = at + (means["source"] if charge_source else 0.0)
        shown += list(at[means["mean"] <= high])
        look = (looks or {}).get(name) or style.look(name)
        axis.fill_between(at, means["low"], means["high"], color=look.colour, alpha=0.2, lw=0)
        axis.plot(
            at, means["mean"], look.line, marker=look.marker, ms=3.5, markevery=0.12,
            color=look.colour, label=style.plain(name),
        )  # fmt: skip
        axis.plot(at.iloc[-1:], means["mean"].iloc[-1:], look.marker, color=look.colour, label="_")
    axis.set(xscale="log", xlim=(0.8 * min(shown), 1.2 * max(shown)), ylabel=LOSS)
    axis.set_ylim(low, high)
    axis.set_xlabel(tokens_or_compute(x, charge_source))
    style.flops_axis(axis.xaxis)


def tokens_or_compute(x: str, charge_source: bool) -> str:
    if x == "tokens":
        return "tokens trained on"
    return COMPUTE[:-1] + ", source’s added)" if charge_source else COMPUTE


def dots(
    axis: Axes, labels: Sequence[str], intervals: Sequence[Interval], looks: Looks | None = None
) -> None:
    """A row for each label, the first on top: its value, and its interval as a whisker. An open
    end is drawn as far as the value goes; a row without a value is left empty."""
    axis.set_yticks(range(len(labels)), [style.wrapped(style.plain(one), 34) for one in labels])
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    for row, (label, found) in enumerate(zip(labels, intervals, strict=True)):
        look = (looks or {}).get(label) or style.look(label)
        ends = [end if np.isfinite(end) else found.value for end in (found.lo, found.hi)]
        axis.plot(ends, [row, row], color=look.colour, lw=1.3, label="_whisker")
        axis.plot([found.value], [row], look.marker, color=look.colour, label="_value")
