"""How far the optimum moves along a ladder, what that costs, and how sharp the bowls are.

    shift      log2 lr*_target - log2 lr*_proxy        of the best tested rate, and of the vertex
    drift      d log2 lr* / d log2 size                -1 for SP with Adam in width, 0 for muP
    regret     L_target(lr*_proxy) - min_lr L_target   in nats, percent, and as compute
    curvature  d2 L / d(log2 lr)2 at the vertex        what a small shift costs: half of it, squared

All from losses averaged over the seeds, which every rung has. Intervals are the jackknife's over
seeds, not the bootstrap's: on planted bowls with noise, 300 draws of each kind, intervals meant to
cover 95 % covered the drift in 93, 96 and 97 % at two, three and five seeds, and the percentile
bootstrap's in 52, 76 and 88 %.

A minimum over noisy losses is too low, and the regret it gives too high, by 0.2 % of the loss where
the truth is 0. So the place of each optimum is taken from the shape that the ladder's bowls share
(``transfer.shape``), and the losses there from the rates tested beside it: noise moves both places,
but prefers neither. With the noise of committed studies, at three and five seeds, those intervals
cover 95 to 97 % over the shifts on bowls up to three times as steep above as below; the parabola's
down to 31 % (``tests/analysis/test_transfer_coverage.py``).

A parabola's vertex lies beside the optimum of an uneven bowl, by more the more uneven it is. Where
all bowls are alike that cancels in a drift; where one end of the ladder is as steep above as below
and the other three times as steep above, it is a drift of 0.2 a doubling where there is none, and
intervals of vertices cover 0.59 at three seeds and 0.09 at five. No resampling of seeds mends a
bias. So a drift is of places by *each bowl's own* shape, which are twice as uncertain and cover 94
to 97 % on alike and unlike bowls. ``Drift.alike`` is the slope of the vertices, for those who know
that their bowls are alike; seeds can hardly tell (5 to 25 % of such ladders). The regret goes by
the shared shape all the same, and so holds for bowls of one shape, as do drifts of grown models:
the rate that they begin at is the vertex of a bowl that is not on the ladder.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from mugrow.analysis.stats import Interval, jackknife_interval, widened_by
from mugrow.analysis.transfer import shape
from mugrow.analysis.transfer.cost import cost
from mugrow.analysis.transfer.ladder import Ladder
from mugrow.analysis.transfer.optimum import (
    Array,
    Edge,
    Known,
    Mask,
    Optimum,
    loss_at,
    optimum,
)
from mugrow.analysis.transfer.sweep import Sweep


@dataclass(frozen=True, eq=False)
class Bowl:
    """The mean losses of a sweep over some of its seeds, both arrays of shape (points,). What its
    ``optimum`` does not have is nan."""

    log2_lr: Array
    loss: Array

    @cached_property
    def optimum(self) -> Optimum | None:
        return optimum(self.log2_lr, self.loss) if np.isfinite(self.loss).any() else None

    @property
    def argmin(self) -> float:
        return math.nan if self.optimum is None else self.optimum.argmin_log2_lr

    @property
    def vertex(self) -> float:
        vertex = None if self.optimum is None else self.optimum.vertex_log2_lr
        return math.nan if vertex is None else vertex

    @property
    def lowest(self) -> float:
        return math.nan if self.optimum is None else self.optimum.argmin_loss

    def between(self, log2_lr: float) -> float:
        """The loss at a rate, linear between those that finished; outside them the nearest one's,
        which a bowl does not fall below there."""
        finite = np.isfinite(self.loss)
        if math.isnan(log2_lr) or not finite.any():
            return math.nan
        return float(np.interp(log2_lr, self.log2_lr[finite], self.loss[finite]))

    def outside(self, log2_lr: float) -> bool:
        """Whether a rate is below or above all that finished."""
        finished = self.log2_lr[np.isfinite(self.loss)]
        return len(finished) > 0 and not finished[0] <= log2_lr <= finished[-1]

    @property
    def curvature(self) -> float:
        curvature = None if self.optimum is None else self.optimum.curvature
        return math.nan if curvature is None else curvature


@dataclass(frozen=True, eq=False)
class LadderDraw:
    """A ladder's bowls on the same seeds: of its rungs, and of its relation of loss to compute.
    ``places`` is where each rung's is lowest, in log2, by the shape that all share, and ``own`` by
    a shape of its own; nan for none.
    """

    rungs: list[Bowl]
    relation: list[Bowl]
    places: list[float]
    own: list[float]


Of = Literal["vertex", "argmin"]
Statistic = Callable[[LadderDraw], float]


@dataclass(frozen=True, eq=False)
class JackknifedLadder:
    """A ladder on all its seeds, and with each of them left out, in the order of the seeds."""

    ladder: Ladder
    whole: LadderDraw
    left_out: list[LadderDraw]

    @property
    def draws(self) -> list[LadderDraw]:
        return [self.whole, *self.left_out]

    def interval(self, statistic: Statistic) -> Interval:
        """A statistic of the ladder; nan or inf where the draw has none."""
        rest = np.array([statistic(draw) for draw in self.left_out])
        return jackknife_interval(statistic(self.whole), rest)


def measured(ladder: Ladder) -> JackknifedLadder:
    """A ladder's bowls on all its seeds and with each left out; of one seed nothing is left out."""
    seeds = range(len(ladder.rungs[0].seeds))
    rest = [[row for row in seeds if row != out] for out in seeds] if len(seeds) > 1 else []
    inside = [shape.near(sweep.log2_lr, sweep.mean_loss) for sweep in ladder.rungs]
    return JackknifedLadder(
        ladder,
        _draw(ladder, list(seeds), inside),
        [_draw(ladder, rows, inside) for rows in rest],
    )


def _draw(ladder: Ladder, rows: list[int], inside: Sequence[Mask | None]) -> LadderDraw:
    """The bowls of some seeds; ``inside`` are the points that the shape is fitted to."""
    bowls = {id(sweep): _bowl(sweep, rows) for sweep in (*ladder.rungs, *ladder.relation)}
    rungs = [bowls[id(sweep)] for sweep in ladder.rungs]
    fitted = [
        None if points is None else (bowl.log2_lr[points], bowl.loss[points])
        for bowl, points in zip(rungs, inside, strict=True)
    ]
    relation = [bowls[id(sweep)] for sweep in ladder.relation]
    own = [place for one in fitted for place in shape.places([one])]
    return LadderDraw(rungs, relation, shape.places(fitted), own)


def _bowl(sweep: Sweep, rows: list[int]) -> Bowl:
    return Bowl(sweep.log2_lr, sweep.loss[rows].mean(axis=0))


@dataclass(frozen=True)
class SizeOptimum:
    """One size: its best rate in log2, at the vertex where there is one, the lowest loss tested in
    nats per token, and how sharp the bowl is, in nats per log2 squared."""

    size: float
    best_log2_lr: Interval
    of: Of
    lowest_loss: Interval
    curvature: Interval | None
    edge: Edge


def rung(found: JackknifedLadder, place: int) -> SizeOptimum:
    """The optimum of the size at ``place`` on the ladder, which has finished a learning rate."""
    whole = found.whole.rungs[place].optimum
    assert whole is not None, "a ladder's rungs have finished"
    of = _of(found, [place])
    best = found.interval(lambda draw: _best(draw.rungs[place], of))
    curvature = found.interval(lambda draw: draw.rungs[place].curvature)
    return SizeOptimum(
        size=found.ladder.sizes[place],
        best_log2_lr=best if of == "vertex" else widened_by(best, _resolution(found, place)),
        of=of,
        lowest_loss=found.interval(lambda draw: draw.rungs[place].lowest),
        curvature=None if math.isnan(curvature.value) else curvature,
        edge=whole.edge,
    )


def _of(found: JackknifedLadder, places: Sequence[int]) -> Of:
    """Vertices where every draw has all of them, else best rates tested: never some of each."""
    vertices = [draw.rungs[place].vertex for draw in found.draws for place in places]
    return "argmin" if np.isnan(vertices).any() else "vertex"


def _best(bowl: Bowl, of: Of) -> float:
    return bowl.vertex if of == "vertex" else bowl.argmin


def _resolution(found: JackknifedLadder, place: int) -> float:
    """Half the wider grid step beside the best rate tested: what an argmin cannot tell, in log2."""
    bowl = found.whole.rungs[place]
    at = int(np.flatnonzero(bowl.log2_lr == bowl.argmin)[0])
    return float(np.diff(bowl.log2_lr[max(0, at - 1) : at + 2]).max()) / 2


@dataclass(frozen=True)
class Drift:
    """The least-squares slope of log2 of the best rate against log2 size; of a ladder with a
    reference through that, at size 1.

    It is of places by each bowl's own shape (``bowl``); with a reference, which is itself the
    vertex of another bowl, of vertices; and of argmins where some bowl has no such place: the
    interval then has what the grid cannot tell. ``alike`` is the slope of the vertices, narrower
    and right for bowls of one shape only; None where some have none.
    """

    of: Literal["bowl", "vertex", "argmin"]
    slope: Interval
    alike: Interval | None


def drift(found: JackknifedLadder) -> Drift:
    """How fast the best rate moves with size, log2 per doubling."""
    places = range(len(found.ladder.rungs))
    weights = slope_weights(found.ladder)
    start = found.ladder.reference

    def slope(best: Sequence[float]) -> float:
        return float(weights @ (np.array(best) - (start or 0.0)))

    vertices = found.interval(lambda draw: slope([bowl.vertex for bowl in draw.rungs]))
    alike = vertices if _of(found, places) == "vertex" else None
    if start is not None and alike is not None:
        return Drift("vertex", alike, alike)
    if start is None and not any(math.isnan(one) for draw in found.draws for one in draw.own):
        return Drift("bowl", found.interval(lambda draw: slope(draw.own)), alike)
    argmins = found.interval(lambda draw: slope([bowl.argmin for bowl in draw.rungs]))
    grid = float(np.abs(weights) @ [_resolution(found, place) for place in places])
    return Drift("argmin", widened_by(argmins, grid), alike)


def slope_weights(ladder: Ladder) -> Array:
    """Weights of a least-squares slope against log2 size, shape (rungs,)."""
    log2_size = np.log2(ladder.sizes)
    away = log2_size if ladder.reference is not None else log2_size - log2_size.mean()
    return np.asarray(away / (away @ away))


@dataclass(frozen=True)
class Pair:
    """The best rate of ``proxy`` used at ``target``, both sizes; of a grown ladder the proxy is the
    source, of size 1.

    ``regret_bowl_nats`` and ``regret_bowl_percent`` are the regret to go by: the losses tested at
    the target, between the places where the ladder's shape has both bowls lowest
    (``transfer.shape``). Where the proxy's is outside the rates that finished there, they are lower
    bounds, open above. ``regret_nats`` and ``regret_percent`` are those of the best rates tested,
    which noise makes too large where bowls are flat; ``regret_vertex_percent`` is the target's
    parabola's between the vertices, right for bowls as steep above as below.

    ``compute`` is what the regret is worth, the share of FLOPs by which a from-scratch run would
    have to grow to make up for it; None where the ladder cannot say. ``regret_at`` says how the
    loss is known (``optimum.loss_at``). The last two are the ratios of ``cost``.
    """

    proxy: float
    target: float
    shift_argmin_log2: Interval
    shift_vertex_log2: Interval | None
    regret_nats: Interval
    regret_percent: Interval
    regret_vertex_percent: Interval | None
    regret_bowl_nats: Interval | None
    regret_bowl_percent: Interval | None
    compute: Interval | None
    regret_at: Known
    edge_proxy: Edge
    edge_target: Edge
    search_over_target: float | None
    total_over_scratch: float | None

    @property
    def shift_log2(self) -> Interval:
        """Of the vertices; of the best rates tested where one has none."""
        vertex = self.shift_vertex_log2
        return self.shift_argmin_log2 if vertex is None else vertex

    @property
    def decisive_nats(self) -> Interval:
        """The regret that a verdict is given on, in nats."""
        return self.regret_nats if self.regret_bowl_nats is None else self.regret_bowl_nats

    @property
    def decisive_percent(self) -> Interval:
        """The same in percent of the lowest loss."""
        return self.regret_percent if self.regret_bowl_percent is None else self.regret_bowl_percent


def pairs(found: JackknifedLadder) -> list[Pair]:
    """Every two rungs both ways, by proxy; of a ladder with a reference, that at every rung."""
    places = range(len(found.ladder.rungs))
    if found.ladder.reference is not None:
        return [pair(found, None, target) for target in places]
    return [pair(found, p, t) for p in places for t in places if p != t]


def pair(found: JackknifedLadder, proxy: int | None, target: int) -> Pair:
    """The rung ``target`` at the best rate of ``proxy``, both places on the ladder, or of the
    ladder's reference."""
    reference = found.ladder.reference or math.nan

    def argmin(draw: LadderDraw) -> float:
        return reference if proxy is None else draw.rungs[proxy].argmin

    def vertex(draw: LadderDraw) -> float:
        return reference if proxy is None else draw.rungs[proxy].vertex

    def regret(draw: LadderDraw) -> float:
        bowl = draw.rungs[target]
        return loss_at(bowl.log2_lr, bowl.loss, argmin(draw))[0] - bowl.lowest

    def of_parabola(draw: LadderDraw) -> float:
        bowl = draw.rungs[target]
        return 50 * bowl.curvature * (bowl.vertex - vertex(draw)) ** 2 / bowl.lowest

    def kept(draw: LadderDraw) -> float:
        return reference if proxy is None else draw.places[proxy]

    def of_bowl(draw: LadderDraw) -> float:
        bowl = draw.rungs[target]
        return bowl.between(kept(draw)) - bowl.between(draw.places[target])

    def of_bowl_percent(draw: LadderDraw) -> float:
        return 100 * of_bowl(draw) / draw.rungs[target].between(draw.places[target])

    outside = any(draw.rungs[target].outside(kept(draw)) for draw in found.draws)
    bowl_nats, bowl_percent = (
        _regret(found.interval(statistic), outside) for statistic in (of_bowl, of_bowl_percent)
    )
    shift = found.interval(lambda draw: draw.rungs[target].vertex - vertex(draw))
    smooth = found.interval(of_parabola)
    worth = regret if bowl_nats is None else of_bowl
    ln_compute = found.interval(lambda draw: worth(draw) / loss_per_compute(found, draw))
    whole = found.whole.rungs[target]
    ratios = cost(found.ladder, target, proxy)
    edges = [None if bowl.optimum is None else bowl.optimum.edge for bowl in found.whole.rungs]
    return Pair(
        proxy=1.0 if proxy is None else found.ladder.sizes[proxy],
        target=found.ladder.sizes[target],
        shift_argmin_log2=found.interval(lambda draw: draw.rungs[target].argmin - argmin(draw)),
        shift_vertex_log2=None if math.isnan(shift.value) else shift,
        regret_nats=at_least_zero(found.interval(regret)),
        regret_percent=at_least_zero(
            found.interval(lambda draw: 100 * regret(draw) / draw.rungs[target].lowest)
        ),
        regret_vertex_percent=None if math.isnan(smooth.value) else at_least_zero(smooth),
        regret_bowl_nats=bowl_nats,
        regret_bowl_percent=bowl_percent,
        compute=None if (extra := _regret(ln_compute, outside)) is None else _extra(extra),
        regret_at=loss_at(whole.log2_lr, whole.loss, argmin(found.whole))[1],
        edge_proxy=None if proxy is None else edges[proxy],
        edge_target=edges[target],
        search_over_target=ratios.search,
        total_over_scratch=ratios.total,
    )


def at_least_zero(regret: Interval) -> Interval:
    """No regret is below 0, whatever noise and Student's interval say."""
    value, lo, hi = (
        max(end, 0.0) if math.isfinite(end) else end for end in (regret.value, regret.lo, regret.hi)
    )
    return replace(regret, value=value, lo=lo, hi=hi)


def _regret(found: Interval, outside: bool) -> Interval | None:
    """None where there is none; what is known of a rate outside those tested is a lower bound, and
    the upper end is open."""
    if math.isnan(found.value):
        return None
    known = at_least_zero(found)
    return replace(known, hi=math.inf) if outside and math.isfinite(known.lo) else known


FEWEST_SIZES = 3


def loss_per_compute(found: JackknifedLadder, draw: LadderDraw) -> float:
    """-dL/d ln C in nats: the slope of the lowest loss from scratch against ln FLOPs of one run,
    by least squares along the ladder. Nan from fewer than ``FEWEST_SIZES`` sizes, where the rungs
    cost the same, or where more compute does not lower the loss.

    A regret of R nats is then worth exp(R / slope) - 1 times the FLOPs more.
    """
    ln_flops = np.log([sweep.run_flops for sweep in found.ladder.relation])
    if len(ln_flops) < FEWEST_SIZES or np.ptp(ln_flops) < math.log(1.1):
        return math.nan
    away = ln_flops - ln_flops.mean()
    slope = -float(away @ [bowl.lowest for bowl in draw.relation]) / float(away @ away)
    return slope if slope > 0 else math.nan


def _extra(ln_compute: Interval) -> Interval:
    """The share of FLOPs to add from the logarithm of the factor; inf where no float holds it."""
    with np.errstate(over="ignore"):
        value, lo, hi = np.expm1([ln_compute.value, ln_compute.lo, ln_compute.hi]).tolist()
    return Interval(value, lo, hi, ln_compute.n)


def same_argmin(found: JackknifedLadder) -> bool:
    """Lingle's verdict (2404.05728): every rung has the same best rate on the grid."""
    best = {bowl.argmin for bowl in found.whole.rungs}
    if found.ladder.reference is not None:
        best.add(found.ladder.reference)
    return max(best) - min(best) < 1e-9
