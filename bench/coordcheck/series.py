"""Which models a coordinate check compares: one axis grows, all else is the same.

Everything but the flavour is from the check behind the rules of ``mugrow.bench.coordcheck.slopes``:
two blocks, 64 tokens, 8 sequences of 32, Adam at 0.01 from the first step, nothing decayed or
clipped. The rate is above the best one of training (2^-7 in the studies of this suite) and without
its warm-up. In depth ten steps are trained (arXiv 2505.01618, figure 7).

The seeds are those that are given, or else as many as it takes (``pooling``).

After growth: a source of half the width (or depth) trains for ``SOURCE_STEPS``, is grown, and step
0 is the target before its first step. The seeds of a model are one stack. A seed has batches of its
own, the same at every size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor

from mugrow.bench.coordcheck.activations import Sizes, measured, running
from mugrow.bench.data.batches import TokenData, load
from mugrow.bench.growth import check_growth, method
from mugrow.bench.model import unflatten
from mugrow.bench.parametrization import ADAMW, parse, rules_of
from mugrow.bench.spec import (
    DataSpec,
    HyperSpec,
    ModelSpec,
    Precision,
    RunSpec,
    ScheduleSpec,
    Start,
    UserError,
)
from mugrow.bench.stack import Stack, begin
from mugrow.bench.start import Source, batch, beginning_from
from mugrow.bench.train import train

Axis = Literal["width", "depth"]
SOURCE_STEPS = 4
HYPER = HyperSpec(lr=0.01, init_std=0.08, weight_decay=0.0, clip=0.0)


def own_hyper(text: str, lr: float | None = None, init_std: float | None = None) -> HyperSpec:
    """What is not given is the parametrization's own: a rate of 0.01 and an initial scale of 0.08;
    for one that is searched elsewhere than SP and muP, a rate as far from the middle of its range,
    and the middle of its scales.

    >>> own_hyper("mup").lr, own_hyper("mup").init_std
    (0.01, 0.08)
    >>> round(own_hyper("umup").lr, 2), own_hyper("umup").init_std
    (0.91, 1.0)
    """
    own = parse(text)[0].search or ADAMW
    away = own.middle_log2_lr - ADAMW.middle_log2_lr
    usual = HYPER.init_std if own.init_std == ADAMW.init_std else own.middle_init_std
    return replace(
        HYPER,
        lr=HYPER.lr * 2**away if lr is None else lr,
        init_std=usual if init_std is None else init_std,
    )


@dataclass(frozen=True, kw_only=True)
class ModelSeries:
    """``models`` from small to large along ``axis``; hyperparameters are meant at ``base``.

    With a growth method in ``start`` each model is grown from one of half its size. Raises
    ``UserError`` for what cannot be compared or grown, before anything trains.
    """

    parametrization: str
    axis: Axis
    models: tuple[ModelSpec, ...]
    base: ModelSpec
    data: DataSpec
    hyper: HyperSpec = HYPER
    steps: int = 4
    seeds: tuple[int, ...] = ()
    batch_sequences: int = 8
    start: Start | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        rules_of(self.parametrization, self.base, self.base)
        for name in ("lr", "init_std"):
            if not getattr(self.hyper, name):
                raise UserError(f"{name} must be above 0: nothing moves without")
        if len(set(self.sizes)) < 2:
            raise UserError(f"a slope takes at least two {self.axis}s, not {self.sizes[0]} alone")
        if self.seeds and len(set(self.seeds)) < 2:
            given = " ".join(map(str, self.seeds))
            raise UserError(f"an interval takes at least two different seeds, not {given}")
        if self.start is not None:
            for model in self.models:
                _check_growth(halved(model, self.axis), model, self.start)
        smallest = min(self.sizes) // (2 if self.start else 1)
        if smallest < (base := getattr(self.base, self.axis)):
            what = f"{self.axis} {smallest}" + (" (half the smallest)" if self.start else "")
            raise UserError(f"{what} is below the base's {base}; a base is at most {smallest}")

    @property
    def sizes(self) -> list[int]:
        """The widths, or depths, of the models."""
        return [getattr(model, self.axis) for model in self.models]

    def run(self, model: ModelSpec, steps: int, seed: int) -> RunSpec:
        """From scratch."""
        return RunSpec(
            model=model,
            base=self.base,
            parametrization=self.parametrization,
            hyper=self.hyper,
            schedule=ScheduleSpec(kind="constant", warmup=0.0),
            data=self.data,
            batch_sequences=self.batch_sequences,
            steps=steps,
            seed=seed,
            data_seed=seed,
            log_every=steps,
            precision=self.precision,
        )


def halved(model: ModelSpec, axis: Axis) -> ModelSpec:
    """Half as wide, or as deep; ``UserError`` where there is no such model."""
    size: int = getattr(model, axis)
    if size % 2:
        raise UserError(f"{axis} {size} has no half to grow from; the nearest that has: {size + 1}")
    half: dict[str, Any] = {axis: size // 2}
    return replace(model, **half)


def _check_growth(small: ModelSpec, big: ModelSpec, start: Start) -> None:
    entry, params = method(start.method), dict(start.params)
    if not entry.needs_source:
        raise UserError(f"method {entry.name!r} grows no source, so there is no after growth")
    check_growth(entry, small, big, params)
    if entry.stages and len(entry.stages(small, big, {**entry.params, **params})) > 1:
        raise UserError(
            f"method {entry.name!r} reaches width {big.width}, depth {big.depth} in several "
            "stages, with training between them"
        )


def measured_series(series: ModelSeries, path: str | None = None) -> list[Sizes]:
    """What each model's activations are while it trains, for each of the ``seeds``."""
    assert series.seeds, "which seeds?"
    data = load(series.data, path)
    return [_measured(series, model, data) for model in series.models]


def _measured(series: ModelSeries, model: ModelSpec, data: TokenData) -> Sizes:
    specs = [series.run(model, series.steps, seed) for seed in series.seeds]
    sources: list[Source] | list[None] = [None] * len(specs)
    if series.start is not None:
        sources = _sources(series, halved(model, series.axis), data)
        specs = [replace(spec, start=series.start, first_batch=SOURCE_STEPS) for spec in specs]
    starts = [
        beginning_from(spec, source, _batches(data, spec))
        for spec, source in zip(specs, sources, strict=True)
    ]
    stack = Stack(specs, during=starts[0].during)
    return measured(stack, begin(stack, [start.weights for start in starts]), data)


def _batches(data: TokenData, spec: RunSpec) -> Callable[[int], Tensor]:
    return partial(batch, data, spec)


def _sources(series: ModelSeries, small: ModelSpec, data: TokenData) -> list[Source]:
    """One for each seed, trained."""
    specs = [series.run(small, SOURCE_STEPS, seed) for seed in series.seeds]
    stack = Stack(specs)
    starts = [beginning_from(spec, None, _batches(data, spec)).weights for spec in specs]
    decoder, flat_KP = running(stack, train(stack, starts, data))
    assert len(flat_KP) == len(specs)
    return [Source(decoder, unflatten(small, flat_P)) for flat_P in flat_KP]
