"""How long to train the source before stacking it: the guideline of G_stack.

Du et al. (arXiv 2405.15319), who grew models of 410 million to 7 billion parameters, fit

    log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74,    C = 6 N D,

with d the source's tokens, N the target's parameters and D its tokens, and recommend a growth
factor between 2 and 4. More target compute asks for *fewer* source tokens: the target itself makes
up for a weak source.
"""

import math

GROWTH_FACTORS = (2.0, 4.0)


def source_tokens(target_params: float, target_tokens: float) -> float:
    """Tokens d to train a source on before it is stacked into the target."""
    compute = math.log10(6 * target_params * target_tokens)
    return float(10 ** (0.88 * math.log10(target_params) + 163.27 / compute - 5.74))
