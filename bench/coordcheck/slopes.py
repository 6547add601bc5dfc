"""Slopes of sizes along an axis, their intervals over seeds, and what is wrong with them.

A seed's slope is a least-squares line through its sizes; the interval is Student's t over seeds,
which are what was drawn independently:  mean ± t(n - 1, 97.5 %) * sd / sqrt(n).

A module fails where the whole interval lies outside its bounds, and passes where it lies within
them, or is ±0.05 or less and not outside. Where it is wider and across a bound, nobody can say:

    module       |x|            |x_t - x_0|
    head         -0.6 to 0.1    -0.6 to 0.1
    any other    -0.1 to 0.1    -0.25 to 0.1

A readout of random weights, divided by the width, begins at -1/2 and loses it as it learns. What
moves falls a little with the width while models are narrow: a token's update is its own part, of
order one, plus interference of the others, of order width^-1/2. Under muP that is -0.18 at most
over widths 32 to 128 (64 seeds); with hidden rates divided once more by the width it is -0.25 to
-0.49 at step 2 (not -1: the embedding goes on moving), so the bound is between.

The mean slope is judged by its interval, not by where it lies: a table has 160 slopes, whose
standard deviation over seeds is up to 0.2. With five of 48 seeds muP has a mean out of bounds
somewhere in 75 % of draws, but an interval in 2 %; hidden rates wrong by width^1/2, either way, had
one in every draw. Five seeds know a slope to ±0.2 at worst, so ``pooling`` takes more.

What moves less with the width by a rule of the parametrization's own is exempt, while it does not
rise (``Rules.falling``): the embedding of ``umup``, and in the first block what reads it alone.
Attention logits are exempt where the head size grows: 1/S is right for what is learned, and random
ones then fall as S^-1/2. In depth the stream is judged (embedded, after the last block and read
out) by its movement after the last step, as in arXiv 2505.01618, figure 7: what single blocks add
is weighed by depth on purpose, and of two blocks the first, which reads the embedding alone, is
half. What is zero at every size has no slope and is exempt.

The mup package's own ``coord_check`` counts forward passes, so its t = 1 is before any update: its
t = 1 to 5, for which the bound of 0.1 is known to hold, are the steps 0 to 4 here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from mugrow.bench.coordcheck.activations import Array, Kind, Sizes
from mugrow.bench.coordcheck.series import Axis, ModelSeries
from mugrow.bench.parametrization import rules_of

Verdict = Literal["pass", "fail", "cannot say", "exempt"]
UP, DOWN, DOWN_MOVED, DOWN_HEAD = 0.1, -0.1, -0.25, -0.6
KNOWN = 0.05  # half of an interval, in units of slope
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Row:
    """One module at one step. ``slope`` is the mean over seeds of the log2-log2 slope of mean |x|
    (``x``) or mean |x_t - x_0| (``dx``), ``None`` where a size is zero or not finite; ``interval``
    is its 95 % interval. ``sizes`` are widths or depths, ``means`` geometric means over seeds,
    ``seeds`` how many."""

    parametrization: str
    method: str
    axis: Axis
    module: str
    kind: Kind
    step: int
    slope: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    reason: str | None
    sizes: list[int]
    means: list[float | None]
    seeds: int

    @property
    def half(self) -> float | None:
        """Half of the interval: the slope is known to so much."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2

    @property
    def seeds_to_know(self) -> int | None:
        """How many seeds it takes to know the slope to ``KNOWN``, if they differ as much as those
        that were trained; None without a slope."""
        if self.half is None:
            return None
        sd = self.half * math.sqrt(self.seeds) / _t(self.seeds)
        few, many = 1, 2  # too few seeds, and enough
        while _t(many) * sd / math.sqrt(many) > KNOWN:
            few, many = many, 2 * many
        while many - few > 1:
            middle = (few + many) // 2
            if _t(middle) * sd / math.sqrt(middle) > KNOWN:
                few = middle
            else:
                many = middle
        return max(many, self.seeds)


def rows(series: ModelSeries, measured: Sequence[Sizes]) -> list[Row]:
    """The rows of a series, from what was measured of its models; by kind, module and step."""
    if series.axis == "depth":
        measured = [blocks_together(sizes) for sizes in measured]
    modules = list(dict.fromkeys(module for _, module, _ in measured[0]))  # in forward order
    keys = sorted(measured[0], key=lambda key: (key[0] == "dx", modules.index(key[1])))
    return [_row(series, key, np.array([sizes[key] for sizes in measured])) for key in keys]


def _row(series: ModelSeries, key: tuple[Kind, str, int], sizes_MK: Array) -> Row:
    kind, module, step = key
    slope = interval = None
    if (sizes_MK > 0).all() and np.isfinite(sizes_MK).all():
        slopes_K = fit(series.sizes, sizes_MK)
        slope, interval = float(slopes_K.mean()), t_interval(slopes_K)
    reason: str | None = "zero at every size"
    if sizes_MK.any():
        reason = exemption(series, kind, module, step) or _falling(series, kind, module, slope)
    return Row(
        parametrization=series.parametrization,
        method="scratch" if series.start is None else series.start.method,
        axis=series.axis,
        module=module,
        kind=kind,
        step=step,
        slope=slope,
        interval=interval,
        verdict="exempt" if reason else verdict(module, kind, interval),
        reason=reason,
        sizes=series.sizes,
        means=[_geometric_mean(size_K) for size_K in sizes_MK],
        seeds=sizes_MK.shape[1],
    )


def _geometric_mean(size_K: Array) -> float | None:
    if not (size_K > 0).all() or not np.isfinite(size_K).all():
        return None
    return float(np.exp(np.log(size_K).mean()))


def fit(at: Sequence[int], sizes_MK: Array) -> Array:
    """The slope of log2 size over log2 width (or depth) of each of K members, ``(K,)``."""
    slopes_K: Array = np.polyfit(np.log2(at), np.log2(sizes_MK), 1)[0]
    return slopes_K


def t_interval(values: Array) -> tuple[float, float]:
    """Student's 95 % interval of the mean; at least two values."""
    n = len(values)
    half = _t(n) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)


def _t(seeds: int) -> float:
    return float(stdtrit(seeds - 1, (1 + LEVEL) / 2))


def verdict(module: str, kind: Kind, interval: tuple[float, float] | None) -> Verdict:
    """Of a module that is not exempt; no slope is a fail."""
    lowest = DOWN_HEAD if module == "head" else DOWN if kind == "x" else DOWN_MOVED
    if interval is None or interval[1] < lowest or interval[0] > UP:
        return "fail"
    known = interval[1] - interval[0] <= 2 * KNOWN
    return "pass" if known or (lowest <= interval[0] and interval[1] <= UP) else "cannot say"


def exemption(series: ModelSeries, kind: Kind, module: str, step: int) -> str | None:
    """Why any slope is right, if so."""
    if len({model.head_size for model in series.models}) > 1 and module.endswith("logits"):
        return "the head size grows"
    if series.axis == "depth" and (kind, step) != ("dx", series.steps):
        return "in depth the movement after the last step counts"
    if series.axis == "depth" and module not in ("embed", "blocks.last", "head"):
        return "in depth the stream counts"
    return None


def _falling(series: ModelSeries, kind: Kind, module: str, slope: float | None) -> str | None:
    """Why a movement that falls with the width is right, if the parametrization says so."""
    if series.axis == "depth" or kind == "x" or slope is None or slope > 0:
        return None
    return rules_of(series.parametrization, series.models[0], series.base).falling.get(module)


def blocks_together(sizes: Sizes) -> Sizes:
    """A model of any depth by the same modules: the mean over blocks as ``blocks.*``, and the
    stream after the last of them as ``blocks.last``."""
    together: dict[tuple[Kind, str, int], list[Array]] = {}
    for (kind, module, step), size_K in sizes.items():
        first, _, rest = module.partition(".")
        if first != "blocks":
            name = module
        else:
            name = f"blocks.*.{rest.partition('.')[2]}" if "." in rest else "blocks.last"
        known = together.setdefault((kind, name, step), [])
        if name == "blocks.last":
            known.clear()
        known.append(size_K)
    return {key: np.mean(parts, axis=0) for key, parts in together.items()}
