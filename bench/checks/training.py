"""Training for the checks: a few steps of a tiny model, by the suite's own program.

The text is a random walk on the vocabulary, each token up to three above the one before it: there
is something to learn, and it is learned in tens of steps.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mugrow.bench.checks.cases import CONTEXT, INIT_STD, SEQUENCES, VOCABULARY, Case, Grown
from mugrow.bench.data.batches import TokenData
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.parametrization import initial_weights
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.stack import Carried, Stack, StackState, begin, carried_state, model_weights
from mugrow.bench.train import advance

SOURCE_STEPS, LR = 20, 0.01


@lru_cache(maxsize=1)
def walk() -> TokenData:
    """The random walk, which trains and validates."""
    rng = np.random.Generator(np.random.Philox(5))
    stream = (np.cumsum(rng.integers(0, 4, size=4096)) % VOCABULARY).astype("<u2")
    return TokenData("walk", "", stream, stream, VOCABULARY, None)


def run_spec(
    case: Case, model: ModelSpec, steps: int, seed: int = 0, lr: float = LR, log_every: int = 0
) -> RunSpec:
    """A run in float64 at a constant rate, nothing clipped. Its curve has a first and a last row,
    unless ``log_every`` says otherwise."""
    return RunSpec(
        model=model,
        base=case.base,
        parametrization=case.parametrization,
        hyper=HyperSpec(lr=lr, init_std=INIT_STD, clip=0.0),
        schedule=ScheduleSpec(kind="constant", warmup=0.0),
        data=DataSpec(corpus="walk", corpus_sha256="", val_tokens=2 * CONTEXT),
        batch_sequences=SEQUENCES,
        steps=steps,
        seed=seed,
        data_seed=1,
        log_every=log_every or steps,
        dtype="float64",
    )


def train(spec: RunSpec, start: Grown, carried: Carried | None = None) -> tuple[Stack, StackState]:
    """A run from this start to its end, with the hooks of what was grown."""
    stack = Stack([spec], during=start.during)
    state = begin(stack, [start.weights], [carried])
    for _ in advance(stack, state, walk()):
        pass
    return stack, state


def trained_source(case: Case, seed: int = 0, lr: float = LR) -> tuple[Weights, Carried]:
    """The weights and the optimizer's state of a source after some steps. It is the same for all
    methods; each is given a copy, since one may write on what it is given."""
    weights, (buffers, updates) = _trained(replace(case, name="", big=case.small), seed, lr)
    copies = {name: _copy(buffer) for name, buffer in buffers.items()}
    return _copy(weights), Carried(copies, updates)


def _copy(weights: Weights) -> Weights:
    return {name: tensor.clone() for name, tensor in weights.items()}


@lru_cache(maxsize=64)
def _trained(case: Case, seed: int, lr: float) -> tuple[Weights, Carried]:
    spec = run_spec(case, case.small, SOURCE_STEPS, seed, lr)
    init = initial_weights(case.small, case.rules(case.small), INIT_STD, seed, torch.float64)
    stack, state = train(spec, Grown(init, None))
    carried = carried_state(stack, state, 0)
    assert carried is not None
    return model_weights(stack, state, 0), carried


def at_end(stack: Stack, state: StackState, case: Case) -> tuple[Decoder, Weights]:
    """The model as it runs after its last step."""
    decoder, weights = case.decoder(case.big), model_weights(stack, state, 0)
    if stack.during is not None:
        decoder = stack.during.decoder_at(decoder, state.step, state.optimizer.weights_KP)
    return decoder, weights


def train_losses(state: StackState) -> list[float]:
    """Of the stack's first member after each step that has a row, in nats per token."""
    return [float(row["train_loss"] or "nan") for row in state.curves[0][1:]]
