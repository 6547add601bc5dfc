"""From what size to grow, and after how many tokens: each published rule, and what a store did.

The rules differ by more than an order of magnitude in what the source costs, because they charge
it differently. Warmstarting (2605.13405) does not count it and takes half the size; G_stack counts
it, at a quarter to half the size; staged training minimises the sum of both stages. A rule applied
outside the sizes and tokens that it comes from can ask for a source that costs more than the
target: such a source is no proposal, whatever the rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mugrow.analysis.advice import timing
from mugrow.analysis.advice.measured import MeasuredGrowth
from mugrow.analysis.advice.published import (
    G_STACK_PARAMS,
    G_STACK_TOKENS,
    KAPLAN_PARAMS,
    KAPLAN_TOKENS,
    SHRINK_AND_PERTURB,
    within,
)
from mugrow.analysis.advice.staged import growth_tokens

WARMSTART_FACTOR = 2.0
STAGED_FACTORS = (2.0, 4.0, 8.0)


@dataclass(frozen=True)
class StartingPoint:
    """A source by a rule, with what the rule's own evidence says; 1, no gain, where it has none.
    ``in_range`` says that the rule was measured at such targets, in parameters, tokens and compute.
    """

    rule: str
    in_range: bool
    params: float
    tokens: float
    cost_ratio: float = 1.0


def starting_points(
    params: float, tokens: float, arms: Iterable[MeasuredGrowth]
) -> list[StartingPoint]:
    """Sources for a target: those of a store at their growth factors, then the published rules'."""
    for_g_stack = within(params, G_STACK_PARAMS) and within(tokens, G_STACK_TOKENS)
    for_staged = within(params, KAPLAN_PARAMS) and within(tokens, KAPLAN_TOKENS)
    return [
        *(_as_measured(one, params, tokens) for one in _best_of_each_source(arms)),
        _warmstart(params, tokens),
        *(
            StartingPoint(
                "G_stack, 2405.15319",
                for_g_stack,
                params / factor,
                timing.source_tokens(params, tokens),
            )
            for factor in timing.GROWTH_FACTORS
        ),
        *(
            StartingPoint(
                "staged training, 2203.06211",
                for_staged,
                params / factor,
                growth_tokens(params, factor),
            )
            for factor in STAGED_FACTORS
        ),
    ]


def _best_of_each_source(arms: Iterable[MeasuredGrowth]) -> list[MeasuredGrowth]:
    best: dict[tuple[float, ...], MeasuredGrowth] = {}
    for one in arms:
        key = (one.params, one.tokens, one.source_params, one.source_tokens)
        if key not in best or one.cost_ratio.value < best[key].cost_ratio.value:
            best[key] = one
    return list(best.values())


def worth_asking(one: StartingPoint, params: float, tokens: float) -> bool:
    """Whether a source is a proposal: its rule reaches the target, and it costs less."""
    return one.in_range and one.params * one.tokens < params * tokens


def half(params: float, tokens: float) -> StartingPoint:
    """Half the size at the target's tokens a parameter, for a quarter of its cost: by no rule, to
    reckon with where none gives a source."""
    return StartingPoint("no rule, half the size, as many tokens a parameter", False,
                         params / 2, max(1.0, tokens / 2))  # fmt: skip


def _as_measured(one: MeasuredGrowth, params: float, tokens: float) -> StartingPoint:
    source = params / one.growth_factor
    return StartingPoint(
        rule=f"{one.label}, as measured at {one.target}",
        in_range=one.is_near(params, tokens),
        params=source,
        tokens=source * one.source_ratio,
        cost_ratio=one.cost_ratio.value,
    )


def _warmstart(params: float, tokens: float) -> StartingPoint:
    law = SHRINK_AND_PERTURB
    source = params / WARMSTART_FACTOR
    return StartingPoint(
        rule="warmstarting, 2605.13405",
        in_range=law.measured.reaches(params, tokens),
        params=source,
        tokens=source * law.source_ratio,
        cost_ratio=law.cost_ratio(params, tokens).value,
    )
