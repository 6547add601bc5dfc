"""Two power laws of the budget, N* = G C^a and D* = H C^b: what isoFLOPs and envelopes measure.

A law here is (a, ln G, b, ln H), the slopes and intercepts of ln N* and ln D* against ln C; laws
are (B, 4), one for each resample, with nan where a resample has none.
"""

import numpy as np

from mugrow.analysis.laws.resample import open_ends
from mugrow.analysis.laws.result import Allocation
from mugrow.analysis.stats import Array

PARAMS = ("D_exponent", "D_coefficient", "N_exponent", "N_coefficient")


def named(laws: Array) -> dict[str, Array]:
    """The parameters of laws (B, 4) by name, each (B,)."""
    a, log_g, b, log_h = laws.T
    return dict(zip(PARAMS, (b, np.exp(log_h), a, np.exp(log_g)), strict=True))


def optimum(law: Array, draws: Array, flops: float) -> Allocation:
    """The allocation of a budget, with its intervals over the laws of resamples (B, 4).

    ``loss`` is None: these laws say where the loss is lowest, not how low.
    """

    def at(laws: Array) -> dict[str, Array]:
        n, d = (np.exp(laws[:, i + 1] + laws[:, i] * np.log(flops)) for i in (0, 2))
        return {"n": n, "d": d, "tokens_per_parameter": d / n}

    here = {name: float(value[0]) for name, value in at(law[None]).items()}
    interval = {name: open_ends(values) for name, values in at(draws).items() if len(values)}
    return Allocation(flops, **here, loss=None, interval=interval)
