"""What to run to settle a verdict, and what that costs.

A ladder of targets below the one asked about, each from scratch and grown, at the plan's growth
factor and a quarter, half and all of its tokens a parameter, so that a law can tell parameters from
tokens (a family needs at least three sizes: Choshen et al., arXiv 2410.11840). The largest is
smaller by the factor that ``mugrow.analysis.advice.fitted`` allows a law to reach beyond its data,
and so the ladder is cheap: cost falls with the square of the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mugrow.analysis.advice.fitted import REACH
from mugrow.analysis.advice.plan import GrowthPlan

SIZES = (1.0, 1.5, 2.25)
TOKEN_FACTORS = (0.25, 0.5, 1.0)
SEEDS = 2
WITHIN = 0.9  # of the law's reach


@dataclass(frozen=True)
class SettlingExperiment:
    """Targets of these parameters, each at these tokens a parameter, from scratch and grown.

    ``runs`` counts those of all ``seeds`` with their sources; ``flops`` is what they cost, and
    ``share_of_target`` that over the cost of the target asked about.
    """

    target_params: Sequence[float]
    tokens_per_param: Sequence[float]
    growth_factor: float
    source_tokens_per_param: float
    seeds: int
    runs: int
    flops: float
    share_of_target: float


def settle(plan: GrowthPlan) -> SettlingExperiment:
    """The experiment for a plan."""
    ratio = plan.target_tokens / plan.target_params
    source_ratio = plan.source_tokens / plan.source_params
    sizes = [plan.target_params / (WITHIN * REACH * size) for size in SIZES]
    ratios = [ratio * factor for factor in TOKEN_FACTORS]
    targets = sum(2 * 6 * params**2 * each for params in sizes for each in ratios)
    sources = sum(6 * (params / plan.growth_factor) ** 2 * source_ratio for params in sizes)
    flops = SEEDS * (targets + sources)
    return SettlingExperiment(
        target_params=sizes,
        tokens_per_param=ratios,
        growth_factor=plan.growth_factor,
        source_tokens_per_param=source_ratio,
        seeds=SEEDS,
        runs=SEEDS * len(sizes) * (2 * len(ratios) + 1),
        flops=flops,
        share_of_target=flops / plan.target_flops,
    )
