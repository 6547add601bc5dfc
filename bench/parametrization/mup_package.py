"""Exactly what the mup package 1.0.0 does with ``MuAdamW``: muP with Adam's eps left as it is.

The table of ``mup``, but for one column (``mup/optim.py`` groups parameters by learning rate and
weight decay alone):

    ================  ==========  =====  ============  =====  =======
    parameter         init std    lr     weight decay  eps    forward
    ================  ==========  =====  ============  =====  =======
    every one         as in mup                        1      as in mup
    ================  ==========  =====  ============  =====  =======

Yang et al., arXiv 2203.03466, argue with eps = 0, and so does a coordinate check: it does not see
the difference. A gradient entry shrinks as 1/m, so the larger the model the more of its second
moments are below eps, and the smaller its steps. A noise-free widened model shows it at once.
Under an optimizer without eps, as Lion, it is ``mup``.
"""

from mugrow.bench.parametrization import ADAMW, Parametrization, Rules, mup
from mugrow.bench.spec import ModelSpec


def rules(model: ModelSpec, base: ModelSpec) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``."""
    scaled = mup.rules(model, base)
    tensors = {name: rule._replace(eps=1.0) for name, rule in scaled.tensors.items()}
    return Rules(tensors, scaled.multipliers)


PARAMETRIZATION = Parametrization(
    "mup_package",
    "what mup 1.0.0's MuAdamW does: muP with eps unscaled",
    "arXiv 2203.03466",
    rules,
    search=ADAMW,
)
