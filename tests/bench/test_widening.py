"""Exact widening: a source whose units are repeated, moments and all, goes on training as before.

The strictest oracle of a parametrization in width: rates, decays, eps and forward multipliers must
all be right, in every tensor, for two curves of 20 steps to agree to a billionth of a nat.
"""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from mugrow.bench.data.batches import TokenData
from mugrow.bench.model import flatten, parameters, unflatten
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.stack import Stack, StackState, begin
from mugrow.bench.stacked_optimizer import OptimizerState
from mugrow.bench.train import advance, train

STEPS, TIMES = 20, 3
VOCAB, CONTEXT, SEQUENCES = 32, 12, 4
BASE = ModelSpec(width=16, depth=2, head_size=8, context=CONTEXT, vocab_size=VOCAB)
LLAMA = replace(BASE, norm="rmsnorm", mlp="swiglu", tied=True)
EXACT = 1e-9  # nats


@cache
def tokens() -> TokenData:
    rng = np.random.Generator(np.random.Philox(5))
    stream = np.cumsum(rng.integers(0, 4, size=4096)) % VOCAB  # learnable: small steps
    return TokenData("steps", "", stream.astype("<u2"), stream.astype("<u2"), VOCAB, None)


def run_of(parametrization: str, model: ModelSpec = BASE, **hyper: object) -> RunSpec:
    given = {"lr": 0.01, "init_std": 0.2, "clip": 0.0, "eps": 1e-6} | hyper
    return RunSpec(
        model=model,
        base=model,
        parametrization=parametrization,
        hyper=HyperSpec(**given),  # type: ignore[arg-type]
        schedule=ScheduleSpec(kind="constant", warmup=0.0),
        data=DataSpec(corpus="steps", corpus_sha256="", val_tokens=CONTEXT),
        batch_sequences=SEQUENCES,
        steps=STEPS,
        seed=3,
        data_seed=4,
        log_every=1,
        dtype="float64",
    )


def train_losses(state: StackState) -> list[float]:
    return [float(row["train_loss"]) for row in state.curves[0][1:]]  # type: ignore[arg-type]


def widened(spec: ModelSpec, weights: dict[str, Tensor], copied: str) -> dict[str, Tensor]:
    """Every unit ``TIMES`` times; what sums over inputs is divided by it, but for the readout,
    whose forward multiplier does it. ``copied``: whole heads are repeated, or the units in each."""

    def heads(w: Tensor, dim: int) -> Tensor:
        if copied == "head size":
            return w.repeat_interleave(TIMES, dim)
        grouped = w.unflatten(dim, (-1, spec.head_size)).repeat_interleave(TIMES, dim)
        return grouped.flatten(dim, dim + 1)

    wide = {}
    for name, w in weights.items():
        kind, layer = parameters(spec)[name].kind, name.split(".")[-2]
        if kind in ("embedding", "readout"):
            wide[name] = w.repeat_interleave(TIMES, 1)
        elif kind in ("gain", "bias"):
            wide[name] = heads(w, 0) if layer in "qkv" else w.repeat_interleave(TIMES, 0)
        else:
            rows = heads(w, 0) if layer in "qkv" else w.repeat_interleave(TIMES, 0)
            columns = heads(rows, 1) if layer == "o" else rows.repeat_interleave(TIMES, 1)
            wide[name] = columns / TIMES
    return wide


def preserving(run: RunSpec, wide: ModelSpec) -> dict[str, float]:
    """What some tensors must be multiplied by for the wide model's logits to be its source's; one
    everywhere if readout and attention are divided by the width and the head size."""
    small, big = (
        rules_of(run.parametrization, model, run.base).multipliers for model in (run.model, wide)
    )
    larger = wide.head_size / run.model.head_size
    ends = ("norm.gain", "norm.bias") if wide.tied else ("head.weight",)
    factors = dict.fromkeys(ends, small.output / big.output / TIMES)
    for name in parameters(wide):
        if ".attention.q." in name:
            factors[name] = small.attention / big.attention * larger**0.5 / larger
    return factors


def continued(spec: RunSpec, optimizer: OptimizerState) -> list[float]:
    """The losses of a run that goes on from a state, its batches those of its first steps."""
    rules = rules_of(spec.parametrization, spec.model, spec.base)
    state = begin(Stack([spec]), [initial_weights(spec.model, rules, 1.0, 0, torch.float64)])
    state.optimizer = optimizer
    for _ in advance(Stack([spec]), state, tokens()):
        pass
    return train_losses(state)


@cache
def source_of(run: RunSpec) -> tuple[OptimizerState, list[float]]:
    """The state after a source's training, and the losses with which it goes on."""
    rules = rules_of(run.parametrization, run.model, run.base)
    init_std = run.hyper.init_std
    weights = initial_weights(run.model, rules, init_std, run.seed, torch.float64)
    optimizer = train(Stack([run]), [weights], tokens()).optimizer
    expected = continued(run, deepcopy(optimizer))
    assert expected[0] - expected[-1] > 0.05  # it learns, so that there is something to get wrong
    return optimizer, expected


def difference(run: RunSpec, copied: str, m: float = TIMES, v: float = TIMES**2) -> float:
    """The largest difference in nats of the wide model's losses from its source's. Gradients of
    all copies are alike, whatever the tensor's role; moments are divided by ``m`` and ``v``."""
    source, expected = source_of(run)
    spec = run.model
    head_size = spec.head_size * (TIMES if copied == "head size" else 1)
    wide = replace(spec, width=TIMES * spec.width, head_size=head_size)
    factors = preserving(run, wide)

    def grown(flat_KP: Tensor, power: int, divided_by: float) -> Tensor:
        """Weights at power 1; moments, the gradient's first and second power, at -1 and -2."""
        named = widened(spec, unflatten(spec, flat_KP[0]), copied)
        for name, tensor in named.items():
            if power < 0 and parameters(spec)[name].kind == "matrix":
                tensor *= TIMES
            tensor *= factors.get(name, 1.0) ** power
        return flatten(wide, named)[None] / divided_by

    buffers = {"m": grown(source.buffers["m"], -1, m)}
    if "v" in source.buffers:
        buffers["v"] = grown(source.buffers["v"], -2, v)
    weights = grown(source.weights_KP, 1, 1)
    optimizer = OptimizerState(weights, buffers, source.updates_K1.clone())
    losses = continued(replace(run, model=wide), optimizer)
    assert abs(losses[0] - expected[0]) < EXACT  # the same function to begin with
    return float(np.abs(np.subtract(losses, expected)).max())


COPIED = ("head count", "head size")
UMUP = "umup:embedding=constant"
EXACT_ONES = ("mup", "completep:alpha=0.5", "completedp", "spectral", UMUP)


def scaled_run(parametrization: str, **hyper: object) -> RunSpec:
    """A run whose hyperparameters are of the size that its parametrization means them in."""
    unit = {"lr": 0.25, "init_std": 1.0} if parametrization.startswith("umup") else {}
    return run_of(parametrization, **unit | hyper)


@pytest.mark.parametrize("copied", COPIED)
@pytest.mark.parametrize("parametrization", EXACT_ONES)
def test_a_widened_model_trains_as_its_source_does(parametrization: str, copied: str) -> None:
    run = scaled_run(parametrization)
    assert difference(run, copied) < EXACT
    assert difference(run, copied, m=1, v=1) > 1e-4  # the moments of the source are not the model's


@pytest.mark.integration
@pytest.mark.parametrize("copied", COPIED)
@pytest.mark.parametrize("parametrization", EXACT_ONES)
def test_so_it_does_under_lion(parametrization: str, copied: str) -> None:
    lr = 0.05 if parametrization.startswith("umup") else 0.003
    run = replace(scaled_run(parametrization, lr=lr), optimizer="lion")
    assert difference(run, copied) < EXACT
    assert difference(run, copied, m=1) > 1e-4


def test_under_lion_there_is_no_eps_to_forget_and_sp_is_as_wrong() -> None:
    assert (
        difference(replace(run_of("mup_package", lr=0.003), optimizer="lion"), "head count") < EXACT
    )
    assert difference(replace(run_of("sp", lr=0.003), optimizer="lion"), "head count") > 0.05


@pytest.mark.parametrize("copied", COPIED)
def test_so_does_the_other_flavour(copied: str) -> None:
    assert difference(run_of("mup", LLAMA), copied) < EXACT


@pytest.mark.parametrize("parametrization", ["mup:decay=unscaled", "spectral", UMUP])
def test_independent_decay_leaves_nothing_to_scale(parametrization: str) -> None:
    run = scaled_run(parametrization, decay="independent", weight_decay=1e-3)
    assert difference(run, "head count") < EXACT


def test_unscaled_decay_of_hidden_matrices_is_a_breaker() -> None:
    assert difference(run_of("mup:decay=unscaled"), "head count") > 1e-3


def test_unscaled_attention_is_a_breaker_where_heads_grow() -> None:
    run = run_of("mup:attention=sqrt")
    assert difference(run, "head count") < EXACT
    assert difference(run, "head size") > 1e-3


def test_the_package_is_wrong_by_the_eps_it_forgets() -> None:
    assert difference(run_of("mup_package", eps=1e-4), "head count") > 1e-3
    assert difference(run_of("mup", eps=1e-4), "head count") < EXACT
    assert difference(run_of("mup_package", eps=1e-40), "head count") < EXACT


def test_the_papers_eps_of_the_final_norm_is_wrong_in_width() -> None:
    assert difference(run_of("completedp:final_norm_eps=constant", eps=1e-4), "head count") > 1e-4
    assert difference(run_of("completedp", eps=1e-4), "head count") < EXACT
    assert difference(run_of("completedp", LLAMA), "head count") < EXACT


@pytest.mark.parametrize("parametrization", ["sp", "sp_embedding"])
def test_the_standard_parametrization_takes_other_steps_at_every_width(
    parametrization: str,
) -> None:
    assert difference(run_of(parametrization), "head count") > 0.1


def test_unit_scaled_mups_own_rule_for_the_embedding_is_not_width_equivalent() -> None:
    assert difference(scaled_run("umup"), "head count") > 0.01
