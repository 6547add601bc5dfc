"""Growth methods: a small model's trained weights become a larger model's initial weights.

A growth method is a pure function ``grow`` plus the facts a reader needs to trust it: its paper,
the axes it grows, what it preserves and when, and for which pairs of shapes it is defined. One
method a file in this folder, or a plug-in: an entry point of the group ``mugrow.methods`` whose
value is a ``GrowthMethod``.

The contract of ``grow(weights, small, big, init, rng, **params) -> Weights``: ``weights`` are the
source's, by name, and are left untouched; ``small`` and ``big`` are the shapes with the multipliers
of their forward passes; ``init`` are the target's own fresh initial weights under its
parametrization, and give dtype and shapes; ``rng`` draws anything random. The result has exactly
the names, shapes and dtype of ``init``, and shares no storage with the source. A method's own
parameters are keyword-only, each with a default.

Three things are orthogonal to the operator and chosen in the run's ``Start``: whether the
optimizer's state is carried over (``grow_moments``), where in its schedule the target begins, and
what breaks the symmetry of copied units. A method that acts while its target trains (masks,
frozen blocks) says so with ``during``.
"""

import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mugrow.bench import entries
from mugrow.bench.entries import Registry, in_one_line, keyword_params
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.optim import BufferKind
from mugrow.bench.spec import ModelSpec, Scalar, Start, UserError

Axis = Literal["width", "depth"]
FIELDS: dict[Axis, tuple[str, ...]] = {
    "width": ("width", "head_size", "mlp_ratio", "kv_heads", "query_heads", "mlp_units"),
    "depth": ("depth",),
}
NAME = re.compile(r"[\w.+-]+(@[0-9a-f]+)?")  # behind @, the hash of the file that it is from
Params = Mapping[str, Scalar]
Pair = Callable[[ModelSpec, ModelSpec, Params], str | None]


class Moments(NamedTuple):
    """What an optimizer keeps of a model, by parameter name: ``m`` scales like the gradient and
    ``v`` like its square. Adam's first and second moments."""

    m: Weights
    v: Weights


def _nothing(trained: Weights) -> Weights:
    return trained


@dataclass(frozen=True)
class During:
    """What a method does while its target trains, for one member; ``t`` counts its steps from 0.

    The optimizer trains ``lift(start)``, tensors under the model's own names, and the model runs on
    ``used(trained, t, rng)``, through which gradients flow; ``rng`` is ``None`` at validation, and
    otherwise a stream of its own for every step. ``rates(t)`` multiplies the learning rate of the
    tensors it names, by a number or entry by entry: 0 freezes. ``norm_mask(t)``, of shape
    ``(width,)``, weighs the residual stream's coordinates in the statistics of every norm; ``None``
    where all count alike.
    """

    lift: Callable[[Weights], Weights] = _nothing
    used: Callable[[Weights, int, torch.Generator | None], Weights] | None = None
    rates: Callable[[int], Mapping[str, float | Tensor]] | None = None
    norm_mask: Callable[[int], Tensor | None] | None = None

    def decoder_at(self, decoder: Decoder, t: int, like: Tensor) -> Decoder:
        """The model as it runs at step ``t``, on tensors of the dtype and device of ``like``."""
        mask = self.norm_mask(t) if self.norm_mask else None
        return decoder if mask is None else replace(decoder, norm_mask=mask.to(like))


def any_pair(small: ModelSpec, big: ModelSpec) -> str | None:
    """``supports`` of a method that grows whatever differs along its axes alone."""
    return None


def exact(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """``breaks`` of a method that preserves the logits wherever it is supported."""
    return None


def _changes(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    return "nothing is preserved"


def _all_live(small: ModelSpec, big: ModelSpec, params: Params) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True)
class GrowthMethod:
    """One entry.

    ``axes`` is what may differ between source and target, and ``shrinks`` in which direction;
    ``supports`` gives the reason why a pair of shapes that differ along ``axes`` alone cannot be
    grown, ``None`` when it can. ``preserves`` says in words which function survives and when, and
    ``breaks`` decides it: ``None`` where the logits are the source's, else the reason why not.
    ``dead`` names the tensors whose gradient is exactly zero in the first two steps.

    ``grow_moments(moments, small, big, rng, **params)`` grows the optimizer's state, ``m`` and
    ``v`` each by itself; ``rng`` is in the state it had for ``grow``. ``equivalent`` claims more:
    under muP, with moments carried, the target's training is its source's own, continued.
    ``during(small, big, steps, **params)`` acts on the training of ``steps`` steps. ``stages(small,
    big, params)`` are the shapes that are grown into and trained one after the other, the last of
    them ``big``; by default that alone. A method that trains something itself names in
    ``learning_steps`` its parameter for the number of batches that takes, which are charged to the
    run: it is given ``batches``, a function of a step to tokens ``(B, T + 1)``. ``choices`` are the
    values of those parameters that are one of a few words.

    >>> import mugrow
    >>> def grow(weights, small, big, init, rng, *, scale=1.0):
    ...     return {name: scale * tensor for name, tensor in init.items()}
    >>> entry = mugrow.GrowthMethod(
    ...     name="forget", summary="begins anew", paper="", axes=("width", "depth"),
    ...     preserves="nothing", supports=lambda small, big: None, grow=grow,
    ... )
    >>> entry.params
    {'scale': 1.0}
    """

    name: str
    summary: str
    paper: str
    axes: tuple[Axis, ...]
    preserves: str
    supports: Callable[[ModelSpec, ModelSpec], str | None]
    grow: Callable[..., Weights]
    breaks: Pair = _changes
    dead: Callable[[ModelSpec, ModelSpec, Params], frozenset[str]] = _all_live
    grow_moments: Callable[..., Moments] | None = None
    equivalent: bool = False
    during: Callable[..., During] | None = None
    stages: Callable[[ModelSpec, ModelSpec, Params], tuple[ModelSpec, ...]] | None = None
    learning_steps: str | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shrinks: bool = False
    needs_source: bool = True

    def __post_init__(self) -> None:
        """Raise the ``UserError`` of what cannot be named, called or grown along."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UserError(f"a method's name must be letters, digits, _ or -, not {self.name!r}")
        if not isinstance(self.axes, tuple) or any(one not in FIELDS for one in self.axes):
            raise UserError(
                f"axes of method {self.name!r} must be a tuple of {' and '.join(FIELDS)}, "
                f"not {self.axes!r}"
            )
        for call in ("supports", "grow", "breaks", "dead"):
            if not callable(getattr(self, call)):
                raise UserError(f"{call} of method {self.name!r} must be a function")

    @property
    def params(self) -> dict[str, Scalar]:
        """The method's own parameters and their defaults."""
        given = {"batches"} if self.learning_steps else set()
        return {
            name: value for name, value in keyword_params(self.grow).items() if name not in given
        }


_modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
REGISTRY = Registry(
    noun="method",
    type=GrowthMethod,
    package=__name__,
    constant="METHOD",
    builtin=("scratch", *(name for name in _modules if name != "scratch")),  # the baseline first
    group="mugrow.methods",
)
names = REGISTRY.names
FROM_FILES: dict[str, GrowthMethod] = {}  # see mugrow.bench.method_file


def method(name: str) -> GrowthMethod:
    """The method called ``name``: ours, a plug-in's, or one that was read from a file. Raises
    ``UserError``."""
    return FROM_FILES.get(name) or REGISTRY.get(name)


class MethodError(UserError):
    """What a growth method's own code did wrong, in one line that names it."""


def raised(name: str, error: BaseException) -> str:
    """One line that says which method raised what."""
    return f"{'plug-in ' * REGISTRY.is_plugin(name)}method {name!r} raised {in_one_line(error)}"


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Whatever the code of method ``name`` raises, as a ``MethodError``; a ``UserError`` is
    meant for the user and left as it is, and neither a lack of memory nor a signal is a mistake of
    the method's."""
    try:
        yield
    except (UserError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # somebody else's function may raise anything, and may exit
        raise MethodError(raised(name, error)) from error


def stages(
    entry: GrowthMethod, small: ModelSpec, big: ModelSpec, params: Params
) -> tuple[ModelSpec, ...]:
    """The shapes grown into one after the other, the last of them ``big``. Raises ``UserError``
    where there is no such way."""
    if entry.stages is None:
        return (big,)
    with blamed(entry.name):
        shapes = entry.stages(small, big, {**entry.params, **params})
        assert shapes[-1] == big, "stages do not end in the target"
        return shapes


def check_start(entry: GrowthMethod, start: Start) -> None:
    """Raise the ``UserError`` of a start that the method cannot have."""
    if start.optimizer == "carry" and entry.grow_moments is None:
        raise UserError(f"method {entry.name!r} does not carry the optimizer's state")
    if start.noise and entry.shrinks:  # it would also fill the zeros of what was pruned
        raise UserError(f"method {entry.name!r} makes no copies that noise could part")
    if start.new_rate != 1 and (entry.shrinks or not entry.needs_source):
        raise UserError(f"method {entry.name!r} adds nothing to a source; leave new_rate at 1")
    if start.new_rate != 1 and entry.learning_steps:
        raise UserError(f"method {entry.name!r} mixes what it learns; leave new_rate at 1")


def check_growth(
    entry: GrowthMethod, small: ModelSpec, big: ModelSpec, params: Mapping[str, Scalar]
) -> None:
    """Raise the ``UserError`` of a growth that cannot be done, before anything trains."""
    check_params(entry, params)
    _check_direction(entry, small, big)
    may_differ = {name for axis in entry.axes for name in FIELDS[axis]}
    for name in (one.name for one in fields(ModelSpec)):
        ours, theirs = getattr(small, name), getattr(big, name)
        if ours != theirs and name not in may_differ:
            changes = f"grows {' and '.join(entry.axes)} only" if entry.axes else "keeps the shape"
            raise UserError(
                f"method {entry.name!r} {changes}: the target's {name} "
                f"must be its source's {ours!r}, not {theirs!r}"
            )
    with blamed(entry.name):
        reason = entry.supports(small, big)
    if reason:
        raise UserError(f"method {entry.name!r} cannot grow this source: {reason}")
    stages(entry, small, big, params)


def _check_direction(entry: GrowthMethod, small: ModelSpec, big: ModelSpec) -> None:
    for name in ("width", "depth"):
        source, target = getattr(small, name), getattr(big, name)
        if target < source and not entry.shrinks and entry.needs_source:
            raise UserError(
                f"the target (width {big.width}, depth {big.depth}) is smaller than its source "
                f"(width {small.width}, depth {small.depth}): {name} must be at least {source}"
            )
        if target > source and entry.shrinks:
            raise UserError(
                f"method {entry.name!r} shrinks its source: {name} must be at most {source}, "
                f"not {target}"
            )


def grow_buffers(
    entry: GrowthMethod,
    buffers: Mapping[str, Weights],
    kinds: Mapping[str, BufferKind],
    small: Decoder,
    big: Decoder,
    rng: Callable[[], torch.Generator],
    params: Params,
) -> dict[str, Weights]:
    """An optimizer's buffers grown by the method's own rule for moments, each as its kind says: in
    pairs of one like the gradient and one like its square, with zeros for one that is missing.
    ``rng`` makes the generator anew, so units are copied alike in all of them."""
    assert entry.grow_moments is not None, entry.name
    of_kind = {
        kind: [name for name in kinds if kinds[name] == kind] for kind in ("gradient", "square")
    }
    grown: dict[str, Weights] = {}
    for pair in zip_longest(of_kind["gradient"], of_kind["square"]):
        known = buffers[pair[0] or pair[1]]
        zeros = {name: torch.zeros_like(tensor) for name, tensor in known.items()}
        given = Moments(*(zeros if name is None else buffers[name] for name in pair))
        new = entry.grow_moments(given, small, big, rng(), **params)
        grown |= {name: part for name, part in zip(pair, new, strict=True) if name is not None}
    return {name: grown[name] for name in kinds}


def check_params(entry: GrowthMethod, params: Params) -> None:
    """Raise the ``UserError`` of parameters that the method cannot have."""
    entries.check_params(f"method {entry.name!r}", entry.params, entry.choices, params)
