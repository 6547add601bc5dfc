r"""When to grow, from Kaplan's law of loss against steps: staged training.

Kaplan et al. (arXiv 2001.08361) write the loss of N parameters after S steps at the critical batch
size as

    L(N, S) = (N_c / N)^a_N + (S_c / S)^a_S,    B_crit(L) = B* / L^(1 / a_B),    C = 12 N S B_crit,

the factor 12 because a run at B_crit pays twice the fewest tokens. Let f = 1 - L_inf / L be the
reducible share of the loss, with L_inf = (N_c / N)^a_N. Along a training run

    tau = dlnL / dlnC = - a_S f / (1 + (a_S / a_B) f),

and compute is optimal where f = a_N / (a_N + a_S) = 1/11. Shen et al. (arXiv 2203.06211) grow a
model when tau has flattened to a threshold, and put the grown model at the step its own curve
would have needed: rho = S_small / S_grown at equal loss.

The optimum follows from cost alone. If growth keeps loss and slope, growing at loss l saves
C_large(l) - C_small(l), so the best l maximises that difference whatever the loss aimed for. It is
flat and low: at most 8 % of compute at B_crit (at a factor 4), and under 15 % at a fixed batch.
More than that, measured, is something this law does not describe.

Parameters are non-embedding ones, as in Kaplan et al.
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq, minimize_scalar


@dataclass(frozen=True)
class KaplanSteps:
    """The law's constants. ``critical_batch`` off: a fixed batch, cost C proportional to N S."""

    alpha_n: float = 0.076
    alpha_s: float = 0.76
    alpha_b: float = 0.21
    n_c: float = 8.8e13
    s_c: float = 2.1e3
    b_star: float = 2.1e8
    critical_batch: bool = True

    @property
    def _batch_power(self) -> float:
        """B grows as L to the minus this."""
        return 1 / self.alpha_b if self.critical_batch else 0.0

    @property
    def optimal_reducible(self) -> float:
        """The share of the loss still reducible where compute is spent best."""
        return self.alpha_n / (self.alpha_n + self.alpha_s)

    def floor(self, params: float) -> float:
        """Loss (nats per token) of a model trained for ever."""
        return float((self.n_c / params) ** self.alpha_n)

    def slope(self, reducible: float) -> float:
        """tau, the slope of ln loss against ln compute, at a reducible share in [0, 1)."""
        s = self.alpha_s
        return -s * reducible / (1 + s * self._batch_power * reducible)

    def reducible_at(self, slope: float) -> float:
        """The reducible share where the curve has this (negative) slope: ``slope`` inverted."""
        return -slope / (self.alpha_s * (1 + slope * self._batch_power))

    def step_ratio(self, reducible: float, growth_factor: float) -> float:
        """rho: steps of the small model over steps of the grown one, both at the same loss.

        ``reducible`` is the small model's; ``growth_factor`` the ratio of parameters.
        """
        u = 1 / (1 - reducible)
        grown_floor = growth_factor**-self.alpha_n
        return float(((u - 1) / (u - grown_floor)) ** (-1 / self.alpha_s))

    def loss(self, params: float, tokens: float) -> float:
        """Loss (nats per token) after ``tokens`` tokens at the critical batch size."""
        assert self.critical_batch, "without a critical batch size tokens do not give steps"

        def excess(log_steps: float) -> float:
            loss = self.floor(params) + (self.s_c / math.exp(log_steps)) ** self.alpha_s
            return math.log(2 * self.b_star) + log_steps - self._log_power(loss) - math.log(tokens)

        # tokens grow with steps, from far less than one token to more than any run's
        steps = math.exp(brentq(excess, -60.0, 700.0, xtol=1e-13))
        return float(self.floor(params) + (self.s_c / steps) ** self.alpha_s)

    def _log_power(self, loss: float) -> float:
        return self._batch_power * math.log(loss)

    def flops(self, params: float, loss: float) -> float:
        """Training FLOPs to bring a model to ``loss``, at its best batch; infinite below the floor.

        At a fixed batch the result is per token of the batch.
        """
        if loss <= self.floor(params):
            return math.inf
        steps = self.s_c * (loss - self.floor(params)) ** (-1 / self.alpha_s)
        batch = 2 * self.b_star * math.exp(-self._log_power(loss)) if self.critical_batch else 1.0
        return float(6 * params * steps * batch)


KAPLAN = KaplanSteps()
NEAREST = 1 + 1e-6


@dataclass(frozen=True)
class GrowthPoint:
    """The best point to grow at, for a growth factor. Slope, reducible share: of the small model.

    ``loss_ratio`` is the loss at growth over the small model's floor (u in the literature);
    ``saving`` the share of compute saved, small stage counted, by a target that ends at the loss
    where compute is spent best.
    """

    growth_factor: float
    loss_ratio: float
    slope: float
    step_ratio: float
    saving: float


def optimal_growth_point(growth_factor: float, law: KaplanSteps = KAPLAN) -> GrowthPoint:
    """The loss that saves most compute when a model grows by ``growth_factor`` in parameters.

    At a fixed batch the optimum has a closed form, (u - 1) / (u - g^-a_N) = g^(-a_S / (1 + a_S));
    it is also an upper limit of u at B_crit, where the optimum is found numerically. A factor
    nearer to 1 than ``NEAREST`` has that one's point: costs would differ by less than rounding,
    while the point has a limit there.
    """
    growth_factor = max(growth_factor, NEAREST)
    grown_floor = growth_factor**-law.alpha_n
    q = growth_factor ** (-law.alpha_s / (1 + law.alpha_s))
    u = (1 - q * grown_floor) / (1 - q)
    if law.critical_batch:
        found = minimize_scalar(
            lambda log_f: -_gain(law, growth_factor, 1 + math.exp(log_f)),
            bounds=(math.log(u - 1) - 5, math.log(u - 1)),
            method="bounded",
            options={"xatol": 1e-10},
        )
        u = 1 + math.exp(found.x)
    reducible = 1 - 1 / u
    large = _relative_flops(law, growth_factor, grown_floor / (1 - law.optimal_reducible))
    return GrowthPoint(
        growth_factor=growth_factor,
        loss_ratio=u,
        slope=law.slope(reducible),
        step_ratio=law.step_ratio(reducible, growth_factor),
        saving=_gain(law, growth_factor, u) / large,
    )


def _gain(law: KaplanSteps, growth_factor: float, u: float) -> float:
    """C_large - C_small at u times the small model's floor, in units that depend on neither."""
    return _relative_flops(law, growth_factor, u) - _relative_flops(law, 1.0, u)


def _relative_flops(law: KaplanSteps, growth_factor: float, u: float) -> float:
    """Cost of loss u (in units of the small model's floor) for a model ``growth_factor`` larger."""
    above_floor = u - growth_factor**-law.alpha_n
    steps = above_floor ** (-1 / law.alpha_s)
    return float(growth_factor * steps * math.exp(-law._log_power(u)))


def growth_tokens(params: float, growth_factor: float, law: KaplanSteps = KAPLAN) -> float:
    """Tokens the small model of ``params / growth_factor`` trains on before it is grown."""
    small = params / growth_factor
    loss = optimal_growth_point(growth_factor, law).loss_ratio * law.floor(small)
    return law.flops(small, loss) / (6 * small)


def learning_rate(depth: int, width: int) -> float:
    """AdamW's peak learning rate in Staged Training: 0.003239 - 0.0001395 log10(12 depth width^2).

    12 depth width^2 are the non-embedding parameters.
    """
    return 0.003239 - 0.0001395 * math.log10(12 * depth * width**2)
