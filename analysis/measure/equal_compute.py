"""Final loss at equal charged compute: every arm on a whole schedule of its own.

An arm is charged what its runs and their sources cost. What else would those FLOPs have bought?
Scratch, or the source trained on, answers on a *budget line*: final losses of whole schedules at
several budgets, for every seed. Read at the charged compute C of an arm it gives

    difference = loss of the arm - loss of the line at C                 (nats, below 0 is better)
    speed-up   = FLOPs at which the line reaches the arm's loss / C      (above 1 is better)

the second being the first in units of compute. A line is linear in log FLOPs between budgets, and
is not continued beyond them.

Why not read the FLOPs off a training curve? Under a cool-down most of the loss falls at the end.
Scratch at its final loss has cooled down, a grown arm that passes it earlier has not, so a speed-up
at a fixed loss has a ceiling of about 1.25, whatever the method does (``savings``).

Seeds are paired by their number, and only those count that both have. The difference has Student's
interval of the paired differences. The speed-up's interval holds all factors s at which the paired
t test of line(s C) against the arm's loss does not reject (``inversion``); where the final
evaluation has blocks of text, the test is over seeds crossed with blocks. Where the line does not
reach the arm's loss within its budgets, its seeds say all the same what they can: the value is then
a bound, and that end is open (0 or infinite).

The *front* is the best loss that any size has at a compute: the vertex of an isoFLOP parabola,
loss against the logarithm of parameters (Hoffmann et al. 2022, approach 2), through the size with
the lowest mean and its two neighbours, or at an edge its two next. More sizes are not drawn on:
real bowls are lopsided, and a parabola through all of them misses their lowest part. With weights
w_i, those of Lagrange at the vertex, a seed's loss there is sum w_i L_i, so that differences from
the front are paired like any others; to first order the place of the vertex adds nothing to their
noise, the parabola being flat there. Where the vertex is not between sizes known at that compute,
the best of them is the front, and the true one may lie lower, beyond the edge (``FrontSize``).

The seeds that choose a size also measure it. In bowls whose sizes, 4 times as many parameters each,
end 0.01 to 0.05 nats above their minimum the interval covers 0.94 to 0.96 at 2 to 8 seeds
(``simulate``). Where all sizes are level one is chosen by luck, and the front lies too low by half
a standard error of a paired difference: it covers 0.93 to 0.95, to an arm's disadvantage.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mugrow.analysis.measure.inversion import LEVEL, accepted_by_any, crossed, paired
from mugrow.analysis.stats import NOTHING, Array, Interval, student_interval

State = Literal["reached", "above_budgets", "below_budgets", "outside"]
ONE_STEP = 0.01  # schedules have whole steps, so a budget meets a charged compute to about this


@dataclass(frozen=True)
class ChargedArm:
    """Final losses by seed, nats per token, and what every seed is charged: the FLOPs of its own
    run and of its sources."""

    losses: Mapping[int, float]
    flops: float


@dataclass(frozen=True, eq=False)
class BudgetLine:
    """Final losses (seeds, budgets) of whole schedules at budgets (budgets,) in FLOPs, ascending;
    nan where a seed has not run."""

    seeds: tuple[int, ...]
    flops: Array
    losses: Array

    def __post_init__(self) -> None:
        assert self.losses.shape == (len(self.seeds), len(self.flops))
        assert len(set(self.seeds)) == len(self.seeds)
        assert (np.diff(self.flops) > 0).all()
        assert (self.flops > 0).all()

    def pieces(self) -> list["Piece"]:
        """Between neighbouring budgets, of the seeds that have both. One budget is a piece."""
        place = np.log(self.flops)
        found = [
            _piece(self, float(place[at]), float(place[at + 1]), self.losses[:, at : at + 2])
            for at in range(len(place) - 1)
        ]
        if len(place) == 1:
            only = float(place[0])
            found = [_piece(self, only, only, np.repeat(self.losses, 2, axis=1))]
        return [piece for piece in found if piece.losses]


def budget_line(losses: Mapping[float, Mapping[int, float]]) -> BudgetLine:
    """The line of final losses by budget in FLOPs and by seed."""
    seeds = tuple(sorted({seed for by_seed in losses.values() for seed in by_seed}))
    flops = sorted(losses)
    table = [[losses[budget].get(seed, math.nan) for budget in flops] for seed in seeds]
    return BudgetLine(
        seeds,
        np.array(flops, dtype=np.float64),
        np.array(table, dtype=np.float64).reshape(len(seeds), len(flops)),
    )


@dataclass(frozen=True)
class Front:
    """Lines by the name of their shape, and the parameters of each shape."""

    lines: Mapping[str, BudgetLine]
    params: Mapping[str, float]


SizeKind = Literal["vertex", "smallest", "largest", "only", "best"]


@dataclass(frozen=True)
class FrontSize:
    """Which size a front is of, at some compute. ``shape`` is that trained with the lowest mean.

    ``vertex``: the minimum lies between sizes, at ``params`` parameters, and its loss is that of
    several shapes with ``weights`` that add up to 1. Else it is the ``shape`` itself: the
    ``smallest`` or the ``largest`` of those known there, or the ``only`` one, so that the minimum
    may lie beyond; or just the ``best``, where its neighbours lack seeds that it has.
    """

    kind: SizeKind
    shape: str
    params: float
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Piece:
    """A part of a line, linear in log FLOPs from ``start`` to ``end``: by seed the losses there."""

    start: float
    end: float
    losses: Mapping[int, tuple[float, float]]

    def at(self, place: float, seed: int) -> float:
        left, right = self.losses[seed]
        part = (place - self.start) / (self.end - self.start) if self.end > self.start else 0.0
        return left + part * (right - left)

    def mean(self, place: float) -> float:
        return float(np.mean([self.at(place, seed) for seed in self.losses]))


def _piece(line: BudgetLine, start: float, end: float, losses: Array) -> Piece:
    both = zip(line.seeds, losses.tolist(), strict=True)
    return Piece(
        start,
        end,
        {seed: (left, right) for seed, (left, right) in both if math.isfinite(left + right)},
    )


@dataclass(frozen=True)
class Difference:
    """An arm's loss minus a line's at the arm's charged compute, nats per token.

    ``reached``: the compute lies within the budgets. ``above_budgets`` and ``below_budgets``: it
    lies beyond them, and there is no number. ``outside``: no seed has both. ``by_seed`` are the
    differences, ``size`` what the line is of on a front.
    """

    state: State
    difference: Interval
    by_seed: Mapping[int, float]
    size: FrontSize | None = None


NO_DIFFERENCE = Difference("outside", NOTHING, {})


@dataclass(frozen=True)
class EqualComputeSpeedup:
    """FLOPs at which a line reaches an arm's mean loss, over what the arm is charged.

    ``reached``: the value is that ratio. ``above_budgets``: the line does not get there within its
    budgets, and the value is a bound that the ratio lies above. ``below_budgets``: it is there at
    its first budget already, and the ratio lies below. ``outside``: no seed has both, no value. An
    open end of the interval is 0 or infinite.
    """

    state: State
    speedup: Interval


def difference(arm: ChargedArm, line: BudgetLine | Front, level: float = LEVEL) -> Difference:
    """The arm's loss minus the line's at the arm's charged compute, paired by seed.

    The first and last piece are continued by up to ``ONE_STEP`` of the FLOPs, no farther. On a
    front ``size`` says of which size it is.
    """
    if isinstance(line, Front):
        each = {shape: difference(arm, one, level) for shape, one in line.lines.items()}
        there = {shape: one for shape, one in each.items() if one.state == "reached"}
        if there:
            return _weighted(there, _best_size(there, line.params), level)
        one = next(iter(each.values()))
        return one if len({other.state for other in each.values()}) == 1 else NO_DIFFERENCE
    place = math.log(arm.flops)
    pieces = [piece for piece in line.pieces() if _common(arm, piece)]
    if not pieces:
        return NO_DIFFERENCE
    start, end = pieces[0].start, max(piece.end for piece in pieces)
    if not start - ONE_STEP <= place <= end + ONE_STEP:
        beyond: State = "above_budgets" if place > end else "below_budgets"
        return Difference(beyond, NOTHING, {})
    near = min(_distance(piece, place) for piece in pieces)
    if near > ONE_STEP:  # between pieces that no seed has in common with the arm
        return NO_DIFFERENCE
    here = [piece for piece in pieces if _distance(piece, place) == near]
    piece = max(here, key=lambda piece: (len(_common(arm, piece)), -piece.mean(place)))
    by_seed = {s: float(arm.losses[s] - piece.at(place, s)) for s in _common(arm, piece)}
    found = student_interval(list(by_seed.values()), level)
    return Difference("reached", found, by_seed)


def at_size(arm: ChargedArm, front: Front, size: FrontSize) -> Difference:
    """As ``difference``, at a size of the front that was found already: by other text, say."""
    return _weighted({s: difference(arm, front.lines[s]) for s in size.weights}, size, LEVEL)


def _best_size(there: Mapping[str, Difference], params: Mapping[str, float]) -> FrontSize:
    """Of an arm's differences from sizes: the vertex, or the size of the lowest loss, of those with
    the most seeds: of fewer the mean is another sample's."""

    def loss(shape: str) -> float:
        return -there[shape].difference.value

    def worse(shape: str) -> tuple[int, float]:
        return -len(there[shape].by_seed), loss(shape)

    best = min(there, key=worse)
    lowest: dict[float, str] = {}  # of several shapes with as many parameters the better one
    for shape in sorted(there, key=worse):
        lowest.setdefault(params[shape], shape)
    sizes = [lowest[size] for size in sorted(lowest)]
    place = sizes.index(best)
    first = min(max(place - 1, 0), max(len(sizes) - 3, 0))
    around = sizes[first : first + 3]
    if all(there[shape].by_seed.keys() == there[best].by_seed.keys() for shape in around):
        logs = np.log([params[shape] for shape in around])
        weights = _vertex_weights(logs, np.array([loss(shape) for shape in around]))
        if weights is not None:
            vertex = math.exp(float(weights @ logs))
            named = dict(zip(around, weights.tolist(), strict=True))
            return FrontSize("vertex", best, vertex, named)
    kind: SizeKind = "best"
    if place in (0, len(sizes) - 1):
        kind = "only" if len(sizes) == 1 else "largest" if place else "smallest"
    return FrontSize(kind, best, params[best], {best: 1.0})


def _vertex_weights(x: Array, loss: Array) -> Array | None:
    """Lagrange's weights (3,) at the minimum of the parabola through losses (3,) at ascending x
    (3,); None where it has none between the first and the last."""
    if len(x) < 3:
        return None
    rise = np.diff(loss) / np.diff(x)
    curvature = (rise[1] - rise[0]) / (x[2] - x[0])
    if not curvature > 0:
        return None
    vertex = (x[0] + x[1]) / 2 - rise[0] / (2 * curvature)
    if not x[0] < vertex < x[2]:
        return None
    others = [np.delete(x, at) for at in range(3)]
    return np.array([np.prod((vertex - o) / (x[at] - o)) for at, o in enumerate(others)])


def _weighted(there: Mapping[str, Difference], size: FrontSize, level: float) -> Difference:
    """The difference from a mean of lines, whose weights add up to 1."""
    parts = [(weight, there[shape].by_seed) for shape, weight in size.weights.items()]
    seeds = sorted(set.intersection(*(set(by_seed) for _, by_seed in parts)))
    by_seed = {s: math.fsum(weight * each[s] for weight, each in parts) for s in seeds}
    found = student_interval(list(by_seed.values()), level)
    return Difference("reached", found, by_seed, size)


def speedup(
    arm: ChargedArm,
    line: BudgetLine,
    level: float = LEVEL,
    blocks: Sequence[tuple[ChargedArm, BudgetLine]] = (),
) -> EqualComputeSpeedup:
    """FLOPs that the line needs for the arm's loss, over those that the arm is charged.

    No interval from one seed. Where pieces have several seeds in common with the arm, those that
    have one are left out. ``blocks`` are both once more, by blocks of text, two or more: the test
    is then over seeds crossed with blocks, and its value the mean over them.
    """
    known = [(at, piece, _common(arm, piece)) for at, piece in enumerate(line.pieces())]
    most = max((len(seeds) for _, _, seeds in known), default=0)
    known = [one for one in known if len(one[2]) >= max(1, min(2, most))]
    if not known:
        return EqualComputeSpeedup("outside", NOTHING)
    views = [(one.losses, of_block.pieces()) for one, of_block in blocks or [(arm, line)]]
    pieces = [piece for _, piece, _ in known]

    def above_arm(at: int, seeds: Sequence[int]) -> Array:
        """Of a piece (seeds, blocks, 2)."""
        return np.array(
            [
                [[end - losses[seed] for end in of_block[at].losses[seed]]
                 for losses, of_block in views]
                for seed in seeds
            ]
        )  # fmt: skip

    above = [above_arm(at, seeds) for at, _, seeds in known]
    state, at, value = _crossed(pieces, [differences.mean(axis=1) for differences in above])
    ends = _ends(pieces, above, level) if most > 1 else []
    lo, hi = (min(*ends, value), max(*ends, value)) if ends else (math.nan, math.nan)
    with np.errstate(over="ignore"):
        value, lo, hi = np.exp(np.array([value, lo, hi]) - math.log(arm.flops)).tolist()
    return EqualComputeSpeedup(state, Interval(value, lo, hi, len(above[at])))


def _common(arm: ChargedArm, piece: Piece) -> list[int]:
    finite = {seed for seed, loss in arm.losses.items() if math.isfinite(loss)}
    return sorted(finite & set(piece.losses))


def _distance(piece: Piece, place: float) -> float:
    return max(piece.start - place, place - piece.end, 0.0)


def _crossed(pieces: list[Piece], above: list[Array]) -> tuple[State, int, float]:
    """Where the mean of ``above``, by piece (seeds, 2), first is 0: the piece and the log FLOPs."""
    for at, (piece, differences) in enumerate(zip(pieces, above, strict=True)):
        left, right = differences.mean(axis=0).tolist()
        if left <= 0:
            return "reached" if at or left == 0 else "below_budgets", at, piece.start
        if right <= 0:
            return "reached", at, piece.start + left / (left - right) * (piece.end - piece.start)
    return "above_budgets", len(pieces) - 1, pieces[-1].end


def _ends(pieces: list[Piece], above: list[Array], level: float) -> list[float]:
    """The ends of what each piece accepts, in log FLOPs; infinite where it leaves the budgets."""
    ends: list[float] = []
    sizes = [len(differences) for differences in above]
    for n in sorted(set(sizes)):
        chosen = [at for at, size in enumerate(sizes) if size == n]
        some = np.array([above[at] for at in chosen])
        several = some.shape[2] > 1
        tests = crossed(some, level) if several else (paired(some[:, :, 0]),)
        found = accepted_by_any(tests, level)
        if 0 in chosen and found.before[0]:
            ends.append(-math.inf)
        if len(pieces) - 1 in chosen and found.after[-1]:
            ends.append(math.inf)
        for at, parts in zip(chosen, np.stack([found.lo, found.hi], axis=1).tolist(), strict=True):
            length = pieces[at].end - pieces[at].start
            ends += [pieces[at].start + part * length for part in parts if not math.isnan(part)]
    return ends
