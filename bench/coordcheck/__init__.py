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
    pooling       how many seeds it takes

A narrow model can fail a right parametrization. In the GPT-2 flavour the stream after the second
block has under muP at step 3 a slope of -0.17 (-0.19 to -0.15, 64 seeds) over widths 32 to 128, and
of -0.12 (-0.15 to -0.09, 16 seeds) over 64 to 256: it levels off. So the default is the LLaMA
flavour, whose steepest slope of |x| is there -0.09 (40 seeds).

Few seeds can mislead. What attention adds in that block has at step 1 a slope of 0.20 (0.13 to
0.27) by seeds 0 to 15, which looks like a fault; the next three sixteens have 0.07, 0.05 and 0.05,
and all 64 seeds 0.09 (0.05 to 0.13), within the bound.

A pass does not prove that hyperparameters transfer: a wrong eps or weight decay does not show here.
"""

from collections.abc import Sequence

from mugrow.bench.coordcheck.pooling import pooled
from mugrow.bench.coordcheck.series import ModelSeries, measured_series
from mugrow.bench.coordcheck.slopes import Row, rows
from mugrow.bench.coordcheck.small import Flavour, small_series

__all__ = ["ModelSeries", "Row", "check_series", "coordcheck"]


def coordcheck(
    *parametrizations: str,
    widths: Sequence[int] = (),
    depths: Sequence[int] = (),
    method: str | None = None,
    base: int | None = None,
    heads: int | None = None,
    flavour: Flavour = "llama",
    lr: float | None = None,
    init_std: float | None = None,
    steps: int | None = None,
    seeds: Sequence[int] = (),
    corpus: str = "synthetic",
) -> list[Row]:
    """Whether activations keep their size as models grow, under each parametrization: what `mugrow
    coordcheck` prints, a row a module and step. Arguments are those of ``small_series``.

    >>> import mugrow
    >>> rows = mugrow.coordcheck("mup", widths=[16, 32], base=16, seeds=[0, 1], steps=1)
    >>> rows[0].module, rows[0].sizes, rows[0].verdict
    ('embed', [16, 32], 'pass')
    """
    every = [
        small_series(
            name, widths=widths, depths=depths, method=method, base=base, heads=heads,
            flavour=flavour, lr=lr, init_std=init_std, steps=steps, seeds=seeds, corpus=corpus,
        )
        for name in parametrizations
    ]  # fmt: skip
    return [row for series in every for row in check_series(series, corpus)]


def check_series(series: ModelSeries, path: str | None = None) -> list[Row]:
    """Every module and step of a series's models, measured and judged.

    ``path`` is where the corpus lies, if it is a file. Raises ``UserError`` for what cannot be
    grown, and where a run diverges.
    """
    return rows(series, measured_series(series, path)) if series.seeds else pooled(series, path)
