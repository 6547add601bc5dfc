"""A run of a few steps from given weights, with a growth method's hooks."""

from typing import NamedTuple

import numpy as np
import torch

from mugrow.bench.data.batches import TokenData
from mugrow.bench.growth import During
from mugrow.bench.model import Weights
from mugrow.bench.parametrization import initial_weights, parametrization
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.stack import Carried, Curve, Stack, begin, carried_state, model_weights
from mugrow.bench.train import advance

MODEL = ModelSpec(width=16, depth=1, head_size=8, context=8, vocab_size=32)
RUN = RunSpec(
    model=MODEL,
    base=MODEL,
    parametrization="sp",
    hyper=HyperSpec(lr=2**-6, init_std=0.1),
    schedule=ScheduleSpec(),
    data=DataSpec(corpus="skewed", corpus_sha256="0", val_tokens=256),
    batch_sequences=4,
    steps=20,
    seed=0,
    data_seed=0,
    log_every=5,
)


class Trained(NamedTuple):
    weights: Weights
    carried: Carried | None
    curve: Curve


def skewed() -> TokenData:
    """Independent draws of which the low ids are the more likely: there is something to learn."""
    uniform = np.random.Generator(np.random.Philox(1)).random(5000)
    tokens = (32 * uniform**3).astype(np.uint16)
    return TokenData("skewed", "0", tokens[:4000], tokens[4000:], 32, None)


def start_of(run: RunSpec) -> Weights:
    rules = parametrization(run.parametrization).rules(run.model, run.base)
    dtype = getattr(torch, run.dtype)
    return initial_weights(run.model, rules, run.hyper.init_std, run.seed, dtype)


def train(
    run: RunSpec, start: Weights, during: During | None = None, carried: Carried | None = None
) -> Trained:
    stack = Stack([run], during=during)
    state = begin(stack, [start], [carried])
    for _ in advance(stack, state, skewed()):
        pass
    return Trained(model_weights(stack, state, 0), carried_state(stack, state, 0), state.curves[0])
