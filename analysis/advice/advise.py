"""The decision: grow, train from scratch, or say that the data cannot tell.

Evidence is taken in the order of how close it is to the target asked about: laws fitted on the
store, runs measured near by, then published laws within the range they were measured in. The first
kind that has an interval and reaches the target decides; everything else is shown and decides
nothing. The rule is printed with the verdict:

    grow                the whole interval of the saving is above 1 %, for some method
    scratch             the whole interval is at or below 0, for every method
    too close to call   neither
    cannot say          nothing with an interval reaches the target, or only savings that are at
                        least so large, and not large enough

The 1 % is there because a law in which growing never hurts puts every saving above 0 by a hair.
A saving here is that of the source's accounting, or of the target's alone where the source is sunk.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mugrow.analysis.advice import timing
from mugrow.analysis.advice.evidence import Evidence, Reach, ideal_growth, published_warmstart
from mugrow.analysis.advice.experiment import SettlingExperiment, settle
from mugrow.analysis.advice.fitted import finals, law_evidence
from mugrow.analysis.advice.measured import MeasuredGrowth, measure, target_runs
from mugrow.analysis.advice.plan import GrowthPlan, check_count
from mugrow.analysis.advice.published import (
    BESIROGLU,
    BESIROGLU_CITATION,
    G_STACK_PARAMS,
    G_STACK_TOKENS,
    HOFFMANN_PARAMS,
    HOFFMANN_TOKENS,
    KAPLAN_PARAMS,
    KAPLAN_TOKENS,
    SHRINK_AND_PERTURB,
    Warmstart,
    within,
)
from mugrow.analysis.advice.sources import StartingPoint, half, starting_points, worth_asking
from mugrow.analysis.advice.staged import growth_tokens, optimal_growth_point
from mugrow.analysis.measure.savings import ACCOUNTINGS, Accounting
from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

Decision = Literal["grow", "scratch", "too close to call", "cannot say"]

EXAMPLE_SAVING = 0.1
WORTH = 0.01


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: a target of so many parameters and tokens. Without a source one is proposed.

    ``tuning_flops`` are FLOPs, and ``source_sunk`` says that the source's do not count. Raises
    ``UserError`` for a count that is not above 0, for a target that nothing is smaller than, and
    for a source that is described by halves, or sunk and not described.

    >>> import mugrow
    >>> question = mugrow.Question(params=1e9, tokens=20e9, source_params=1e8, source_tokens=2e9)
    >>> mugrow.advise(question).verdict
    'cannot say'
    """

    params: float
    tokens: float
    source_params: float | None = None
    source_tokens: float | None = None
    source_sunk: bool = False
    tuning_flops: float = 0.0

    def __post_init__(self) -> None:
        check_count("params", self.params)
        check_count("tokens", self.tokens)
        if self.source_sunk and (self.source_params is None or self.source_tokens is None):
            raise UserError("source_sunk needs source_params and source_tokens: which source?")
        if (self.source_params is None) != (self.source_tokens is None):
            raise UserError("source_params and source_tokens describe one source: give both")
        if self.source_params is None and self.params < 2:
            raise UserError(
                f"params must be at least 2, for a source of half the size, not {self.params:g}"
            )

    def plan(self, source_params: float, source_tokens: float) -> GrowthPlan:
        """The plan with the source asked about, or with the one given here."""
        return GrowthPlan(
            target_params=self.params,
            target_tokens=self.tokens,
            source_params=source_params if self.source_params is None else self.source_params,
            source_tokens=source_tokens if self.source_tokens is None else self.source_tokens,
            source_sunk=self.source_sunk,
            tuning_flops=self.tuning_flops,
        )


@dataclass(frozen=True)
class AdvisedTarget:
    params: float
    tokens: float
    flops: float


@dataclass(frozen=True)
class AdvisedSource:
    """The source to grow from. ``rule`` says where it is from, None if it was asked about;
    ``share`` is its cost over the target's, ``sunk`` that it does not count. ``proposed`` says that
    a rule that reaches the target gave it."""

    rule: str | None
    params: float
    tokens: float
    flops: float
    share: float
    sunk: bool
    growth_factor: float
    proposed: bool = False


@dataclass(frozen=True)
class WeighedEvidence:
    """One piece of evidence, and what it makes of the savings in each accounting.

    ``interval`` says what is behind the ends, ``limit`` what keeps it from deciding.
    ``extrapolation`` is asked over the largest measured. ``at_least`` says that savings may be
    larger. ``state`` is ``reached``, ``never_reached`` (the cost ratio is infinite), ``unknown``
    (it is nan), or of which kind a bound is, as in ``Evidence``.
    """

    name: str
    citation: str
    decides: bool
    limit: str
    interval: str
    extrapolation: Reach
    state: str
    cost_ratio: Interval
    savings: Mapping[Accounting, Interval]
    at_least: bool = False


@dataclass(frozen=True)
class Timing:
    """Both published criteria of when to grow, for a target and a growth factor: the slope and
    loss of staged training (see ``staged.GrowthPoint``), and tokens of the source by each."""

    slope: float
    loss_over_floor: float
    step_ratio: float
    ideal_saving: float
    staged_in_range: bool
    g_stack_in_range: bool
    source_tokens_staged: float
    source_tokens_g_stack: float


@dataclass(frozen=True)
class ProposedStart:
    """A source that a rule proposes; ``source_share`` is its cost over the target's."""

    rule: str
    in_range: bool
    growth_factor: float
    source_params: float
    source_tokens: float
    source_share: float


@dataclass(frozen=True)
class ScratchLaw:
    """What the Chinchilla law says of the target, and the loss gap that a saving is worth.

    ``loss`` is in nats per token, ``loss_gap`` a share of it, ``compute_for_1_percent`` the compute
    that lowers the frontier's loss by 1 % over that of the target, infinite where none does.
    """

    citation: str
    in_range: bool
    loss: float
    optimal_params: float
    optimal_tokens: float
    example_saving: float
    loss_gap: float
    compute_for_1_percent: float


@dataclass(frozen=True)
class HeldOut:
    """What the published laws of scratch and warmstarting predict of the run held out of both: the
    share by which the grown loss is below scratch's, and what was measured."""

    citation: str
    params: float
    tokens: float
    gap_predicted: float
    gap_measured: float


@dataclass(frozen=True)
class Advice:
    """The verdict, the rule it came by, and all it rests on. Compute is in FLOPs, C = 6 N D."""

    verdict: Decision
    rule: str
    accounting: Accounting
    target: AdvisedTarget
    source: AdvisedSource
    tuning_flops: float
    evidence: Sequence[WeighedEvidence]
    when_to_grow: Timing
    starting_points: Sequence[ProposedStart]
    scratch_law: ScratchLaw
    held_out: HeldOut
    assumptions: Sequence[str]
    experiment: SettlingExperiment


def advise(question: Question, store: Store | str | Path | None = None) -> Advice:
    """Advice from published laws, and from the runs of a store or of a study's directory, where one
    is given.

    ``UserError`` for an impossible question, or a store without a grown target beside scratch.

    >>> import mugrow
    >>> store = mugrow.load("results/reference/quick")
    >>> mugrow.advise(mugrow.Question(params=4e5, tokens=3e5), store).verdict
    'cannot say'
    """
    store = store if store is None else opened(store)
    arms, rows = _of_store(store) if store is not None else ([], None)
    sources = starting_points(question.params, question.tokens, arms)
    plan, start = _plan(question, sources)
    tiers = [
        [] if store is None or rows is None else law_evidence(plan, rows, str(store.study["name"])),
        [one.evidence(plan) for one in arms],
        [published_warmstart(plan)],
    ]
    verdict, rule = decide(plan, tiers)
    shown = [one for tier in tiers for one in tier]
    shown.append(ideal_growth(plan))
    return Advice(
        verdict=verdict,
        rule=rule,
        accounting=plan.accounting,
        target=AdvisedTarget(plan.target_params, plan.target_tokens, plan.target_flops),
        source=AdvisedSource(
            rule=start.rule if question.source_params is None else None,
            params=plan.source_params,
            tokens=plan.source_tokens,
            flops=plan.source_flops,
            share=plan.source_share,
            sunk=plan.source_sunk,
            growth_factor=plan.growth_factor,
            proposed=question.source_params is None and start.in_range,
        ),
        tuning_flops=plan.tuning_flops,
        evidence=[_weighed(plan, one) for one in shown],
        when_to_grow=_when(plan),
        starting_points=[_proposed(question, one) for one in sources],
        scratch_law=_scratch_law(plan),
        held_out=_held_out(),
        assumptions=_assumptions(plan),
        experiment=settle(plan),
    )


def _of_store(store: Store) -> tuple[list[MeasuredGrowth], pd.DataFrame]:
    targets = target_runs(store)
    return measure(store, targets), finals(store.runs, targets)


def decide(plan: GrowthPlan, tiers: Sequence[Sequence[Evidence]]) -> tuple[Decision, str]:
    """The verdict with its rule; ``tiers`` of evidence, the closest to the target first."""
    if not plan.source_sunk and plan.source_share >= 1:
        return "scratch", (
            f"the source alone costs {plan.source_share:.3g} times the target from scratch"
        )
    bounds: list[Evidence] = []
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
        if any(one.at_least for one in deciding):
            bounds += [one for one in deciding if one.at_least]
            continue
        if all(s.hi <= 0 for s in savings):
            return "scratch", (
                f"the saving is at or below 0 over its whole range by {names} [{one.basis}]"
            )
        return "too close to call", (
            f"the range of the saving is not on one side by {names} [{one.basis}]"
        )
    return "cannot say", (
        _not_at_equal_compute(plan, bounds)
        if bounds
        else "nothing that has an interval reaches this target"
    )


def _not_at_equal_compute(plan: GrowthPlan, bounds: Sequence[Evidence]) -> str:
    """What savings at a fixed loss do not say, and what the best of them does."""
    pairs = [(plan.saving_interval(one.cost_ratio, plan.accounting), one) for one in bounds]
    saving, best = max(pairs, key=lambda pair: pair[0].value)
    charged = "not charged" if plan.source_sunk else "charged"
    return (
        f"{best.citation} has not measured equal compute with the source {charged}; at the loss "
        "that scratch ends at, which grown models meet before their schedules end, the saving is "
        f"at least {saving.value:.0%} ({saving.lo:.0%} to {saving.hi:.0%}) by {best.name}"
    )


def _plan(question: Question, sources: Sequence[StartingPoint]) -> tuple[GrowthPlan, StartingPoint]:
    """The plan and its source: the one asked about, or the best that is worth asking.

    Best is what saves most by the rule's own evidence. Where no rule gives a source that reaches
    the target and costs less than it, the plan is half the size, by no rule.
    """
    params, tokens = question.params, question.tokens
    fitting = [one for one in sources if worth_asking(one, params, tokens)]
    plans = [
        (question.plan(one.params, one.tokens), one) for one in fitting or [half(params, tokens)]
    ]
    return max(plans, key=lambda pair: pair[0].saving(pair[1].cost_ratio, pair[0].accounting))


def _weighed(plan: GrowthPlan, one: Evidence) -> WeighedEvidence:
    return WeighedEvidence(
        name=one.name,
        citation=one.citation,
        decides=one.decides,
        limit=one.limit,
        interval=one.basis,
        extrapolation=one.reach,
        state=one.bound or _state(one.cost_ratio.value),
        cost_ratio=one.cost_ratio,
        savings={
            accounting: plan.saving_interval(one.cost_ratio, accounting)
            for accounting in ACCOUNTINGS
        },
        at_least=one.at_least,
    )


def _state(cost_ratio: float) -> str:
    if math.isnan(cost_ratio):
        return "unknown"
    return "reached" if math.isfinite(cost_ratio) else "never_reached"


def _when(plan: GrowthPlan) -> Timing:
    best = optimal_growth_point(plan.growth_factor)
    return Timing(
        slope=best.slope,
        loss_over_floor=best.loss_ratio,
        step_ratio=best.step_ratio,
        ideal_saving=best.saving,
        staged_in_range=within(plan.target_params, KAPLAN_PARAMS)
        and within(plan.target_tokens, KAPLAN_TOKENS),
        g_stack_in_range=within(plan.target_params, G_STACK_PARAMS)
        and within(plan.target_tokens, G_STACK_TOKENS),
        source_tokens_staged=growth_tokens(plan.target_params, plan.growth_factor),
        source_tokens_g_stack=timing.source_tokens(plan.target_params, plan.target_tokens),
    )


def _proposed(question: Question, one: StartingPoint) -> ProposedStart:
    return ProposedStart(
        rule=one.rule,
        in_range=one.in_range,
        growth_factor=question.params / one.params,
        source_params=one.params,
        source_tokens=one.tokens,
        source_share=one.params * one.tokens / (question.params * question.tokens),
    )


def _scratch_law(plan: GrowthPlan) -> ScratchLaw:
    params, tokens = plan.target_params, plan.target_tokens
    best_params, best_tokens = BESIROGLU.optimal(plan.target_flops)
    loss = BESIROGLU.loss(params, tokens)
    return ScratchLaw(
        citation=BESIROGLU_CITATION,
        in_range=within(params, HOFFMANN_PARAMS) and within(tokens, HOFFMANN_TOKENS),
        loss=loss,
        optimal_params=best_params,
        optimal_tokens=best_tokens,
        example_saving=EXAMPLE_SAVING,
        loss_gap=BESIROGLU.loss(params, tokens * (1 - EXAMPLE_SAVING)) / loss - 1,
        compute_for_1_percent=BESIROGLU.compute_ratio(plan.target_flops, -0.01),
    )


def _held_out(law: Warmstart = SHRINK_AND_PERTURB) -> HeldOut:
    predicted, measured = law.gaps
    params, tokens, _, _ = law.held_out
    return HeldOut(law.citation, params, tokens, predicted, measured)


def _assumptions(plan: GrowthPlan) -> list[str]:
    cost = "is there already" if plan.source_sunk else "is trained for this target alone"
    return [
        "compute is 6 N D; saved is compute to the loss that scratch reaches at the asked tokens",
        f"the source {cost}; its optimizer, data and tokenizer suit the target",
        "both arms are tuned equally well and end their schedules alike; full charges both "
        "the tuning budget",
        "Kaplan's law counts non-embedding parameters; the parameters asked about are taken "
        "as such",
    ]
