"""Final loss at equal charged compute, on anyone's logs: where the baseline has several lengths.

A method is compared at its own last x, its costs added, with what the baseline has there: its final
losses of whole schedules of several lengths, linear in log x between them and never continued
(``equal_compute``). Whether a run is a whole schedule no log says: who names a column of lengths
says so.

No two seeds stop at the same second, so where x is measured a length is a group of runs, one a
seed, and its x is their mean: runs that share a value of the column of lengths; where no seeds do,
as an id of a run is nobody else's, ends within ``ONE_STEP`` of each other; and where those leave
seeds out that have as many runs as the others, the shortest of each, the next of each, and so on,
if no run of one length is longer than one of the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mugrow.analysis.measure.equal_compute import (
    ONE_STEP,
    BudgetLine,
    ChargedArm,
    State,
    budget_line,
    difference,
    speedup,
)
from mugrow.analysis.measure.logs import Arms, Cost, Ends, read_arms
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.table import Tables
from mugrow.bench.spec import UserError

NOT_MEASURABLE = (
    "equal compute is not measurable here: the baseline has one length a seed, or no --length "
    "tells its lengths apart. A fixed loss has a ceiling: a baseline that has decayed is compared "
    "with arms that have yet to decay"
)


@dataclass(frozen=True)
class MethodAtEqualCompute:
    """A method, at one of its lengths, against the baseline's line at what it was ``charged``, in
    units of x: as `mugrow savings` prints it, nan where there is no number.

    ``difference`` is of final losses, below 0 where the method is better, with its paired interval
    over ``n_seeds``. ``speedup`` is the x at which the line has the method's loss, over what was
    charged. Where it is beyond the baseline's lengths it is above ``bound`` (``above_budgets``) or
    below it (``below_budgets``), and an end of its interval is open: infinite, or 0.
    """

    method: str
    accounting: Accounting
    charged: float
    loss: float
    state: State
    difference: float
    difference_lo: float
    difference_hi: float
    speedup_state: State
    speedup: float
    speedup_lo: float
    speedup_hi: float
    bound: float | None
    n_seeds: int


def several_lengths(arms: Arms) -> bool:
    """Whether equal compute is measurable: a seed of the baseline has several lengths."""
    return any(len(by_length) > 1 for by_length in arms.baseline_ends.values())


def at_equal_compute(arms: Arms) -> list[MethodAtEqualCompute]:
    """One for each method, length of its, and accounting; none without ``several_lengths``."""
    if not several_lengths(arms):
        return []
    return [
        _row(name, accounting, one, line)
        for name, method in arms.methods.items()
        for accounting in arms.accountings
        for line in [_line(arms.baseline_ends, arms.baseline.overhead(accounting))]
        for one in _charged(arms.ends[name], method.overhead(accounting))
    ]


def equal_compute(
    table: Tables,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    length: str,
    methods: str | Sequence[str] = (),
    source_cost: Cost = 0.0,
    tuning_cost: Cost = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
    by_x: bool = False,
) -> list[MethodAtEqualCompute]:
    """Final losses at equal charged compute, on a table of loss curves in which the baseline has
    whole schedules of several lengths: what `mugrow savings --length` prints first. ``length`` is
    the column that tells them apart, the other arguments are those of ``savings``.

    Raises ``UserError`` where no seed of the baseline has several lengths.

    >>> import mugrow, tempfile
    >>> logs = "arm,steps,tokens,loss\\n" + "".join(
    ...     f"{arm},{steps},{steps // 2},9\\n{arm},{steps},{steps},{k / steps**0.5}\\n"
    ...     for arm, k, lengths in (("scratch", 8, (50, 100, 200)), ("grown", 6, (100,)))
    ...     for steps in lengths
    ... )
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as table:
    ...     _ = table.write(logs), table.flush()
    ...     (found,) = mugrow.equal_compute(
    ...         table.name, run="arm", x="tokens", loss="loss", baseline="scratch", length="steps"
    ...     )
    >>> found.charged, round(found.difference, 3), round(found.speedup, 2)
    (100.0, -0.2, 1.81)
    """
    arms = read_arms(
        table, run=run, x=x, loss=loss, baseline=baseline, methods=methods, source_cost=source_cost,
        tuning_cost=tuning_cost, seeds=seeds, smooth=smooth, length=length,
        by_x=by_x,
    )  # fmt: skip
    if not several_lengths(arms):
        raise UserError(f"baseline {baseline!r} has one length a seed by column {length!r}")
    return at_equal_compute(arms)


def _lengths(ends: Ends) -> list[dict[int, tuple[float, float]]]:
    """By length in ascending order, and by seed, the last x and the loss there."""
    named: dict[str, dict[int, tuple[float, float]]] = {}
    for seed, by_length in ends.items():
        for length, end in by_length.items():
            named.setdefault(length, {})[seed] = end
    if any(len(of_length) > 1 for of_length in named.values()):
        return sorted(named.values(), key=_mean_x)
    close = _close(ends)
    runs = {len(by_length) for by_length in ends.values()}
    if all(len(of_length) == len(ends) for of_length in close) or len(runs) > 1:
        return close
    in_order = {seed: sorted(by_length.values()) for seed, by_length in ends.items()}
    ranked = [{seed: of_seed[at] for seed, of_seed in in_order.items()} for at in range(*runs)]
    apart = all(
        max(x for x, _ in one.values()) < min(x for x, _ in other.values())
        for one, other in pairwise(ranked)
    )
    return ranked if apart else close


def _close(ends: Ends) -> list[dict[int, tuple[float, float]]]:
    """Runs that end within ``ONE_STEP`` of each other."""
    found: list[dict[int, tuple[float, float]]] = []
    start = 0.0
    for x, seed, loss in sorted(
        (x, seed, loss) for seed, by_length in ends.items() for x, loss in by_length.values()
    ):
        if not found or seed in found[-1] or x > start * (1 + ONE_STEP):
            found.append({})
            start = x
        found[-1][seed] = (x, loss)
    return found


def _charged(ends: Ends, overhead: float) -> list[ChargedArm]:
    return [
        ChargedArm({seed: loss for seed, (_, loss) in one.items()}, _mean_x(one) + overhead)
        for one in _lengths(ends)
    ]


def _line(ends: Ends, overhead: float) -> BudgetLine:
    return budget_line({one.flops: one.losses for one in _charged(ends, overhead)})


def _mean_x(by_seed: dict[int, tuple[float, float]]) -> float:
    """Exact where all are equal, and finite where the sum is not."""
    every = [x for x, _ in by_seed.values()]
    return every[0] + sum(x - every[0] for x in every) / len(every)


def _row(
    name: str, accounting: Accounting, arm: ChargedArm, line: BudgetLine
) -> MethodAtEqualCompute:
    apart, faster = difference(arm, line), speedup(arm, line)
    reached, beyond = faster.state == "reached", faster.state in ("above_budgets", "below_budgets")
    return MethodAtEqualCompute(
        method=name,
        accounting=accounting,
        charged=arm.flops,
        loss=math.fsum(loss / len(arm.losses) for loss in arm.losses.values()),
        state=apart.state,
        difference=apart.difference.value,
        difference_lo=apart.difference.lo,
        difference_hi=apart.difference.hi,
        speedup_state=faster.state,
        speedup=faster.speedup.value if reached else math.nan,
        speedup_lo=faster.speedup.lo,
        speedup_hi=faster.speedup.hi,
        bound=faster.speedup.value if beyond else None,
        n_seeds=apart.difference.n or faster.speedup.n,
    )
