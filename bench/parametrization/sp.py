"""Standard parametrization: one init scale and one learning rate for all, at every width.

The GPT-2 habit of a fixed init std. Its optimal learning rate falls by about one log2 for each
doubling of width under Adam (Yang et al., arXiv 2203.03466), which is what muP removes. That
nothing depends on the shape is a rule for any optimizer.
"""

from mugrow.bench.model import Multipliers, parameters
from mugrow.bench.parametrization import ADAMW, Parametrization, Rule, Rules, decays
from mugrow.bench.spec import ModelSpec


def rules(model: ModelSpec, base: ModelSpec) -> Rules:
    """Rules of ``model``, the same whatever the base."""
    return Rules(
        {
            name: Rule(weight_decay=float(decays(kind)))
            for name, (_, kind) in parameters(model).items()
        },
        Multipliers(),
    )


PARAMETRIZATION = Parametrization(
    "sp",
    "one init scale and one learning rate at every width",
    "GPT-2 (Radford et al., 2019)",
    rules,
    step_sizes=("entrywise", "spectral", "gradient"),
    search=ADAMW,
)
