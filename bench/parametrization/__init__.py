"""Parametrizations: how initial scales, learning rates and the forward pass depend on width.

A parametrization is a pure function ``(model, base) -> Rules``: for every parameter by name the
multipliers of the run's hyperparameters, and the multipliers of the forward pass. Nothing is kept
on tensors, so no copy, cast or checkpoint can lose it. One rule table a file; ``PARAMETRIZATIONS``
is the registry.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from bench.model import Multipliers, parameters
from bench.spec import ModelSpec, unknown


class Rule(NamedTuple):
    """What one parameter's hyperparameters are multiplied by. Gains and biases have no init_std:
    they begin at one and zero."""

    init_std: float = 1.0
    lr: float = 1.0
    weight_decay: float = 1.0
    eps: float = 1.0


@dataclass(frozen=True)
class Rules:
    tensors: dict[str, Rule]
    multipliers: Multipliers


@dataclass(frozen=True)
class Parametrization:
    name: str
    summary: str
    paper: str
    rules: Callable[[ModelSpec, ModelSpec], Rules]


NAMES = ("sp", "mup")


def parametrization(name: str) -> Parametrization:
    """The registered parametrization called ``name``; ``UserError`` when there is none."""
    if name not in NAMES:
        raise unknown("parametrization", name, NAMES)
    entry = import_module(f"bench.parametrization.{name}").PARAMETRIZATION
    assert isinstance(entry, Parametrization)
    return entry


def decays(kind: str) -> bool:
    """Weight decay is on matrices and embeddings; decayed gains are a known breaker of transfer
    (Lingle, arXiv 2404.05728)."""
    return kind not in ("gain", "bias")


def generator(*parts: object) -> torch.Generator:
    """A generator for one purpose: its stream depends on ``parts`` and on nothing drawn before."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def initial_weights(
    model: ModelSpec, rules: Rules, init_std: float, seed: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Gains one, biases zero, all else normal with ``init_std`` times its rule's multiplier.

    Each tensor has a stream of its own, so the same tensor of two models of one shape is the same
    draw, up to its scale, whatever the hyperparameters.
    """
    weights = {}
    for name, (shape, kind) in parameters(model).items():
        if kind in ("gain", "bias"):
            weights[name] = torch.full(shape, float(kind == "gain"), dtype=dtype)
        else:
            unit = torch.randn(shape, generator=generator("init", seed, name), dtype=torch.float64)
            weights[name] = (unit * init_std * rules.tensors[name].init_std).to(dtype)
    return weights
