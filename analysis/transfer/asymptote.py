"""What a ladder says of sizes beyond it: three metrics, and whether transfer is useful.

Kalra and Barkeshli (2605.21486) name three metrics of a parametrization. We know their names, not
their formulas; these are our reading:

    E      root mean square, in log2, of what log2 lr*(w) = a + b log2 w leaves
    κ      d log2 curvature / d log2 w: the loss lost to an error δ in log2 lr is curvature δ² / 2,
           so κ below 0 means that extrapolation errors matter less the larger the model
    R(∞)   L∞ above that of the best of the ladders it is compared with, in nats

L∞ is from L*(w) = L∞ + A w^-α, with A and L∞ of each ladder and one α for all that are compared,
by least squares: an exponent for each would take more sizes than anyone sweeps.

Ghosh, Wu and Bietti (2512.22768): transfer is *useful* where the suboptimality of the proxy's
optimum vanishes faster in its size than the finite-size gap does. The largest rung W stands in for
infinite size, and slopes of log2 against log2 w, over all smaller w, are compared:

    R(w)   = curvature_W (log2 lr*_w - log2 lr*_W)² / 2        gap(w) = L*(w) - L∞

A parametrization whose optimum never moves can have the largest R(∞): transfer and quality are two
things.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mugrow.analysis.stats import Interval, jackknife_interval
from mugrow.analysis.transfer.ladder import Ladder
from mugrow.analysis.transfer.metrics import JackknifedLadder, LadderDraw
from mugrow.analysis.transfer.optimum import Array

EXPONENTS = np.geomspace(0.1, 4.0, 241)
FEWEST = 3
UsefulWord = Literal["useful", "not useful", "undecided"]
COMPARED = (
    "model.width", "model.depth", "model.context", "model.vocab_size", "steps", "batch_sequences",
    "data.corpus_sha256", "data.tokenizer", "data.val_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Useful:
    """Slopes against log2 size of the proxy's suboptimality and of the gap; ``difference`` is the
    first minus the second, below 0 where transfer is useful."""

    suboptimality: Interval
    gap: Interval
    difference: Interval
    word: UsefulWord


@dataclass(frozen=True)
class Asymptote:
    """None where a ladder has too few sizes, too few vertices, or no asymptote within reach."""

    fit_error_log2: Interval | None = None
    robustness: Interval | None = None
    penalty_nats: Interval | None = None
    exponent: float | None = None
    useful: Useful | None = None


def asymptotes(all_measured: Sequence[JackknifedLadder]) -> list[Asymptote]:
    """Of each ladder; penalties against the ladders of the same sizes, data and budget."""
    groups: dict[str, list[JackknifedLadder]] = {}
    for found in all_measured:
        groups.setdefault(_comparable(found.ladder), []).append(found)
    limits = {}
    for group in groups.values():
        of_draws = [_limits([found.draws[k] for found in group], group[0].ladder)
                    for k in range(len(group[0].draws))]  # fmt: skip
        for place, found in enumerate(group):
            limits[id(found)] = of_draws, place
    return [_asymptote(found, *limits[id(found)]) for found in all_measured]


def _comparable(ladder: Ladder) -> str:
    common = ladder.common
    held = {key: common.get(key) for key in COMPARED}
    of_axis = [ladder.axis.name, ladder.axis.note, ladder.sizes, ladder.reference]
    return json.dumps([of_axis, held, ladder.rungs[0].seeds], sort_keys=True)


Limits = tuple[float, Array]  # the exponent, L∞ of each ladder


def _limits(draws: list[LadderDraw], ladder: Ladder) -> Limits | None:
    losses = np.array([[bowl.lowest for bowl in draw.rungs] for draw in draws])
    return limits(np.array(ladder.sizes), losses)


def limits(sizes: Array, losses: Array) -> Limits | None:
    """The exponent and L∞ of losses of shape (ladders, sizes), or None.

    Variable projection: for each exponent the other parameters are linear. None from fewer sizes
    than determine them, where the best exponent is at the end of those tried, and where a loss
    does not fall with size.
    """
    count, rungs = losses.shape
    if rungs < FEWEST or count * rungs <= 2 * count + 1 or not np.isfinite(losses).all():
        return None
    fits = [_fit(sizes**-exponent, losses) for exponent in EXPONENTS]
    best = int(np.argmin([error for error, _, _ in fits]))
    _, limit, slope = fits[best]
    if best in (0, len(EXPONENTS) - 1) or (slope <= 0).any():
        return None
    return float(EXPONENTS[best]), limit


def _fit(x: Array, losses: Array) -> tuple[float, Array, Array]:
    """Squared error, intercepts and slopes of losses (ladders, sizes) against x (sizes,)."""
    away = x - x.mean()
    slope = losses @ away / (away @ away)
    limit = losses.mean(axis=1) - slope * x.mean()
    error = losses - limit[:, None] - slope[:, None] * x
    return float((error**2).sum()), limit, slope


def _asymptote(found: JackknifedLadder, of_draws: list[Limits | None], place: int) -> Asymptote:
    log2_size = np.log2(found.ladder.sizes)
    whole = of_draws[0]
    return Asymptote(
        fit_error_log2=_known(found.interval(lambda draw: fit_error(log2_size, draw))),
        robustness=_known(found.interval(lambda draw: robustness(log2_size, draw))),
        penalty_nats=_penalty(of_draws, place),
        exponent=None if whole is None else whole[0],
        useful=_useful(found, of_draws, place),
    )


def _known(interval: Interval) -> Interval | None:
    return None if math.isnan(interval.value) else interval


def fit_error(log2_size: Array, draw: LadderDraw) -> float:
    """E: nan from fewer than three vertices, which a line fits exactly."""
    vertices = np.array([bowl.vertex for bowl in draw.rungs])
    if len(vertices) < FEWEST or np.isnan(vertices).any():
        return math.nan
    _, limit, slope = _fit(log2_size, vertices[None])
    return float(np.sqrt(np.mean((vertices - limit - slope * log2_size) ** 2)))


def robustness(log2_size: Array, draw: LadderDraw) -> float:
    """κ: nan where a rung has no vertex."""
    curvatures = np.array([bowl.curvature for bowl in draw.rungs])
    if len(curvatures) < 2 or np.isnan(curvatures).any():
        return math.nan
    return slope_of(log2_size, np.log2(curvatures))


def slope_of(x: Array, y: Array) -> float:
    """The least-squares slope of y against x, both of shape (points,)."""
    return float(_fit(x, y[None])[2][0])


def _penalty(of_draws: list[Limits | None], place: int) -> Interval | None:
    """R(∞); None without others to compare with. Its interval needs an asymptote in every draw."""
    whole = of_draws[0]
    if whole is None or len(whole[1]) < 2:
        return None
    above = [math.nan if one is None else one[1][place] - one[1].min() for one in of_draws]
    return jackknife_interval(float(above[0]), np.array(above[1:]))


def _useful(found: JackknifedLadder, of_draws: list[Limits | None], place: int) -> Useful | None:
    """None from fewer than three proxies, without an asymptote, or where R or the gap is 0."""
    if len(found.ladder.rungs) <= FEWEST or found.ladder.reference is not None:
        return None
    log2_size = np.log2(found.ladder.sizes[:-1])
    values = np.array(
        [
            (math.nan, math.nan) if one is None else decay(log2_size, draw, float(one[1][place]))
            for draw, one in zip(found.draws, of_draws, strict=True)
        ]
    )
    if np.isnan(values[0]).any():
        return None
    suboptimality, gap, difference = (
        jackknife_interval(float(column[0]), column[1:])
        for column in (values[:, 0], values[:, 1], values[:, 0] - values[:, 1])
    )
    word: UsefulWord = (
        "useful" if difference.hi < 0 else "not useful" if difference.lo > 0 else "undecided"
    )
    return Useful(suboptimality, gap, difference, word)


def decay(log2_size: Array, draw: LadderDraw, limit: float) -> tuple[float, float]:
    """Slopes of log2 R(w) and log2 gap(w) against log2 w of the proxies; nan where undefined."""
    *proxies, largest = draw.rungs
    shifts = np.array([bowl.vertex - largest.vertex for bowl in proxies])
    regret = largest.curvature * shifts**2 / 2
    gap = np.array([bowl.lowest - limit for bowl in proxies])
    if not ((regret > 0).all() and (gap > 0).all()):
        return math.nan, math.nan
    return slope_of(log2_size, np.log2(regret)), slope_of(log2_size, np.log2(gap))
