"""A ledger of claims: what a paper says, what was measured here, and a verdict by a fixed rule.

A claim is written before its runs are made. It names a quantity, and the range that the quantity
lies in if the claim holds. The measurement is the same quantity from a study's tables, with its
interval over seeds, and the verdict follows from the two:

    reproduced      the whole interval lies within the claim's range
    contradicted    the whole interval lies outside it
    inconclusive    it does neither, or there is no interval
    not testable    the claim is about what cannot be measured here, and the reason is given

The interval is Student's or the jackknife's at 95 %, or a speed-up's by inverting the paired t
test. So a claim whose truth lies on the border of its range gets one of the two decisive verdicts
in at most 5 % of studies, the false one of a truth beyond it in at most 2.5 %.

A ledger may be looked at more than once, after planned numbers of seeds, until its claims are
decided. Then each look's intervals are at the level of ``mugrow.analysis.measure.sequential``, at
which those of all looks hold the truth together with 95 %, and the first look that decides a claim
has the last word on it.

A range open at one end, "above 1", can be reproduced by an effect far smaller
than the paper's. The ledger shows both numbers, and the verdict is about the range alone.

A claim says whose it is. The cited paper's stands for what the paper says. What is asked beside
it, by this suite, by reviewers, or what another paper says of the same runs, is ``ours``: its
verdict is a finding of this suite and none about the paper, and is counted apart.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, get_args, runtime_checkable

from scipy.special import stdtrit

from mugrow.analysis.measure.sequential import Looks, seeds_needed
from mugrow.analysis.stats import LEVEL, NOTHING, Interval, widened
from mugrow.bench.spec import UserError, unknown

Tables = TypeVar("Tables")
Verdict = Literal["reproduced", "contradicted", "inconclusive at this scale", "not testable here"]
INCONCLUSIVE: Literal["inconclusive at this scale"] = "inconclusive at this scale"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Whose = Literal["paper", "ours"]


@dataclass(frozen=True)
class Claim(Generic[Tables]):
    """One line of a ledger.

    ``says`` is the claim with its number and ``where`` the place in the paper. ``quantity`` says
    what is measured, in words and with its unit, by ``measure`` of a study's tables; the claim
    holds where it lies within ``low`` and ``high``. ``untestable`` is the reason why there is no
    measurement. ``whose`` is "ours" where the cited paper does not say so: a question of ours or of
    reviewers, as ``where`` tells, or a claim of another paper, whose arXiv id ``where`` has. Raises
    ``UserError`` for another word.

    >>> import mugrow
    >>> helps = mugrow.Claim(
    ...     "ahead", "growing helps", "abstract", "grown minus scratch, nats",
    ...     lambda store: mugrow.Interval(-0.1, -0.2, -0.05, n=5), high=0.0,
    ... )
    >>> helps.rule
    'below 0'
    """

    name: str
    says: str
    where: str
    quantity: str = ""
    measure: Callable[[Tables], Interval] | None = None
    low: float = -math.inf
    high: float = math.inf
    untestable: str | None = None
    whose: Whose = "paper"

    def __post_init__(self) -> None:
        if self.whose not in get_args(Whose):
            raise unknown(f"whose of claim {self.name}:", self.whose, get_args(Whose))
        if (self.measure is None) == (self.untestable is None):
            raise UserError(f"claim {self.name} has either a measure or the reason why not")
        if self.measure is not None:
            check_range(self.low, self.high)

    @property
    def rule(self) -> str:
        """The range in words."""
        if self.measure is None:
            return ""
        if self.high == math.inf:
            return f"above {self.low:g}"
        return f"below {self.high:g}" if self.low == -math.inf else f"{self.low:g} to {self.high:g}"


def range_of(rule: str) -> tuple[float, float]:
    """The ends of a range in words, as ``Claim.rule`` and ``holds_if`` say it; nan for none.

    >>> range_of("below 0"), range_of("-0.8 to 0.8")
    ((-inf, 0.0), (-0.8, 0.8))
    """
    if not rule:
        return math.nan, math.nan
    if rule.startswith("above "):
        return float(rule.removeprefix("above ")), math.inf
    if rule.startswith("below "):
        return -math.inf, float(rule.removeprefix("below "))
    low, high = rule.split(" to ")
    return float(low), float(high)


def claim(
    name: str,
    says: str,
    where: str,
    quantity: str,
    holds: "Condition[Tables]",
    whose: Whose = "paper",
) -> Claim[Tables]:
    """A claim that is measured: ``holds`` is its quantity with a range, as
    ``final(grown) - final(scratch) < 0``. Raises ``UserError`` for what has no range."""
    given: object = holds
    if not isinstance(given, Condition):
        raise UserError(
            f"claim {name} holds where a quantity is below, above or within numbers; {given!r} "
            "says no such range"
        )
    return Claim(name, says, where, quantity, holds.measure, holds.low, holds.high, whose=whose)


def untestable(name: str, says: str, where: str, why: str) -> Claim[Any]:
    """A claim that nothing here can decide."""
    return Claim(name, says, where, untestable=why)


@dataclass(frozen=True)
class Rule(Generic[Tables]):
    """What decides the claim ``name``, which stands at ``where``: that ``holds``; ``None`` is a
    claim that nothing here can decide. ``whose`` is as in ``Claim``."""

    name: str
    where: str
    holds: "Condition[Tables] | None"
    whose: Whose = "paper"

    def decides(self, says: str, quantity: str) -> Claim[Tables]:
        """The claim in words, and in words what is measured, or else why nothing is."""
        if self.holds is None:
            return untestable(self.name, says, self.where, quantity)
        return claim(self.name, says, self.where, quantity, self.holds, self.whose)


def rule(
    name: str, where: str, holds: "Condition[Tables]", *, whose: Whose = "paper"
) -> Rule[Tables]:
    """``claim`` in two steps: ``rule("ahead", "table 1", gain > 0).decides("growing helps",
    "scratch minus grown, nats")``. One that the paper does not make is ``whose="ours"``."""
    return Rule(name, where, holds, whose)


def no_rule(name: str, where: str) -> Rule[Any]:
    """``untestable`` in two steps: ``no_rule("at-7B", "table 2").decides("growing helps at 7B",
    "7B parameters")``."""
    return Rule(name, where, None)


@dataclass(frozen=True)
class Condition(Generic[Tables]):
    """What is measured, and the range that it lies in where a claim holds. Raises ``UserError`` for
    a range that no number can lie in, or that every one does."""

    measure: Callable[[Tables], Interval]
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        check_range(self.low, self.high)

    def __bool__(self) -> bool:
        """Raises ``UserError``: Python takes ``0 < q < 1`` for ``0 < q and q < 1``, and would keep
        one end of it."""
        raise UserError("write q.within(0, 1) for 0 < q < 1, which would lose an end")


def check_range(low: object, high: object) -> None:
    """Raise the ``UserError`` of what is no range. A type checker would say that an end is no
    number, but not every recipe has asked one."""
    if not (isinstance(low, Real) and isinstance(high, Real)):
        raise UserError(
            "a quantity is compared with a number: write final(a) - final(b) < 0 for "
            "final(a) < final(b)"
        )
    ends = float(low), float(high)
    if not ends[0] < ends[1] or ends == (-math.inf, math.inf):
        raise UserError(f"a claim cannot hold from {ends[0]:g} to {ends[1]:g}")


def verdict(claim: Claim[Any], found: Interval) -> Verdict:
    """By the rule above."""
    if claim.measure is None:
        return "not testable here"
    if found.lo >= claim.low and found.hi <= claim.high:
        return "reproduced"
    if found.hi < claim.low or found.lo > claim.high:
        return "contradicted"
    return INCONCLUSIVE


def needed(claim: Claim[Any], found: Interval, level: float = LEVEL, grid: float = 0.0) -> float:
    """About how many seeds would decide an inconclusive claim, if the value stayed where it is:
    with so many a verdict is as likely as not, with twice as many likely. nan where that cannot be
    told, or no number of seeds would. ``level`` is that of the interval ``found``, of which
    ``grid`` on either side is not the seeds' (``mugrow.analysis.measure.selection``)."""
    distance, reach = min(
        (
            abs(found.value - end),
            found.hi - found.value if end > found.value else found.value - found.lo,
        )
        for end in (claim.low, claim.high)
    )
    distance, reach = distance - grid, reach - grid
    if not (math.isfinite(reach) and 0 < distance < math.inf) or found.n < 2:
        return math.nan
    sd = reach * math.sqrt(found.n) / float(stdtrit(found.n - 1, (1 + level) / 2))
    return max(found.n + 1, seeds_needed(distance, sd, alpha=1 - level, power=0.5))


def why_open(found: Interval, grid: float = 0.0) -> str:
    """Why no number of seeds can be named that would decide an inconclusive claim."""
    if found.n < 2:
        return "one seed has no interval"
    if math.isinf(grid):
        return "what is best is at the edge of what was tried: not seeds but wider plans would tell"
    if math.isnan(found.lo) or math.isnan(found.hi):
        return "of some seeds there is no such number: what is sought lies beyond what was tried"
    if math.isinf(found.hi - found.lo):
        return "the interval is open: at some seeds it is not reached within what was trained"
    if grid:
        return "what was tried is too far apart to tell, with however many seeds"
    return "the value is on the border of the range"


@dataclass(frozen=True)
class JudgedClaim:
    """A line of a ledger: the claim, our ``value`` with the interval ``low`` to ``high`` over
    ``seeds``, the range it ``holds_if`` in, and the verdict. nan where there is no number;
    ``seeds_needed`` is of inconclusive claims, ``why`` of untestable ones and of those that no
    number of seeds is known to decide, ``whose`` "ours" of
    those that the cited paper does not make; ``flops_needed`` is what its figure's runs take with
    as many seeds, nan where that is not known."""

    claim: str
    says: str
    where: str
    quantity: str
    value: float
    low: float
    high: float
    seeds: int
    holds_if: str
    verdict: Verdict
    seeds_needed: float
    why: str | None
    whose: Whose = "paper"
    flops_needed: float = math.nan


class SeededTables(Protocol):
    """Tables that can tell what they would hold if only the first seeds had been run."""

    def first_seeds(self, seeds: int) -> Self: ...


Seeded = TypeVar("Seeded", bound=SeededTables)


@runtime_checkable
class OfLevel(Protocol):
    """A measurement whose interval can be at another level than 95 %."""

    def interval(self, tables: Any, level: float, /) -> Interval: ...


@runtime_checkable
class OfGrid(Protocol):
    """A measurement whose interval has, on either side, what no number of seeds shows."""

    def grid(self, tables: Any, level: float, /) -> float: ...


def ledger(claims: Iterable[Claim[Tables]], tables: Tables) -> list[JudgedClaim]:
    """Every claim, judged by what ``tables`` say, looked at once."""
    return [_judged(claim, tables, LEVEL) for claim in claims]


def ledger_of_looks(
    claims: Iterable[Claim[Seeded]], tables: Seeded, looks: Looks
) -> list[JudgedClaim]:
    """Likewise, but looked at after each of these numbers of seeds, as far as ``tables`` have them:
    a claim is judged at the first look that decides it, or else at the last."""
    seen = [tables.first_seeds(seeds) for seeds in looks.seeds]
    return [_looked_at(claim, seen, 1 - looks.level) for claim in claims]


def _looked_at(claim: Claim[Tables], looks: Iterable[Tables], level: float) -> JudgedClaim:
    judged = None
    for tables in looks:
        judged = _judged(claim, tables, level)
        if judged.verdict != INCONCLUSIVE:
            break
    assert judged is not None, "a plan has at least one look"
    return judged


def measured(claim: Claim[Tables], tables: Tables, level: float) -> Interval:
    """What a claim is about, with its interval at a level; nothing where it cannot be tested."""
    if claim.measure is None:
        return NOTHING
    measure: object = claim.measure
    if isinstance(measure, OfLevel):
        return measure.interval(tables, level)
    return widened(claim.measure(tables), level)


def _judged(claim: Claim[Tables], tables: Tables, level: float) -> JudgedClaim:
    found = measured(claim, tables, level)
    says = verdict(claim, found)
    seeds, why = math.nan, claim.untestable
    if says == INCONCLUSIVE:
        grid = claim.measure.grid(tables, level) if isinstance(claim.measure, OfGrid) else 0.0
        seeds = float(needed(claim, found, level, grid))
        why = None if math.isfinite(seeds) else why_open(found, grid)
    return JudgedClaim(
        claim=claim.name,
        says=claim.says,
        where=claim.where,
        quantity=claim.quantity,
        value=found.value,
        low=found.lo,
        high=found.hi,
        seeds=found.n,
        holds_if=claim.rule,
        verdict=says,
        seeds_needed=seeds,
        why=why,
        whose=claim.whose,
    )
