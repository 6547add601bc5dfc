"""Figures of one trunk with cool-downs against a cosine for each horizon."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.figures.arms import LOSS
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import (
    AVERAGED,
    COSINE,
    COSINE_0,
    LENGTH,
    LENGTHS,
    TRUNK,
    along,
    base_rate,
    closed,
    cooled,
    ends,
    gap,
    ladder_costs,
)

BRANCH = "cool-down"
LOOKS = style.dealt((TRUNK, COSINE, BRANCH, *AVERAGED.values(), COSINE_0))
SHAPES = {"linear": "linear", "sqrt": "1 − sqrt"}


def lines(store: Store, name: str) -> Iterator[pd.DataFrame]:
    """For each horizon, an arm's losses at the base rate against tokens since the first step of
    its trunk: min, mean and max over seeds."""
    own = arm(store.runs, name)
    own = own[own["lr"] == base_rate(own["lr"])]
    specs = [json.loads(text) for text in own["spec"]]
    own = own.assign(horizon=[s["steps"] for s in specs], first=[s["first_step"] for s in specs])
    rows = own[["run_id", "horizon", "first", "batch_tokens"]].merge(store.curves, on="run_id")
    for _, of_steps in rows.groupby("horizon"):
        yield over_seeds(
            (of_steps["first"] + of_steps["step"]) * of_steps["batch_tokens"], of_steps["val_loss"]
        )


def over_seeds(at: pd.Series, losses: pd.Series) -> pd.DataFrame:
    shown = losses[(at > 0) & losses.notna()]
    return shown.groupby(at).agg(["min", "mean", "max"])


def band(axis: Axes, line: pd.DataFrame, look: style.Look, marker: str = "") -> None:
    axis.fill_between(line.index, line["min"], line["max"], color=look.colour, alpha=0.15, lw=0)
    axis.plot(line.index, line["mean"], color=look.colour, lw=1.1, marker=marker, ms=3)


def whiskers(
    axis: Axes,
    at: Sequence[float],
    found: Sequence[Interval],
    look: style.Look,
    label: str,
    times: float = 1,
) -> None:
    """Values with their intervals."""
    values = [times * one.value for one in found]
    axis.plot(at, values, look.line, marker=look.marker, color=look.colour, label=label)
    for x, one in zip(at, found, strict=True):
        axis.plot([x, x], [times * one.lo, times * one.hi], color=look.colour, lw=1, label="_ends")


def ladder(store: Store, margin: float) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    for name, label in ((TRUNK, TRUNK), (COSINE, COSINE), (cooled(LENGTH), BRANCH)):
        for line in lines(store, name):
            band(left, line, LOOKS[label])
            if name != TRUNK:
                end = line["mean"].iloc[-1:]
                left.plot(end.index, end, LOOKS[label].marker, color=LOOKS[label].colour)
    first, *_, last = (line["mean"] for line in lines(store, COSINE))
    frame(left, first.index[-1], first.iloc[-1], last.iloc[-1])
    legend(left, (TRUNK, COSINE, BRANCH))
    ours = ends(store, cooled(LENGTH))
    for cosine in (COSINE, COSINE_0):
        theirs = ends(store, cosine)
        gaps = [gap({steps: ours[steps]}, {steps: theirs[steps]}) for steps in ours]
        whiskers(right, list(ours), gaps, LOOKS[cosine], f"against {cosine}")
    right.axhspan(-margin, margin, color=style.FAINT, alpha=0.4, lw=0)
    right.set(xlabel="horizon (steps)", ylabel="cool-down’s loss minus cosine’s (%)")
    right.legend()
    return figure


def frame(axis: Axes, first_tokens: float, highest: float, lowest: float) -> None:
    """Losses against tokens from a little before the first horizon on."""
    reach = highest - lowest
    axis.set(xlim=(0.6 * first_tokens, None), ylim=(lowest - 0.25 * reach, highest + 0.5 * reach))
    axis.set(xlabel="tokens trained on", ylabel=LOSS)
    style.flops_axis(axis.xaxis)


def legend(axis: Axes, names: tuple[str, ...]) -> None:
    axis.legend(handles=[style.handle(name, mine=LOOKS[name]) for name in names])


def lengths(store: Store) -> Figure:
    cosine, looks = ends(store, COSINE), style.dealt(tuple(SHAPES))
    horizons = sorted(ends(store, cooled(LENGTHS[0])))
    figure, (axes,) = style.panels(1, len(horizons), sharey=True)
    for axis, steps in zip(axes, horizons, strict=True):
        for shape, label in SHAPES.items():
            arms = [ends(store, cooled(share, shape), at_base=True) for share in LENGTHS]
            gaps = [gap({steps: own[steps]}, {steps: cosine[steps]}) for own in arms]
            percent = [100 * share for share in LENGTHS]
            whiskers(axis, percent, gaps, looks[shape], label)
            lowest, share = min((one.value, at) for one, at in zip(gaps, percent, strict=True))
            style.mark_minimum(axis, share, lowest, looks[shape].colour)
        axis.axhline(0, color=style.GREY, lw=1, ls="--")
        axis.set(xlabel="cool-down (% of the horizon)", title=f"{steps} steps")
    axes[0].set_ylabel(f"loss minus that of a {COSINE} (%)")
    axes[0].legend()
    return figure


def averages(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    for kind, name in AVERAGED.items():
        rows = arm(store.runs, name)[["run_id", "batch_tokens"]].merge(store.curves, on="run_id")
        at = rows["step"] * rows["batch_tokens"]
        band(left, over_seeds(at, rows["val_loss"]), LOOKS[TRUNK])
        band(left, over_seeds(at, rows["val_loss_averaged"]), LOOKS[name], LOOKS[name].marker)
        horizons = list(along(store, kind)["cooled"])
        shares = [closed(store, kind, steps) for steps in horizons]
        whiskers(right, horizons, shares, LOOKS[name], name, times=100)
    down = [line["mean"].iloc[-1:] for line in lines(store, cooled(LENGTH))]
    for end in down:
        left.plot(end.index, end, LOOKS[BRANCH].marker, color=LOOKS[BRANCH].colour, zorder=4)
    frame(left, down[0].index[-1], down[0].iloc[-1], down[-1].iloc[-1])
    legend(left, (TRUNK, *AVERAGED.values(), BRANCH))
    right.axhline(100, color=LOOKS[BRANCH].colour, lw=1, ls="--")
    right.set(xlabel="horizon (steps)", ylabel="of the cool-down’s gain (%)")
    right.legend()
    return figure


def costs(store: Store, claimed: float) -> Figure:
    """Of one seed, which all cost the same."""
    figure, ((left, right),) = style.panels(1, 2)
    spent = ladder_costs(store)
    count = range(1, len(spent) + 1)
    ours, theirs = (np.array([of[which][0] for of in spent.values()]) for which in (0, 1))
    for label, values, look in (
        ("a cosine for each", theirs, LOOKS[COSINE]),
        ("trunk and branches", ours, LOOKS[BRANCH]),
    ):
        left.plot(count, values, look.line, marker=look.marker, color=look.colour, label=label)
    style.flops_axis(left.yaxis)
    left.set(xlabel="horizons", ylabel="compute of all of them (FLOPs)", xticks=count)
    left.set_ylim(0, None)
    left.legend()
    right.plot(count, ours / theirs, marker=LOOKS[BRANCH].marker, color=LOOKS[BRANCH].colour)
    right.axhline(claimed, color=style.GREY, ls="--", lw=1)
    right.set(xlabel="horizons", ylabel="trunk and branches over cosines", ylim=(0, 1.05))
    right.set_xticks(count)
    return figure
