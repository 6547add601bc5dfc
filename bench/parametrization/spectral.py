"""The spectral condition, with Muon for hidden matrices: one learning rate for all widths.

A layer learns features at every width if its matrix and the updates of it have spectral norms of
the order of sqrt(fan_out / fan_in) (Yang, Simon and Bernstein, arXiv 2310.17813). Muon's updates
have that norm by construction (``mugrow.bench.optim.muon``), so what AdamW needs a factor 1/m for
needs none:

    ================  ====================  =====  ============  ======  =======  =========
    parameter         init std              lr     weight decay  eps     forward  optimizer
    ================  ====================  =====  ============  ======  =======  =========
    hidden matrix     s / s of the base     1      1             --               Muon
    all others        as in mup                                                   the run's
    ================  ====================  =====  ============  ======  =======  =========

    s = min(1, sqrt(fan_out / fan_in)) / sqrt(fan_in)       (their condition 1 for a Gaussian)

Where the fan-in and the fan-out grow alike s is muP's 1/sqrt(fan_in). Attention and readout have
muP's forward multipliers, since the condition is about the scale of what they read alone.

With ``optimizer="lion"`` Lion trains the others, as in muP; with ``muon:momentum=0.9`` Muon has
that momentum, and AdamW trains them.

A step of learning rate eta moves the entries of a (D, D) matrix by about eta / sqrt(D), and AdamW's
by eta. So one rate for both, as here, is not far from either's best: Muon's customary 0.02 is
AdamW's of a width of some hundred. Here it is 2^-5 at width 32 and 2^-6 at 64 (300 steps), two log2
above muP's with AdamW alone.
"""

import math
from dataclasses import replace

from mugrow.bench.model import parameters
from mugrow.bench.parametrization import Parametrization, Rule, Rules, SearchRange, mup
from mugrow.bench.spec import ModelSpec


def rules(model: ModelSpec, base: ModelSpec) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``; depth is not transferred."""
    adamw = mup.rules(model, base)
    at_base = parameters(replace(base, depth=model.depth))
    tensors = dict(adamw.tensors)
    for name, (shape, kind) in parameters(model).items():
        if kind == "matrix":
            std = _spectral_std(shape) / _spectral_std(at_base[name].shape)
            tensors[name] = Rule(std, optimizer="muon")
    return Rules(tensors, adamw.multipliers)


def _spectral_std(shape: tuple[int, ...]) -> float:
    fan_out, fan_in = shape
    return min(1.0, math.sqrt(fan_out / fan_in)) / math.sqrt(fan_in)


PARAMETRIZATION = Parametrization(
    "spectral",
    "the spectral condition: Muon for hidden matrices",
    "arXiv 2310.17813",
    rules,
    step_sizes=("entrywise", "spectral"),
    search=SearchRange(log2_lr=(-9.0, -2.0), init_std=(0.02, 0.5)),
)
