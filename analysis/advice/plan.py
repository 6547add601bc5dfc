"""What growing costs, in three accountings, and what a saving on the target is worth in each.

With C = 6 N D for the target (N, D) and C1 = 6 N1 D1 for its source, let r be the *cost ratio*:
the FLOPs that the grown target needs to reach the loss of the one from scratch, over C. Then

    target   saving = 1 - r                     the source was there anyway
    source   saving = 1 - (r C + C1) / C        the source is trained for this
    full     saving = 1 - (r C + C1 + T) / (C + T)      T of tuning, paid by both arms

The source is a share (t1 / t) / g^2 of the target's cost, with t tokens a parameter and g = N / N1.
At equal tokens a parameter that is 25 % at g = 2 and 6 % at g = 4: the growth factor that papers
find most reliable is the one at which the source, which few of them charge, costs most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

LARGEST = 1e30


@dataclass(frozen=True, kw_only=True)
class GrowthPlan:
    """A target, the source it would be grown from, and who pays. ``tuning_flops``: each arm's."""

    target_params: float
    target_tokens: float
    source_params: float
    source_tokens: float
    source_sunk: bool = False
    tuning_flops: float = 0.0

    def __post_init__(self) -> None:
        for name in ("target_params", "target_tokens", "source_params", "source_tokens"):
            check_count(name, getattr(self, name))
        if not 0 <= self.tuning_flops <= LARGEST**2:
            raise UserError(
                f"tuning_budget must be from 0 to {LARGEST**2:g} FLOPs, not {self.tuning_flops:g}"
            )
        if self.source_params >= self.target_params:
            raise UserError(
                f"source_params {self.source_params:g} is not below target params "
                f"{self.target_params:g}: a source grows into a larger target"
            )

    @property
    def growth_factor(self) -> float:
        return self.target_params / self.source_params

    @property
    def target_flops(self) -> float:
        return 6 * self.target_params * self.target_tokens

    @property
    def source_flops(self) -> float:
        return 6 * self.source_params * self.source_tokens

    @property
    def source_share(self) -> float:
        """What the source costs, as a share of the target from scratch."""
        return self.source_flops / self.target_flops

    @property
    def accounting(self) -> Accounting:
        """The accounting that decides. Tuning, which both arms pay, shrinks a saving only."""
        return "target" if self.source_sunk else "source"

    def saving(self, cost_ratio: float, accounting: Accounting) -> float:
        """The share of compute saved; negative is a loss, minus infinity never gets there."""
        tuning = self.tuning_flops / self.target_flops if accounting == "full" else 0.0
        source = 0.0 if accounting == "target" else self.source_share
        return 1 - (cost_ratio + source + tuning) / (1 + tuning)

    def saving_interval(self, cost_ratio: Interval, accounting: Accounting) -> Interval:
        """Savings fall with the cost ratio, so its upper end is the saving's lower one."""
        value, lo, hi = (
            self.saving(ratio, accounting)
            for ratio in (cost_ratio.value, cost_ratio.hi, cost_ratio.lo)
        )
        return Interval(value, lo, hi, cost_ratio.n)


def check_count(name: str, value: float) -> None:
    number = isinstance(value, Real)
    if not (number and 1 <= value <= LARGEST):
        given = f"{value:g}" if number else repr(value)
        raise UserError(f"{name} must be a number from 1 to {LARGEST:g}, not {given}")


def source_share(source_ratio: float, target_ratio: float, growth_factor: float) -> float:
    """The source's share of the target's cost, from tokens a parameter of both."""
    return source_ratio / target_ratio / growth_factor**2


def mlp_params(widths: Sequence[int]) -> float:
    """Weights of a multilayer perceptron, without biases; a step costs in proportion to them."""
    return float(sum(rows * columns for rows, columns in pairwise(widths)))


def decoder_flops_per_token(width: int, depth: int, context: int, vocab_size: int) -> float:
    """6 N + 12 L d T of a GPT-2 decoder, N = 12 L d^2 + V d: as Ma et al. count (2602.10545).

    The ratio at two widths is what a trial saves by tuning on the narrower of two pairs, the core
    of their protocol: 2.8 at half the width of GPT-2 small, 155 at a sixty-fourth.
    """
    return 6.0 * (12 * depth * width**2 + vocab_size * width) + 12.0 * depth * width * context
