"""What a method is tried on: flavours of the decoder, ways to grow, parametrizations.

    flavour   norm x tied x biases x MLP x positions: 2^5 decoders;
              shared keys x rotary base x biases of q, k, v x q/k norm: 2^4 of LLaMA's kind;
              and two as published: GPT-NeoX (parallel, a share of the head rotary), OPT (ReLU)
    growth    width: more heads (whole and half ratio), larger heads, a wider MLP
              (of shared keys: more heads a group, more groups)
              depth: twice the blocks, half as many again;   both at once
    rules     sp, and mup with a base of half the source's width and head size, so that no
              multiplier is one

A method that shrinks is given the pairs the other way round, one that keeps the shape equal ones.
Weights are random, as after training: no gain is one and no bias zero, for a method that is right
on fresh weights alone is wrong.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mugrow.bench.errors import UserError
from mugrow.bench.growth import During, GrowthMethod, MethodError, check_growth, stages
from mugrow.bench.guarded_hooks import guarded_hooks
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.model_spec import CHOICES, ModelSpec, llama
from mugrow.bench.parametrization import Rules, generator, initial_weights, rules_of
from mugrow.bench.spec import Scalar

VOCABULARY, CONTEXT, SEQUENCES = 32, 8, 4
SMALL: dict[str, Any] = {
    "width": 16,
    "depth": 2,
    "head_size": 8,
    "context": CONTEXT,
    "vocab_size": VOCABULARY,
}
WIDER: dict[str, dict[str, Any]] = {
    "heads 2 to 4": {"width": 32},
    "heads 2 to 3": {"width": 24},
    "head size 8 to 16": {"width": 32, "head_size": 16},
    "MLP 4 to 8": {"mlp_ratio": 8.0},
}
GROUPED: dict[str, Any] = {**SMALL, "head_size": 4, "kv_heads": 2}
QWEN: dict[str, Any] = {"rope_theta": 1e6, "qkv_bias": True, "qk_norm": True}
NEOX: dict[str, Any] = {"positions": "rope", "rotary_fraction": 0.5, "parallel": True}
OPT: dict[str, Any] = {"mlp": "relu", "position_offset": 2, "tied": True, "padded_vocab": 40}
WIDER_GROUPED: dict[str, dict[str, Any]] = {
    "heads 4 to 8 in 2 groups": {"width": 32},
    "heads 4 to 6 in 2 groups": {"width": 24},
    "heads 4 to 8, groups 2 to 4": {"width": 32, "kv_heads": 4},
    "head size 4 to 8": {"width": 32, "head_size": 8},
}
DEEPER: dict[str, dict[str, Any]] = {"depth 2 to 4": {"depth": 4}, "depth 2 to 3": {"depth": 3}}
BOTH: dict[str, dict[str, Any]] = {"heads 2 to 4, depth 2 to 4": {"width": 32, "depth": 4}}
BOTH_GROUPED: dict[str, dict[str, Any]] = {
    "heads 4 to 8, groups 2 to 4, depth 2 to 4": {"width": 32, "kv_heads": 4, "depth": 4}
}
FIRST = ("same", "heads 2 to 4", "depth 2 to 4")
INIT_STD, LEARNING_STEPS = 0.1, 2


@dataclass(frozen=True)
class Case:
    """One growth; hyperparameters are meant at ``base``."""

    name: str
    parametrization: str
    base: ModelSpec
    small: ModelSpec
    big: ModelSpec

    def rules(self, model: ModelSpec) -> Rules:
        """Of one of its models, under its parametrization."""
        return rules_of(self.parametrization, model, self.base)

    def decoder(self, model: ModelSpec) -> Decoder:
        """One of its models, with the multipliers of its forward pass."""
        return Decoder(model, self.rules(model).multipliers)


def flavours(full: bool = False) -> dict[str, ModelSpec]:
    """The decoders by name: all 49, or GPT-2 and LLaMA with and without a tied head, and LLaMA
    with grouped keys and values, as it is and with all that Qwen has."""
    if not full:
        gpt2, llama_ = ModelSpec(**SMALL), llama(**SMALL)
        return {
            "gpt2": gpt2,
            "gpt2 tied": replace(gpt2, tied=True),
            "llama": llama_,
            "llama tied": replace(llama_, tied=True),
            **dict(_llamas((True,), (True, False))),
        }
    found = {}
    two: tuple[tuple[Any, ...], ...] = (CHOICES["norm"], ("gelu", "swiglu"), CHOICES["positions"])
    for norm, mlp, positions, tied, bias in product(*two, (False, True), (True, False)):
        words = (norm, mlp, positions, "tied" * tied, "bias" * bias)
        found[" ".join(filter(None, words))] = ModelSpec(
            **SMALL, norm=norm, mlp=mlp, positions=positions, tied=tied, bias=bias
        )
    published = {"neox": ModelSpec(**SMALL, **NEOX), "opt": ModelSpec(**SMALL, **OPT)}
    return found | dict(_llamas()) | published


def _llamas(
    grouped: tuple[bool, ...] = (True, False), same: tuple[bool, ...] = ()
) -> Iterator[tuple[str, ModelSpec]]:
    """LLaMA with grouped keys or not, and each of what Qwen has beside that, or, with ``same``, all
    of it or nothing."""
    chosen = [(one,) * len(QWEN) for one in same] or product((True, False), repeat=len(QWEN))
    for kv, given in product(grouped, chosen):
        changes = {name: QWEN[name] for name, one in zip(QWEN, given, strict=True) if one}
        if kv or changes:  # LLaMA as it is stands among the others
            words = ("llama", "grouped" * kv, *changes)
            yield " ".join(filter(None, words)), llama(**(GROUPED if kv else SMALL), **changes)


def growths(entry: GrowthMethod, grouped: bool = False) -> dict[str, dict[str, Any]]:
    """What changes from the smaller to the larger shape, by name."""
    wider, both = (WIDER_GROUPED, BOTH_GROUPED) if grouped else (WIDER, BOTH)
    found: dict[str, dict[str, Any]] = {} if entry.axes and entry.needs_source else {"same": {}}
    if entry.needs_source:
        found |= wider if "width" in entry.axes else {}
        found |= DEEPER if "depth" in entry.axes else {}
        found |= both if {"width", "depth"} <= set(entry.axes) else {}
    return found


def is_slow(entry: GrowthMethod) -> bool:
    """Whether growing takes training, so that a few cases must do."""
    return entry.learning_steps is not None


def cases(
    entry: GrowthMethod,
    params: Mapping[str, Scalar],
    full: bool = False,
    rules: tuple[str, ...] = ("sp", "mup"),
) -> tuple[Case, ...]:
    """Every flavour, growth and parametrization, whether or not the method supports it. Where a
    method grows in several stages, the first of them; of one that trains something itself, a few.
    """
    found = []
    models = flavours(full and not is_slow(entry))
    if is_slow(entry):
        models = {name: models[name] for name in ("gpt2", "llama")}
        rules = rules[-1:]
    for flavour, small in models.items():
        changed = growths(entry, small.groups < small.heads)
        if is_slow(entry):
            changed = {name: changed[name] for name in FIRST if name in changed}
        for (growth, changes), name in product(changed.items(), rules):
            base = replace(small, width=small.width // 2, head_size=small.head_size // 2)
            pair = (small, replace(small, **changes))
            source, target = pair[::-1] if entry.shrinks else pair
            with suppress(UserError):  # the reason why the case is then skipped
                target = stages(entry, source, target, params)[0]
            found.append(Case(f"{flavour}, {growth}, {name}", name, base, source, target))
    # of a slow one the diagonal: GPT-2 grows in one way, LLaMA in the other
    return tuple(found[:: len(changed) + 1] if is_slow(entry) else found)


def refusal(entry: GrowthMethod, case: Case, params: Mapping[str, Scalar]) -> str | None:
    """Why the method does not do this growth, ``None`` when it does. Raises ``MethodError``."""
    try:
        check_growth(entry, case.small, case.big, params)
    except MethodError:
        raise
    except UserError as error:
        return str(error)
    return None


def random_weights(spec: ModelSpec, seed: int = 0, dtype: torch.dtype = torch.float64) -> Weights:
    """Weights as after training; the logits are of order one."""
    return {name: tensor.to(dtype, copy=True) for name, tensor in _random(spec, seed).items()}


@lru_cache(maxsize=64)
def _random(spec: ModelSpec, seed: int) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (shape, kind) in parameters(spec).items():
        scale = 0.3 if kind in ("gain", "bias") else 1 / math.sqrt(shape[-1])
        unit = torch.randn(shape, generator=rng, dtype=torch.float64)
        weights[name] = scale * unit + (kind == "gain")
    return weights


def some_tokens(vocabulary: int = VOCABULARY) -> Tensor:
    """``(SEQUENCES, CONTEXT)``, every one of them a fair draw."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary, (SEQUENCES, CONTEXT), generator=rng)


def batches(vocabulary: int, step: int) -> Tensor:
    """Tokens ``(B, T + 1)`` for a method that learns: each is a little above the one before."""
    rng = generator("check batches", step)
    steps = torch.randint(4, (SEQUENCES, CONTEXT + 1), generator=rng)
    return steps.cumsum(1) % vocabulary


@dataclass(frozen=True)
class Grown:
    """A grown model, with the hooks that act on its training."""

    weights: Weights
    during: During | None

    def at_start(self, decoder: Decoder) -> tuple[Decoder, Weights]:
        """The model as it runs before its first step."""
        if self.during is None:
            return decoder, self.weights
        weights = self.during.lift(self.weights)
        if self.during.used is not None:
            weights = self.during.used(weights, 0, None)
        return self.during.decoder_at(decoder, 0, next(iter(weights.values()))), weights


def initial(case: Case, dtype: torch.dtype = torch.float64) -> Weights:
    """The target's own draw."""
    drawn = _drawn(case.big, case.parametrization, case.base)
    return {name: tensor.to(dtype, copy=True) for name, tensor in drawn.items()}


@lru_cache(maxsize=128)
def _drawn(model: ModelSpec, rules: str, base: ModelSpec) -> Weights:
    return initial_weights(model, rules_of(rules, model, base), INIT_STD, 1, torch.float64)


def grow(
    entry: GrowthMethod,
    case: Case,
    params: Mapping[str, Scalar],
    source: Weights,
    init: Weights,
    seed: int = 0,
    steps: int = 50,
) -> Grown:
    """The source grown, to train for ``steps``. A method that trains something itself does so for
    a few steps, unless ``params`` say otherwise."""
    given = dict(params)
    if entry.learning_steps is not None:
        given.setdefault(entry.learning_steps, LEARNING_STEPS)
        given["batches"] = lambda step: batches(case.big.vocab_size, step)  # type: ignore[assignment]
    weights = entry.grow(
        source,
        case.decoder(case.small),
        case.decoder(case.big),
        init,
        generator("growth", seed),
        **given,
    )
    if entry.during is None:
        return Grown(weights, None)
    during = entry.during(case.small, case.big, steps, **params)
    return Grown(weights, guarded_hooks(entry, during, case.big, alone=True))
