"""The small models that `mugrow coordcheck` compares, when little is said about them.

Widths of 32 to 128 at two blocks, or depths at width 64, with heads of size 16; after growth twice
the widths, since every model is grown from half of one.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

from mugrow.bench.coordcheck.series import HYPER, Axis, ModelSeries
from mugrow.bench.data.batches import load, resolve
from mugrow.bench.entries import with_params
from mugrow.bench.parametrization import ADAMW, canonical, parse
from mugrow.bench.spec import HyperSpec, ModelSpec, Start, UserError, llama

Flavour = Literal["llama", "gpt2"]
WIDTHS, GROWN_WIDTHS, WIDTH, DEPTH = (32, 64, 128), (64, 128, 256), 64, 2
BASE = {"width": 32, "depth": 2}
HEAD_SIZE, CONTEXT = 16, 32
STEPS = {"width": 4, "depth": 10}


def small_series(
    parametrization: str,
    *,
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
) -> ModelSeries:
    """The models along width, or along depth where several ``depths`` are given.

    ``method``, as ``szp:shrink=0.2``, grows every model from half its size first. ``lr`` and
    ``init_std`` are at the ``base`` width or depth, by default the parametrization's own
    (``own_hyper``); with ``heads`` the head size grows, else it is 16. ``steps`` updates are
    trained, 4 by default, in depth 10. ``seeds`` are all that are used; by default as many as it
    takes to know the slopes (``mugrow.bench.coordcheck.pooling``). Raises ``UserError`` for what
    does not exist, and for sizes that cannot be.
    """
    axis: Axis = "depth" if len(depths) > 1 else "width"
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

    own = own_hyper(parametrization)
    at_base = BASE | ({} if base is None else {axis: base})
    return ModelSeries(
        parametrization=canonical(parametrization),
        axis=axis,
        models=tuple(model(*size) for size in product(*chosen)),
        base=model(at_base["width"], at_base["depth"]),
        data=data,
        hyper=replace(
            own,
            lr=own.lr if lr is None else lr,
            init_std=own.init_std if init_std is None else init_std,
        ),
        steps=STEPS[axis] if steps is None else steps,
        seeds=tuple(seeds),
        start=start,
    )


def own_hyper(text: str) -> HyperSpec:
    """A rate of 0.01 and an initial scale of 0.08; for a parametrization that is searched elsewhere
    than AdamW's SP and muP as far from the middle of its range, and the middle of its scales.

    >>> own_hyper("mup").lr, own_hyper("mup").init_std
    (0.01, 0.08)
    >>> round(own_hyper("umup").lr, 2), own_hyper("umup").init_std
    (0.91, 1.0)
    """
    own = parse(text)[0].search or ADAMW
    away = own.middle_log2_lr - ADAMW.middle_log2_lr
    init_std = HYPER.init_std if own.init_std == ADAMW.init_std else own.middle_init_std
    return replace(HYPER, lr=HYPER.lr * 2**away, init_std=init_std)


def _start(method: str | None) -> Start | None:
    """What every model is grown by, if it is."""
    if method is None:
        return None
    name, params = with_params("method", method)
    return Start(method=name, params=tuple(sorted(params.items())))
