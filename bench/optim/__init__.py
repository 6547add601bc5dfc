"""Optimizers: numbers kept of every coordinate, and a pure step made of them and a gradient.

With f the schedule's factor, one update of a weight w is, for every optimizer here,

    w <- w - f * (lr * direction + decay * w)

with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101). What differs is the
direction, and what is remembered to compute it: AdamW's two moments, Lion's and Muon's momentum.
One optimizer a file in this folder, or a plug-in: an entry point of the group
``mugrow.optimizers`` whose value is an ``Optimizer``.

A run names its optimizer in one string, its own parameters colon-separated behind it: ``adamw``,
``lion:beta2=0.98``, ``muon:momentum=0.9:steps=6``. An optimizer of matrices trains the hidden ones,
and AdamW the rest. A parametrization may give some tensors to one optimizer, whatever the run's
(``spectral`` gives hidden matrices to Muon), which has the run's parameters if the run names it.

Whether a parametrization's learning rates hold for an optimizer depends on what decides the size of
its steps (``mugrow.bench.parametrization.StepSize``); a pair without a rule is refused.

A growth method carries the state of optimizers that it has never heard of, since each buffer says
how it scales with the gradient (``BufferKind``).
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from mugrow.bench import entries, parametrization
from mugrow.bench.entries import Registry, keyword_params
from mugrow.bench.model import parameters
from mugrow.bench.modules import by_tensor, touched
from mugrow.bench.parametrization import StepSize, hyper_of, rules_of
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, Scalar, UserError, unknown

BufferKind = Literal["gradient", "square"]
"""How a buffer scales: like the gradient, or like its square, which is never negative."""

ADAM_ONLY = ("beta1", "beta2", "eps")  # the fields of HyperSpec that not all optimizers read
RESERVED = ("weights", "updates", "loss_sum", "average")  # names in the file of a stack in flight


class Members(NamedTuple):
    """What an update knows of each member, ``(K, 1)``. ``updates`` counts from 1, in float64;
    ``bias`` is 1 - beta^updates, the share of a mean's weights that are on gradients seen so far.
    Where modules have betas of their own, betas and biases are as eps is: they broadcast.
    """

    beta1_K1: Tensor
    beta2_K1: Tensor
    bias1_K1: Tensor
    bias2_K1: Tensor
    updates_K1: Tensor


class Update(NamedTuple):
    """What a step is given of some coordinates: the gradient, clipped, which it may write on; the
    buffers, which it brings up to date in place; eps, by its tensor's rule.

    Gradient and buffers are of one shape: ``(K, C)``, any coordinates of K members, or for an
    optimizer of matrices ``(K, n, ..., out, in)``, n of one shape. Eps is of that shape or, where
    it is one number a member, of size 1 along the others: it broadcasts.
    """

    gradient: Tensor
    buffers: Mapping[str, Tensor]
    eps: Tensor
    members: Members


@dataclass(frozen=True)
class Optimizer:
    """One entry.

    ``buffers`` names the numbers kept of every coordinate, zero at first, with the kind of each.
    ``step(update, **params)`` returns the direction, in a tensor of its own: what a weight moves
    by, downwards, at a learning rate of one. Its keyword-only arguments, each with a default, are
    the optimizer's parameters; those in ``fractions`` are at least 0 and below 1, and words are one
    of ``choices``. ``reads`` are those of ``ADAM_ONLY`` that it uses.
    """

    name: str
    summary: str
    paper: str
    step_size: StepSize
    buffers: Mapping[str, BufferKind]
    step: Callable[..., Tensor]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fractions: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in self.buffers.items():
            if name in RESERVED:
                raise UserError(f"optimizer {self.name!r} cannot call a buffer {name!r}")
            if kind not in get_args(BufferKind):
                raise unknown(f"kind of buffer {name!r}:", kind, get_args(BufferKind))

    @property
    def params(self) -> dict[str, Scalar]:
        """Its own parameters and their defaults."""
        return keyword_params(self.step)


REGISTRY = Registry(
    noun="optimizer",
    type=Optimizer,
    package=__name__,
    constant="OPTIMIZER",
    builtin=tuple(sorted(module.name for module in pkgutil.iter_modules(__path__))),
    group="mugrow.optimizers",
)
names, optimizer = REGISTRY.names, REGISTRY.get


def parse(text: str) -> tuple[Optimizer, dict[str, Scalar]]:
    """``muon:momentum=0.9`` as the entry and the parameters that are given. Raises ``UserError``
    for an unknown name or parameter and for a wrong value."""
    entry, params = entries.parse(REGISTRY, text)
    for name in entry.fractions:
        value = params.get(name, 0.0)
        if not 0 <= float(value) < 1:
            raise UserError(
                f"{name} of optimizer {entry.name!r} must be at least 0 and below 1, not {value}"
            )
    return entry, params


def canonical(text: str) -> str:
    """The one spelling of an optimizer. Raises what ``parse`` raises."""
    parse(text)
    return entries.canonical(REGISTRY, text)


class Trainer(NamedTuple):
    """What trains a tensor: an optimizer, and those of its parameters that are given."""

    optimizer: Optimizer
    params: Mapping[str, Scalar]


@lru_cache(maxsize=4096)
def trainers_of(
    text: str, rules_name: str, model: ModelSpec, base: ModelSpec
) -> Mapping[str, Trainer]:
    """What trains each parameter of ``model``, by name, under the optimizer that ``text`` names and
    the parametrization that ``rules_name`` does. Raises ``UserError`` for a pair without a rule,
    and what ``parse`` raises."""
    chosen = Trainer(*parse(text))
    rules = rules_of(rules_name, model, base)
    _check_rule(chosen.optimizer, parametrization.parse(rules_name)[0])
    rest = chosen
    if chosen.optimizer.step_size == "spectral":
        rest = Trainer(optimizer("adamw"), {})
    trainers = {}
    for name, (_, kind) in parameters(model).items():
        wanted = rules.tensors[name].optimizer
        if wanted is not None and wanted != chosen.optimizer.name:
            trainers[name] = Trainer(optimizer(wanted), {})
        else:
            trainers[name] = chosen if wanted or kind == "matrix" else rest
    return trainers


def _check_rule(entry: Optimizer, rules: parametrization.Parametrization) -> None:
    if entry.step_size not in rules.step_sizes:
        ours = map(parametrization.parametrization, parametrization.REGISTRY.builtin)
        able = [other.name for other in ours if entry.step_size in other.step_sizes]
        raise UserError(
            f"parametrization {rules.name!r} has no rule for optimizer {entry.name!r}, whose step "
            f"size is {entry.step_size}; those that have one: {', '.join(able)}"
        )


def buffers_of(spec: RunSpec) -> dict[str, BufferKind]:
    """The buffers that a run's optimizers keep, all of them for every coordinate: two optimizers
    of one run share those of one name. Raises what ``trainers_of`` raises."""
    found: dict[str, BufferKind] = {}
    for trainer in _trainers(spec).values():
        for name, kind in trainer.optimizer.buffers.items():
            assert found.setdefault(name, kind) == kind, f"buffer {name} is of two kinds"
    return dict(sorted(found.items()))


def check_optimizer(spec: RunSpec) -> None:
    """Raise the ``UserError`` of a run whose optimizer has no rule or does not read what is set,
    and of one whose batch and duration, or some module, have none."""
    by_tensor(spec.model, hyper_of(spec))
    read = {name for trainer in _trainers(spec).values() for name in trainer.optimizer.reads}
    for one in fields(HyperSpec):
        value = getattr(spec.hyper, one.name)
        if one.name in ADAM_ONLY and one.name not in read and value != one.default:
            raise UserError(
                f"optimizer {spec.optimizer!r} does not read hyper.{one.name}, so {value} would "
                f"change nothing; it must be left at {one.default}"
            )
    _check_modules(spec)
    if spec.step_ratio != 1 and not read.issuperset(ADAM_ONLY):
        raise UserError(
            f"optimizer {spec.optimizer!r} has no rule for batch and duration in parametrization "
            f"{spec.parametrization!r}, whose rule is Adam's: take adamw, or as many steps as the "
            "proxy's"
        )


def _check_modules(spec: RunSpec) -> None:
    trainers = _trainers(spec)
    for multiplier, _ in spec.hyper.modules:
        name = multiplier.partition(".")[0]
        trained = [trainers[tensor].optimizer for tensor in touched(spec.model, multiplier)]
        if name in ADAM_ONLY and not any(name in one.reads for one in trained):
            raise UserError(
                f"optimizer {trained[0].name!r} does not read {name}, so {multiplier!r} would "
                "change nothing; leave it out"
            )
        if name == "weight_decay" and spec.hyper.weight_decay == 0:
            raise UserError(
                f"{multiplier!r} would change nothing where hyper.weight_decay is 0; leave it out"
            )
        if name == "residual" and any(one.step_size == "gradient" for one in trained):
            raise UserError(
                f"{multiplier!r} is for optimizers that do not see a gradient's scale, unlike "
                f"{trained[0].name!r}; leave it out"
            )


def _trainers(spec: RunSpec) -> Mapping[str, Trainer]:
    return trainers_of(spec.optimizer, spec.parametrization, spec.model, spec.base)
