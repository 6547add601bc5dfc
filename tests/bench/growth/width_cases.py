"""What the tests of the width operators share: a growth by name, its logits and its gradients."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from mugrow.bench.checks.cases import (
    CONTEXT,
    VOCABULARY,
    Case,
    grow,
    initial,
    random_weights,
    some_tokens,
)
from mugrow.bench.checks.preservation import logit_error as kit_logit_error
from mugrow.bench.growth import GrowthMethod, Moments, check_growth, method
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import ModelSpec, Scalar, llama

SIZE: dict[str, Any] = {
    "width": 16,
    "depth": 2,
    "head_size": 8,
    "context": CONTEXT,
    "vocab_size": VOCABULARY,
}
FLAVOURS = {
    "gpt2": ModelSpec(**SIZE),
    "gpt2 tied": ModelSpec(**SIZE, tied=True),
    "llama": llama(**SIZE),
    "llama tied": llama(**SIZE, tied=True),
}


def case(flavour: str, rules: str = "sp", **changes: Any) -> Case:
    """One of the flavours, grown by changes of its shape; its base is half as wide."""
    small = FLAVOURS[flavour]
    base = replace(small, width=8, head_size=4)
    return Case(f"{flavour} {rules}", rules, base, small, replace(small, **changes))


def grown(name: str, growth: Case, source: Weights | None = None, **params: Scalar) -> Weights:
    entry = method(name)
    check_growth(entry, growth.small, growth.big, params)
    source = random_weights(growth.small) if source is None else source
    return grow(entry, growth, params, source, initial(growth)).weights


def logit_error(name: str, growth: Case, **params: Scalar) -> float:
    return kit_logit_error(method(name), growth, params)


def error_of(growth: Case, weights: Weights) -> float:
    """The relative error of the logits of any weights, against those of the random source."""
    tokens = some_tokens()
    want = growth.decoder(growth.small)(random_weights(growth.small), tokens)
    got = growth.decoder(growth.big)(weights, tokens)
    return float((got - want).norm() / want.norm())


def gradients(decoder: Decoder, weights: Weights) -> Weights:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    tokens = some_tokens()
    logits = decoder(leaves, tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def carried(entry: GrowthMethod, growth: Case, params: Mapping[str, Scalar]) -> Moments:
    """The source's gradient and its square, grown as Adam's moments are."""
    gradient = gradients(growth.decoder(growth.small), random_weights(growth.small))
    assert entry.grow_moments is not None
    moments = Moments(gradient, {name: g.square() for name, g in gradient.items()})
    small, big = growth.decoder(growth.small), growth.decoder(growth.big)
    return Moments(*entry.grow_moments(moments, small, big, generator("growth", 0), **params))


def check_moments_are_the_gradients(name: str, growth: Case, **params: Scalar) -> None:
    """Moments grow as the gradient of the grown model is to the source's, where they are not 0."""
    moments = carried(method(name), growth, params)
    truth = gradients(growth.decoder(growth.big), grown(name, growth, **params))
    for tensor, gradient in truth.items():
        kept = moments.m[tensor] != 0
        assert kept.any() or not tensor.startswith("blocks.0."), tensor
        difference = (moments.m[tensor] - gradient)[kept]
        torch.testing.assert_close(difference, torch.zeros_like(difference), rtol=0, atol=1e-14)
        difference = (moments.v[tensor] - gradient.square())[kept]
        torch.testing.assert_close(difference, torch.zeros_like(difference), rtol=0, atol=1e-14)
