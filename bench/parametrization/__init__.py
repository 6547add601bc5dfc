"""Parametrizations: how initial scales, learning rates and the forward pass depend on the shape.

A parametrization is a pure function ``(model, base, **params) -> Rules``: for every parameter by
name the multipliers of the run's hyperparameters, and the multipliers of the forward pass. Nothing
is kept on tensors, so no copy, cast or checkpoint can lose it. One rule table a file in this
folder, or a plug-in: an entry point of the group ``mugrow.parametrizations`` whose value is a
``Parametrization``.

A run names its parametrization in one string, its own parameters colon-separated behind it:
``mup``, ``completep:alpha=0.5``, ``mup:attention=sqrt:gains=frozen``.

The number of steps is no shape. A parametrization that says how hyperparameters follow batch and
duration has a second pure function, ``(hyperparameters, step ratio) -> hyperparameters``.

A learning rate means something else in each family: muP's is near 2^-7, unit-scaled muP's near 1.
So an entry says where its own are looked for (``SearchRange``) and how its weights decay.
"""

import hashlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mugrow.bench import entries
from mugrow.bench.entries import Registry, keyword_params
from mugrow.bench.model import Multipliers, parameters
from mugrow.bench.spec import Decay, HyperSpec, ModelSpec, RunSpec, Scalar, UserError

StepSize = Literal["entrywise", "spectral", "gradient"]
"""What decides how far an optimizer moves a weight at a learning rate of one.

    entrywise   every coordinate about as far, whatever the gradient's scale (AdamW, Lion): of all
                these optimizers the maximal update is the same (arXiv 2308.01814)
    spectral    a matrix (out, in) by a spectral norm of sqrt(out / in) (Muon; arXiv 2310.17813)
    gradient    as far as the gradient says (SGD; arXiv 2203.03466, Table 8)
"""


class Rule(NamedTuple):
    """What one parameter's hyperparameters are multiplied by. Gains and biases have no init_std:
    they begin at one and zero. ``optimizer`` names one other than the run's where the rule is for
    that alone; the run's has its parameters if it is the same."""

    init_std: float = 1.0
    lr: float = 1.0
    weight_decay: float = 1.0
    eps: float = 1.0
    optimizer: str | None = None


@dataclass(frozen=True)
class Rules:
    """A rule for every parameter by name, and the multipliers of the forward pass. ``falling`` are
    the modules whose movement falls with the width on purpose, each with the reason: a coordinate
    check does not hold that against them."""

    tensors: dict[str, Rule]
    multipliers: Multipliers
    falling: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchRange:
    """Where the best hyperparameters at the base shape lie, the lowest and the highest: the log2 of
    the peak learning rate, for optimizers that step as far in every coordinate (AdamW) and for what
    the rules give to another; and the initial scale."""

    log2_lr: tuple[float, float]
    init_std: tuple[float, float]

    @property
    def middle_log2_lr(self) -> float:
        """The log2 of the learning rate in the middle."""
        return sum(self.log2_lr) / 2

    @property
    def middle_init_std(self) -> float:
        """The initial scale in the middle, in log2."""
        return math.sqrt(math.prod(self.init_std))


ADAMW = SearchRange(log2_lr=(-11.0, -4.0), init_std=(0.02, 0.5))
"""SP's and muP's. The best rates in this suite's studies are 2^-9.5 (SP at width 256) to 2^-6, and
most often its middle, 2^-7.5; GPT-2's scale of 0.02 lies in it too."""


@dataclass(frozen=True)
class Parametrization:
    """One entry. The keyword-only arguments of ``rules(model, base, **params)``, each with a
    default, are its parameters: numbers, or words that are one of ``choices``. ``step_sizes`` says
    for which optimizers the rules hold. ``search`` is where its hyperparameters are looked for,
    ``None`` where that is not known, and ``decay`` the weight decay that it is meant with.
    ``at_step_ratio`` gives hyperparameters for another batch and duration (``RunSpec.step_ratio``),
    ``None`` where they stay as they are."""

    name: str
    summary: str
    paper: str
    rules: Callable[..., Rules]
    step_sizes: tuple[StepSize, ...] = ("entrywise",)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    search: SearchRange | None = None
    decay: Decay = "scaled"
    at_step_ratio: Callable[[HyperSpec, float], HyperSpec] | None = None

    @property
    def params(self) -> dict[str, Scalar]:
        """Its own parameters and their defaults."""
        return keyword_params(self.rules)


REGISTRY = Registry(
    noun="parametrization",
    type=Parametrization,
    package=__name__,
    constant="PARAMETRIZATION",
    builtin=tuple(sorted(module.name for module in pkgutil.iter_modules(__path__))),
    group="mugrow.parametrizations",
)
names, parametrization = REGISTRY.names, REGISTRY.get


def parse(text: str) -> tuple[Parametrization, dict[str, Scalar]]:
    """``completep:alpha=0.5`` as the entry and the parameters that are given. Raises ``UserError``
    for an unknown name or parameter and for a wrong value."""
    return entries.parse(REGISTRY, text)


def canonical(text: str) -> str:
    """The one spelling of a parametrization. Raises what ``parse`` raises."""
    return entries.canonical(REGISTRY, text)


@lru_cache(maxsize=4096)
def rules_of(text: str, model: ModelSpec, base: ModelSpec) -> Rules:
    """The rules of ``model``, by the parametrization that ``text`` names, for hyperparameters that
    were tuned at ``base``. Raises what ``parse`` raises."""
    entry, params = parse(text)
    return entry.rules(model, base, **params)


def hyper_of(run: RunSpec) -> HyperSpec:
    """A run's hyperparameters at its batch and duration, to which ``rules_of`` its shape apply.
    Raises ``UserError`` where its parametrization has no rule for its step ratio."""
    if run.step_ratio == 1:
        return run.hyper
    entry, _ = parse(run.parametrization)
    if entry.at_step_ratio is None:
        able = [name for name in REGISTRY.builtin if parametrization(name).at_step_ratio]
        raise UserError(
            f"parametrization {entry.name!r} has no rule for batch and duration, so step_ratio "
            f"must be 1, not {run.step_ratio:g}; those that have one: {', '.join(able)}"
        )
    return entry.at_step_ratio(run.hyper, run.step_ratio)


def decays(kind: str) -> bool:
    """Weight decay is on matrices and embeddings; decayed gains are a known breaker of transfer
    (Lingle, arXiv 2404.05728)."""
    return kind not in ("gain", "bias")


def generator(*parts: object) -> torch.Generator:
    """A generator for one purpose: its stream depends on ``parts`` and on nothing drawn before."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def initial_weights(
    model: ModelSpec,
    rules: Rules,
    init_std: float | Mapping[str, float],
    seed: int,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Gains one, biases zero, all else normal with ``init_std``, one or by name, times its rule's
    multiplier.

    Each tensor has a stream of its own, so the same tensor of two models of one shape is the same
    draw, up to its scale, whatever the hyperparameters.
    """
    weights = {}
    for name, (shape, kind) in parameters(model).items():
        if kind in ("gain", "bias"):
            weights[name] = torch.full(shape, float(kind == "gain"), dtype=dtype)
        else:
            unit = torch.randn(shape, generator=generator("init", seed, name), dtype=torch.float64)
            std = init_std if isinstance(init_std, float | int) else init_std[name]
            weights[name] = (unit * std * rules.tensors[name].init_std).to(dtype)
    return weights
