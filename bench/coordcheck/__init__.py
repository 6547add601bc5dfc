"""The coordinate check: does the size of every activation stay put as the model grows?

Models along one axis train a few steps, from scratch or right after growth. For every module and
step t, mean |x_t| and the mean |x_t - x_0| of its movement, on one batch, are fitted as

    log2 mean|x| = slope * log2 width + constant          (or depth)

for each seed, and judged against what the theory says the slope is: zero, under a maximal update
parametrization (Yang et al., arXiv 2203.03466, appendix D.1; arXiv 2505.01618 for depth). |x| sees
updates too large; those that vanish hardly change it and are seen in |x_t - x_0|.

    series        which models, and their training
    activations   mean |x| of every module of a stack while it trains
    slopes        slopes with their intervals, and the verdict

A narrow model can fail a right parametrization, beyond doubt. In the GPT-2 flavour what attention
adds in the second block has under muP, over widths 32 to 128, a slope of 0.20 at step 1 (0.13 to
0.27, 16 seeds): the sizes level off from width 64. Without learned positions it is gone, so the
default is the LLaMA flavour, whose steepest slope of |x| is there 0.09 (64 seeds), and 0.05 over 64
to 256.

A pass does not prove that hyperparameters transfer: a wrong eps or weight decay does not show here.
"""

from mugrow.bench.coordcheck.series import ModelSeries, measured_series
from mugrow.bench.coordcheck.slopes import Row, rows

__all__ = ["ModelSeries", "Row", "coordcheck"]


def coordcheck(series: ModelSeries, path: str | None = None) -> list[Row]:
    """Every module and step of a series's models, measured and judged.

    ``path`` is where the corpus lies, if it is a file. Raises ``UserError`` for what cannot be
    grown, and where a run diverges.
    """
    return rows(series, measured_series(series, path))
