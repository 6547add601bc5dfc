"""Growth methods: a small model's trained weights become a larger model's initial weights.

A growth method is a pure function ``grow`` plus the facts a reader needs to trust it: its paper,
the axes it grows, what it preserves and when, and for which pairs of shapes it is defined. What
happens to the optimizer and the schedule afterwards is not its business. One method a file;
``method(name)`` imports it.

The contract of ``grow(weights, small, big, init, rng, **params) -> Weights``: ``weights`` are the
source's, by name, and are left untouched; ``small`` and ``big`` are the shapes with the multipliers
of their forward passes; ``init`` are the target's own fresh initial weights under its
parametrization, and give dtype and shapes; ``rng`` draws anything random. The result has exactly
the names, shapes and dtype of ``init``, and shares no storage with the source. A method's own
parameters are keyword-only, each with a default.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Literal

from bench.model import Weights
from bench.spec import ModelSpec, Scalar, UserError, unknown

Axis = Literal["width", "depth"]
FIELDS: dict[Axis, tuple[str, ...]] = {
    "width": ("width", "head_size", "mlp_ratio"),
    "depth": ("depth",),
}


@dataclass(frozen=True)
class GrowthMethod:
    """One entry. ``axes`` is what may differ between source and target; ``preserves`` says in words
    which function survives and when; ``supports`` gives the reason why a pair of shapes that differ
    along ``axes`` alone cannot be grown, ``None`` when it can."""

    name: str
    summary: str
    paper: str
    axes: tuple[Axis, ...]
    preserves: str
    supports: Callable[[ModelSpec, ModelSpec], str | None]
    grow: Callable[..., Weights]

    @property
    def params(self) -> dict[str, Scalar]:
        """The method's own parameters and their defaults."""
        signature = inspect.signature(self.grow).parameters.values()
        return {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}


NAMES = ("scratch", "zero_pad", "szp", "hypercloning", "stack")


def method(name: str) -> GrowthMethod:
    """The registered growth method called ``name``; ``UserError`` when there is none."""
    if name not in NAMES:
        raise unknown("method", name, NAMES)
    entry = import_module(f"bench.growth.{name}").METHOD
    assert isinstance(entry, GrowthMethod)
    return entry


def check_growth(
    entry: GrowthMethod, small: ModelSpec, big: ModelSpec, params: Mapping[str, Scalar]
) -> None:
    """Raise the ``UserError`` of a growth that cannot be done, before anything trains."""
    _check_params(entry, params)
    for name in ("width", "depth"):
        if getattr(big, name) < getattr(small, name):
            raise UserError(
                f"the target (width {big.width}, depth {big.depth}) is smaller than its source "
                f"(width {small.width}, depth {small.depth}): {name} must be at least "
                f"{getattr(small, name)}"
            )
    may_differ = {name for axis in entry.axes for name in FIELDS[axis]}
    for name in (field.name for field in fields(ModelSpec)):
        ours, theirs = getattr(small, name), getattr(big, name)
        if ours != theirs and name not in may_differ:
            raise UserError(
                f"method {entry.name!r} grows {' and '.join(entry.axes)} only: the target's {name} "
                f"must be its source's {ours!r}, not {theirs!r}"
            )
    if reason := entry.supports(small, big):
        raise UserError(f"method {entry.name!r} cannot grow this source: {reason}")


def _check_params(entry: GrowthMethod, params: Mapping[str, Scalar]) -> None:
    defaults = entry.params
    for name, value in params.items():
        if name not in defaults:
            if not defaults:
                raise UserError(f"method {entry.name!r} has no parameters, so no {name!r}")
            raise unknown(f"parameter of method {entry.name!r}:", name, defaults)
        if isinstance(defaults[name], float) and not _is_number(value):
            raise UserError(
                f"{name} of method {entry.name!r} must be a finite number like "
                f"{defaults[name]}, not {value!r}"
            )


def _is_number(value: Scalar) -> bool:
    return not isinstance(value, bool | str) and math.isfinite(value)
