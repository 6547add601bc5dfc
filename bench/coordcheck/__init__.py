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
from itertools import product
from typing import Literal

from mugrow.bench.coordcheck.pooling import pooled
from mugrow.bench.coordcheck.series import Axis, ModelSeries, measured_series, own_hyper
from mugrow.bench.coordcheck.slopes import Row, rows
from mugrow.bench.data.batches import load, resolve
from mugrow.bench.entries import with_params
from mugrow.bench.parametrization import canonical
from mugrow.bench.spec import ModelSpec, Precision, Start, UserError, check_precision, llama

__all__ = ["ModelSeries", "Row", "check_series", "coordcheck"]

Flavour = Literal["llama", "gpt2"]
WIDTHS, GROWN_WIDTHS, WIDTH, DEPTH = (32, 64, 128), (64, 128, 256), 64, 2
BASE = {"width": 32, "depth": 2}
HEAD_SIZE, CONTEXT = 16, 32
STEPS = {"width": 4, "depth": 10}


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
    precision: Precision = "float32",
) -> list[Row]:
    """Whether activations keep their size as models grow, under each parametrization: what `mugrow
    coordcheck` prints, a row a module and step.

    The models lie along width, or along depth where several ``depths`` are given, at one of the
    ``widths``. By default they have widths 32 to 128 at two blocks, or depths at width 64; after
    growth twice the widths, since ``method``, as ``szp:shrink=0.2``, grows every model from half
    its size first. ``lr`` and ``init_std`` are at the ``base`` width or depth, by default the
    parametrization's own (``own_hyper``); with ``heads`` the head size grows, else it is 16.
    ``steps`` updates are trained, 4 by default, in depth 10. ``seeds`` are all that are used; by
    default as many as it takes to know the slopes (``mugrow.bench.coordcheck.pooling``).
    ``precision`` is as in ``mugrow.bench.precision``.
    Raises ``UserError`` for what does not exist, for sizes that cannot be, and where a run
    diverges.

    >>> import mugrow
    >>> rows = mugrow.coordcheck("mup", widths=[16, 32], base=16, seeds=range(4), steps=1)
    >>> rows[0].module, rows[0].sizes, rows[0].verdict
    ('embed', [16, 32], 'pass')
    """
    axis: Axis = "depth" if len(depths) > 1 else "width"
    check_precision(precision)
    start = _start(method)
    default = (WIDTH,) if axis == "depth" else WIDTHS if start is None else GROWN_WIDTHS
    chosen = [sorted(set(sizes)) for sizes in (widths or default, depths or (DEPTH,))]
    if axis == "depth" and len(chosen[0]) > 1:
        given = " ".join(map(str, chosen[0]))
        raise UserError(f"several --depths take one of the --widths, not {given}")
    data = resolve(corpus, val_tokens=CONTEXT)
    vocabulary = load(data, corpus).vocab_size

    def model(width: int, depth: int) -> ModelSpec:
        if heads is not None and (heads < 1 or width % heads):
            raise UserError(f"width {width} is not a multiple of --heads {heads}")
        return (llama if flavour == "llama" else ModelSpec)(
            width=width,
            depth=depth,
            head_size=HEAD_SIZE if heads is None else width // heads,
            context=CONTEXT,
            vocab_size=vocabulary,
        )

    at_base = BASE | ({} if base is None else {axis: base})
    every = [
        ModelSeries(
            parametrization=canonical(name),
            axis=axis,
            models=tuple(model(*size) for size in product(*chosen)),
            base=model(at_base["width"], at_base["depth"]),
            data=data,
            hyper=own_hyper(name, lr, init_std),
            steps=STEPS[axis] if steps is None else steps,
            seeds=tuple(seeds),
            start=start,
            precision=precision,
        )
        for name in parametrizations
    ]
    return [row for series in every for row in check_series(series, corpus)]


def check_series(series: ModelSeries, path: str | None = None) -> list[Row]:
    """Every module and step of a series's models, measured and judged.

    ``path`` is where the corpus lies, if it is a file. Raises ``UserError`` for what cannot be
    grown, and where a run diverges.
    """
    return rows(series, measured_series(series, path)) if series.seeds else pooled(series, path)


def _start(method: str | None) -> Start | None:
    """What every model is grown by, if it is."""
    if method is None:
        return None
    name, params = with_params("method", method)
    return Start(method=name, params=tuple(sorted(params.items())))
