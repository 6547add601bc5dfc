"""The decision: grow, train from scratch, or say that the data cannot tell.

Evidence is taken in the order of how close it is to the target asked about: laws fitted on the
store, runs measured near by, then published laws within the range they were measured in. The first
kind that has an interval and reaches the target decides; everything else is shown and decides
nothing. The rule is printed with the verdict:

    grow                the whole interval of the saving is above 1 %, for some method
    scratch             the whole interval is at or below 0, for every method
    too close to call   neither
    cannot say          nothing with an interval reaches the target

The 1 % is there because a law in which growing never hurts puts every saving above 0 by a hair.
A saving here is that of the source's accounting, or of the target's alone where the source is sunk.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mugrow.analysis.advice import timing
from mugrow.analysis.advice.evidence import Evidence, ideal_growth, published_warmstart
from mugrow.analysis.advice.experiment import settle
from mugrow.analysis.advice.fitted import finals, law_evidence
from mugrow.analysis.advice.measured import Measured, measure, target_runs
from mugrow.analysis.advice.plan import Plan, check_count
from mugrow.analysis.advice.published import (
    BESIROGLU,
    BESIROGLU_CITATION,
    G_STACK_PARAMS,
    HOFFMANN_PARAMS,
    HOFFMANN_TOKENS,
    KAPLAN_PARAMS,
    within,
)
from mugrow.analysis.advice.sources import Source, starting_points
from mugrow.analysis.advice.staged import growth_tokens, optimal_schedule
from mugrow.analysis.measure.savings import ACCOUNTINGS
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import to_json

Verdict = Literal["grow", "scratch", "too close to call", "cannot say"]

EXAMPLE_SAVING = 0.1
WORTH = 0.01


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. Without a source one is proposed."""

    params: float
    tokens: float
    source_params: float | None = None
    source_tokens: float | None = None
    source_sunk: bool = False
    tuning_flops: float = 0.0

    def __post_init__(self) -> None:
        check_count("params", self.params)
        check_count("tokens", self.tokens)

    def plan(self, source_params: float, source_tokens: float) -> Plan:
        return Plan(
            target_params=self.params,
            target_tokens=self.tokens,
            source_params=source_params if self.source_params is None else self.source_params,
            source_tokens=source_tokens if self.source_tokens is None else self.source_tokens,
            source_sunk=self.source_sunk,
            tuning_flops=self.tuning_flops,
        )


def advise(question: Question, store: Store | None = None) -> dict[str, Any]:
    """Advice as a JSON-able dict. ``UserError`` for an impossible question or a useless store."""
    arms, rows = _of_store(store) if store else ([], None)
    sources = starting_points(question.params, question.tokens, arms)
    plan, rule_of_source = _plan(question, sources)
    tiers = [
        [] if store is None or rows is None else law_evidence(plan, rows, store.study["name"]),
        [one.evidence(plan) for one in arms],
        [published_warmstart(plan)],
    ]
    verdict, rule = decide(plan, tiers)
    shown = [one for tier in tiers for one in tier]
    shown.append(ideal_growth(plan))
    advice = {
        "verdict": verdict,
        "rule": rule,
        "accounting": plan.accounting,
        "target": {
            "params": plan.target_params,
            "tokens": plan.target_tokens,
            "flops": plan.target_flops,
        },
        "source": {
            "rule": rule_of_source if question.source_params is None else None,
            "params": plan.source_params,
            "tokens": plan.source_tokens,
            "flops": plan.source_flops,
            "share": plan.source_share,
            "sunk": plan.source_sunk,
            "growth_factor": plan.growth_factor,
        },
        "tuning_flops": plan.tuning_flops,
        "evidence": [_evidence(plan, one) for one in shown],
        "when_to_grow": _when(plan),
        "starting_points": [_source(question, one) for one in sources],
        "scratch_law": _scratch_law(plan),
        "assumptions": _assumptions(plan),
        "experiment": settle(plan),
    }
    plain: dict[str, Any] = to_json(advice)
    return plain


def _of_store(store: Store) -> tuple[list[Measured], pd.DataFrame]:
    targets = target_runs(store)
    return measure(store, targets), finals(store.runs, targets)


def decide(plan: Plan, tiers: Sequence[Sequence[Evidence]]) -> tuple[Verdict, str]:
    """The verdict with its rule; ``tiers`` of evidence, the closest to the target first."""
    if not plan.source_sunk and plan.source_share >= 1:
        return "scratch", (
            f"the source alone costs {plan.source_share:.3g} times the target from scratch"
        )
    for tier in tiers:
        deciding = [one for one in tier if one.decides]
        if not deciding:
            continue
        savings = [plan.saving_interval(one.cost_ratio, plan.accounting) for one in deciding]
        lo, one = max(zip((s.lo for s in savings), deciding, strict=True), key=lambda pair: pair[0])
        names = ", ".join(entry.name for entry in deciding)
        if lo > WORTH:
            return "grow", (
                f"the saving is above {WORTH:.0%} over its whole range by {one.name} [{one.basis}]"
            )
        if all(s.hi <= 0 for s in savings):
            return "scratch", (
                f"the saving is at or below 0 over its whole range by {names} [{one.basis}]"
            )
        return "too close to call", (
            f"the range of the saving is not on one side by {names} [{one.basis}]"
        )
    return "cannot say", "nothing that has an interval reaches this target"


def _plan(question: Question, sources: Sequence[Source]) -> tuple[Plan, str]:
    """The plan and the rule of its source: the one asked about, or the best that fits the target.

    Best is what saves most by the rule's own evidence. Where none fits it is the first, from the
    store or the published protocol.
    """
    fitting = [one for one in sources if one.in_range] or sources[:1]
    plans = [(question.plan(one.params, one.tokens), one) for one in fitting]
    plan, one = max(plans, key=lambda pair: pair[0].saving(pair[1].cost_ratio, pair[0].accounting))
    return plan, one.rule


def _evidence(plan: Plan, one: Evidence) -> dict[str, Any]:
    return {
        "name": one.name,
        "citation": one.citation,
        "decides": one.decides,
        "limit": one.limit,
        "interval": one.basis,
        "extrapolation": one.reach,
        "state": _state(one.cost_ratio.value),
        "cost_ratio": one.cost_ratio,
        "savings": {
            accounting: plan.saving_interval(one.cost_ratio, accounting)
            for accounting in ACCOUNTINGS
        },
    }


def _state(cost_ratio: float) -> str:
    if math.isnan(cost_ratio):
        return "unknown"
    return "reached" if math.isfinite(cost_ratio) else "never_reached"


def _when(plan: Plan) -> dict[str, Any]:
    """Both published criteria for this plan's target and growth factor."""
    best = optimal_schedule(plan.growth_factor)
    return {
        "slope": best.slope,
        "loss_over_floor": best.loss_ratio,
        "step_ratio": best.step_ratio,
        "ideal_saving": best.saving,
        "staged_in_range": within(plan.target_params, KAPLAN_PARAMS),
        "g_stack_in_range": within(plan.target_params, G_STACK_PARAMS),
        "source_tokens_staged": growth_tokens(plan.target_params, plan.growth_factor),
        "source_tokens_g_stack": timing.source_tokens(plan.target_params, plan.target_tokens),
    }


def _source(question: Question, one: Source) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "in_range": one.in_range,
        "growth_factor": question.params / one.params,
        "source_params": one.params,
        "source_tokens": one.tokens,
        "source_share": one.params * one.tokens / (question.params * question.tokens),
    }


def _scratch_law(plan: Plan) -> dict[str, Any]:
    """What the Chinchilla law says of the target, and the loss gap that a saving is worth."""
    params, tokens = plan.target_params, plan.target_tokens
    best_params, best_tokens = BESIROGLU.optimal(plan.target_flops)
    loss = BESIROGLU.loss(params, tokens)
    return {
        "citation": BESIROGLU_CITATION,
        "in_range": within(params, HOFFMANN_PARAMS) and within(tokens, HOFFMANN_TOKENS),
        "loss": loss,
        "optimal_params": best_params,
        "optimal_tokens": best_tokens,
        "example_saving": EXAMPLE_SAVING,
        "loss_gap": BESIROGLU.loss(params, tokens * (1 - EXAMPLE_SAVING)) / loss - 1,
        "compute_for_1_percent": BESIROGLU.compute_ratio(plan.target_flops, -0.01),
    }


def _assumptions(plan: Plan) -> list[str]:
    paid = "is there already" if plan.source_sunk else "is trained for this target alone"
    return [
        "compute is 6 N D; saved is compute to the loss that scratch reaches at the asked tokens",
        f"the source {paid}; its optimizer, data and tokenizer suit the target",
        "both arms are tuned equally well and end their schedules alike; full charges both "
        "the tuning budget",
        "Kaplan's law counts non-embedding parameters; the parameters asked about are taken "
        "as such",
    ]
