"""Published laws, shipped as their numbers, each with its citation and where it was measured.

Two of them price a decision. The law of Hoffmann et al. in the refit of Besiroglu et al.,

    L(N, D) = E + A / N^alpha + B / D^beta,

says what a loss costs from scratch; under C = 6 N D its optimum has a closed form (below). And the
pair of such laws that Mallik, Janowski, Hog et al. fitted to scratch and to warmstarted runs says
how many tokens D_w the grown model needs for the loss that scratch has after D: the cost ratio is
D_w / D.

The second pair cannot carry the decision it was made for. It predicts the run that was held out
with an error in the gap between both arms that is larger than the gap itself; ``gap_error``
computes it. So what it says comes with that error, never as a certainty.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from mugrow.analysis.stats import Interval


@dataclass(frozen=True)
class Chinchilla:
    """L(N, D) = e + a / N^alpha + b / D^beta, in nats per token."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, params: float, tokens: float) -> float:
        return float(self.e + self.a * params**-self.alpha + self.b * tokens**-self.beta)

    def tokens(self, params: float, loss: float) -> float:
        """Tokens to bring ``params`` parameters to ``loss``; infinite where they never do."""
        left = loss - self.e - self.a * params**-self.alpha
        return float((self.b / left) ** (1 / self.beta)) if left > 0 else math.inf

    @property
    def g(self) -> float:
        """G: the optimum is N = G (C/6)^(beta/(alpha+beta)), D = (C/6)^(alpha/(alpha+beta)) / G."""
        ratio = self.alpha * self.a / (self.beta * self.b)
        return float(ratio ** (1 / (self.alpha + self.beta)))

    @property
    def gamma(self) -> float:
        """Exponent of the frontier, L = e + k (C/6)^-gamma."""
        return self.alpha * self.beta / (self.alpha + self.beta)

    @property
    def k(self) -> float:
        return float(self.a * self.g**-self.alpha + self.b * self.g**self.beta)

    def optimal(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the lowest loss for a budget of FLOPs."""
        total = self.alpha + self.beta
        params = self.g * (flops / 6) ** (self.beta / total)
        return float(params), float(flops / 6 / params)

    def frontier(self, flops: float) -> float:
        """The lowest loss for a budget of FLOPs."""
        return float(self.e + self.k * (flops / 6) ** -self.gamma)

    def compute_ratio(self, flops: float, loss_change: float) -> float:
        """Compute over ``flops`` that moves the frontier's loss by a share, such as -0.01.

        Infinite below the law's irreducible loss.
        """
        left = self.frontier(flops) * (1 + loss_change) - self.e
        return float(6 * (left / self.k) ** (-1 / self.gamma) / flops) if left > 0 else math.inf


@dataclass(frozen=True)
class Range:
    """Where a law was measured: (lowest, highest) of each; a target outside is extrapolation."""

    params: tuple[float, float]
    tokens_per_param: tuple[float, float]
    growth_factor: tuple[float, float]

    @property
    def largest_tokens(self) -> float:
        return self.params[1] * self.tokens_per_param[1]

    def reaches(self, params: float, tokens: float) -> bool:
        """Whether a target was measured like it, in parameters, in tokens a parameter, and with
        both in compute."""
        return within(params, self.params) and within(tokens / params, self.tokens_per_param)


@dataclass(frozen=True)
class Warmstart:
    """Scratch and warmstarted laws of one growth factor, and the run held out of both fits.

    ``held_out`` is (params, tokens, measured scratch loss, measured warmstarted loss);
    ``source_ratio`` the tokens a parameter its sources were trained on.
    """

    citation: str
    scratch: Chinchilla
    grown: Chinchilla
    held_out: tuple[float, float, float, float]
    source_ratio: float
    measured: Range

    @property
    def gaps(self) -> tuple[float, float]:
        """1 - L_grown / L_scratch on the run held out, as predicted and as measured."""
        params, tokens, scratch, grown = self.held_out
        predicted = self.grown.loss(params, tokens) / self.scratch.loss(params, tokens)
        return 1 - predicted, 1 - grown / scratch

    @property
    def gap_error(self) -> float:
        """Error of L_grown / L_scratch on the run held out."""
        predicted, measured = self.gaps
        return abs((1 - predicted) / (1 - measured) - 1)

    def cost_ratio(self, params: float, tokens: float) -> Interval:
        """D_w / D, with the ends that ``gap_error`` either way gives: no confidence interval."""
        aim, error = self.scratch.loss(params, tokens), self.gap_error
        value, lo, hi = (
            self.grown.tokens(params, aim * factor) / tokens for factor in (1, 1 + error, 1 - error)
        )
        return Interval(value, lo, hi, 0)


BESIROGLU = Chinchilla(e=1.81686, a=482.006, b=2085.434, alpha=0.34781, beta=0.36585)
BESIROGLU_CITATION = "Besiroglu et al., arXiv 2404.10102 (Hoffmann et al., arXiv 2203.15556)"

# the ladder of widths at 8 layers: each target grew from the size before it
LADDER = (14_562_560, 32_270_848, 77_124_608, 134_561_280, 287_183_360, 610_488_320, 1_217_722_368)
_FACTORS = [big / small for small, big in pairwise(LADDER)]

SHRINK_AND_PERTURB = Warmstart(
    citation="Mallik, Janowski, Hog et al., arXiv 2605.13405 (fits of adjacent sizes)",
    scratch=Chinchilla(e=0.402, a=186341.0, b=5.79, alpha=0.767, beta=0.068),
    grown=Chinchilla(e=1.305, a=814.69, b=130.04, alpha=0.423, beta=0.295),
    held_out=(LADDER[-1], 10.0 * LADDER[-1], 1.51736, 1.49651),
    source_ratio=20.0,
    measured=Range(
        params=(LADDER[1], LADDER[-1]),
        tokens_per_param=(10.0, 30.0),
        growth_factor=(min(_FACTORS), max(_FACTORS)),
    ),
)

# (lowest, highest) parameters and tokens of the runs behind each law or rule, as its paper says
HOFFMANN_PARAMS, HOFFMANN_TOKENS = (7e7, 1.6e10), (5e9, 5e11)  # abstract
KAPLAN_PARAMS, KAPLAN_TOKENS = (768.0, 1.5e9), (2.2e7, 2.3e10)  # section 3; non-embedding
# its targets: 410M, 1.1B, 3B and 7B; 1.1B for 100B tokens, 410M for 750B
G_STACK_PARAMS, G_STACK_TOKENS = (4.1e8, 7e9), (1e11, 7.5e11)


def within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]
