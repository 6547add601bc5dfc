"""What is known about growing a given target: a cost ratio, how sure it is, and how far it reaches.

All evidence is reduced to one number, the cost ratio of ``mugrow.analysis.advice.plan``, so that
laws, theory and measured runs can stand in one table. What differs is what lies behind the ends of
its interval, and how far the target asked about is from the largest one measured: ``reach`` is the
ratio of asked to measured, for N, D and C.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from mugrow.analysis.advice.plan import GrowthPlan
from mugrow.analysis.advice.published import (
    KAPLAN_PARAMS,
    KAPLAN_TOKENS,
    SHRINK_AND_PERTURB,
    Warmstart,
    within,
)
from mugrow.analysis.advice.staged import KAPLAN, KaplanSteps
from mugrow.analysis.stats import NOTHING, Interval

Bound = Literal["above_budgets", "below_budgets"]

FAR = 100.0  # beyond so many times its range a law gives no number
UNKNOWN = "unknown"
HELD_OUT = "unknown; ends from the law's error on the run held out of it"


@dataclass(frozen=True)
class Reach:
    """Asked over the largest measured: parameters, tokens and FLOPs."""

    params: float
    tokens: float
    flops: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """An ``estimate`` of the cost ratio, what its ``ends`` are, and the target's ``reach``.

    ``limit`` says in words what keeps it from deciding a verdict; empty, it may decide. An interval
    holds where it was measured only, so evidence with a limit has none: ``cost_ratio`` is then the
    estimate with nan ends, and beyond ``FAR`` times a law's range the estimate is nan too.
    ``at_least`` says that savings may be larger than these, so that they can decide for growing and
    not against it. ``bound`` says that the estimate is one: scratch has the grown loss
    ``above_budgets`` that it was trained at, so the cost ratio lies below the estimate, or
    ``below_budgets``, and it lies above.
    """

    name: str
    citation: str
    estimate: Interval
    ends: str
    reach: Reach
    limit: str = ""
    at_least: bool = False
    bound: Bound | None = None

    @property
    def decides(self) -> bool:
        """Whether a verdict may rest on it."""
        return not self.limit

    @property
    def cost_ratio(self) -> Interval:
        """The estimate; its ends are nan where it does not decide."""
        if self.decides:
            return self.estimate
        return replace(self.estimate, lo=math.nan, hi=math.nan)

    @property
    def basis(self) -> str:
        """What is behind the ends of ``cost_ratio``, in words."""
        return self.ends if self.decides else UNKNOWN


def reach(plan: GrowthPlan, params: float, tokens: float, flops: float) -> Reach:
    """How far the target asked about is from the largest one measured."""
    return Reach(
        params=plan.target_params / params,
        tokens=plan.target_tokens / tokens,
        flops=plan.target_flops / flops,
    )


def published_warmstart(plan: GrowthPlan, law: Warmstart = SHRINK_AND_PERTURB) -> Evidence:
    """The published pair of laws; it decides for targets and growth factors like its own only."""
    measured = law.measured
    largest = measured.params[1]
    checks = (
        ("params", plan.target_params, measured.params),
        ("tokens a parameter", plan.target_tokens / plan.target_params, measured.tokens_per_param),
        ("growth factor", plan.growth_factor, measured.growth_factor),
    )
    outside = [
        f"{name} {value:.3g} is outside {ends[0]:.3g} to {ends[1]:.3g}"
        for name, value, ends in checks
        if not within(value, ends)
    ]
    far = any(_far(value, ends) for _, value, ends in checks)
    return Evidence(
        name="published scratch and warmstart laws",
        citation=law.citation,
        estimate=NOTHING if far else law.cost_ratio(plan.target_params, plan.target_tokens),
        ends=HELD_OUT,
        reach=reach(plan, largest, measured.largest_tokens, 6 * largest * measured.largest_tokens),
        limit="; ".join(outside),
    )


def ideal_growth(plan: GrowthPlan, law: KaplanSteps = KAPLAN) -> Evidence:
    """Growth that keeps loss and slope, on Kaplan's law: theory, so it never decides."""
    params, tokens = KAPLAN_PARAMS[1], KAPLAN_TOKENS[1]
    far = _far(plan.target_params, KAPLAN_PARAMS) or _far(plan.target_tokens, KAPLAN_TOKENS)
    return Evidence(
        name="ideal growth on Kaplan's law",
        citation="Kaplan et al., arXiv 2001.08361; Shen et al., arXiv 2203.06211",
        estimate=NOTHING if far else Interval(_ideal_ratio(plan, law), math.nan, math.nan, 0),
        ends=UNKNOWN,
        reach=reach(plan, params, tokens, 6 * params * tokens),
        limit="theory: it assumes growth that keeps loss and slope, and has no error"
        + (f"; the target is beyond {FAR:g} times the law's range" if far else ""),
    )


def _ideal_ratio(plan: GrowthPlan, law: KaplanSteps) -> float:
    aim = law.loss(plan.target_params, plan.target_tokens)
    start = law.loss(plan.source_params, plan.source_tokens)
    skipped = law.flops(plan.target_params, start) / law.flops(plan.target_params, aim)
    return max(1 - skipped, 0.0)


def _far(value: float, ends: tuple[float, float]) -> bool:
    return not within(value, (ends[0] / FAR, ends[1] * FAR))
