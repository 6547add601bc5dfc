"""Runs without an end, on random tokens: what timings and counts of bytes train."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mugrow.bench.data.batches import TokenData
from mugrow.bench.data_parallel import ALONE, Ranks, sharded, shards_of
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.split import Split
from mugrow.bench.stack import Stack, begin
from mugrow.bench.train import advance


def endless_stack(
    model: ModelSpec, sequences: int, members: int, device: str, compiled: bool = False
) -> Callable[[], object]:
    """Steps of the real trainer, on random tokens, without validation between them."""
    runs = [endless_run(model, sequences, seed) for seed in range(members)]
    return endless_steps(runs, device, compiled=compiled)


def endless_run(model: ModelSpec, sequences: int, seed: int = 0) -> RunSpec:
    """A run that ends when nobody goes on with it."""
    endless = 10**9
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=1e-3, init_std=0.02),
        schedule=ScheduleSpec(kind="constant", warmup=0),
        data=DataSpec(corpus="random", corpus_sha256="", val_tokens=model.context),
        batch_sequences=sequences,
        steps=endless,
        seed=seed,
        data_seed=seed,
        log_every=endless,
    )


def endless_steps(
    specs: Sequence[RunSpec],
    device: str = "cpu",
    split: Split | None = None,
    ranks: Ranks = ALONE,
    compiled: bool = False,
) -> Callable[[], object]:
    """Steps of the real trainer with such runs, on random tokens, which all ranks take."""
    model = specs[0].model
    rules = rules_of("sp", model, model)
    starts = [initial_weights(model, rules, 0.02, s.seed, torch.float32) for s in specs]
    stack = Stack(specs, device=device, split=split, compiled=compiled)
    state = begin(stack, starts)
    if ranks.count > 1:
        state = sharded(state, ranks, shards_of(stack, ranks), device)
    states = advance(stack, state, _random_tokens(model), ranks)
    return lambda: next(states)


def _random_tokens(model: ModelSpec) -> TokenData:
    tokens = np.random.Generator(np.random.Philox(0)).integers(
        model.vocab_size, size=1 << 16, dtype=np.uint32
    )
    return TokenData("random", "", tokens, tokens, model.vocab_size, None)
