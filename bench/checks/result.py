"""A row of what was checked, and the guard that turns a method's exception into one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Literal

from mugrow.bench.checks.cases import Case, cases, refusal
from mugrow.bench.entries import in_one_line
from mugrow.bench.growth import GrowthMethod
from mugrow.bench.guarded import kept_generators
from mugrow.bench.spec import Scalar

Status = Literal["pass", "fail", "skip"]
Params = Mapping[str, Scalar]
Check = Callable[[GrowthMethod, Params, bool], Iterator["CheckResult"]]
"""``check(entry, params, full)``: a result for every case."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """``value`` is what was measured and ``tolerance`` what it is held against, in units of the
    check; ``reason`` says why a case was skipped or failed, or why it is right to differ."""

    method: str
    check: str
    case: str
    status: Status
    value: float | None = None
    tolerance: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CaseVerdict:
    """What one case of a check came to."""

    status: Status
    value: float | None = None
    tolerance: float | None = None
    reason: str | None = None


def at_most(value: float, tolerance: float, reason: str) -> CaseVerdict:
    """Passes up to the tolerance (NaN fails), with the reason where it does not."""
    if value <= tolerance:
        return CaseVerdict("pass", value, tolerance)
    return CaseVerdict("fail", value, tolerance, reason)


Measure = Callable[[GrowthMethod, Case, Params], CaseVerdict]
Choose = Callable[[GrowthMethod, Params, bool], tuple[Case, ...]]


def _quick(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    return cases(entry, params)


def each_case(name: str, choose: Choose = _quick) -> Callable[[Measure], Check]:
    """Make a check of the function that measures one case of it."""

    def made(measure: Measure) -> Check:
        @wraps(measure)
        def check(entry: GrowthMethod, params: Params, full: bool) -> Iterator[CheckResult]:
            for case in choose(entry, params, full):
                verdict = guarded(measure, entry, case, params)
                yield CheckResult(method=entry.name, check=name, case=case.name, **vars(verdict))

        return check

    return made


def guarded(measure: Measure, entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """What a case comes to: a skip where the method does not do it, a failure where it raises."""
    try:
        with kept_generators():
            if reason := refusal(entry, case, params):
                return CaseVerdict("skip", reason=reason)
            return measure(entry, case, params)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody else's method may raise anything
        return CaseVerdict("fail", reason=in_one_line(error))
