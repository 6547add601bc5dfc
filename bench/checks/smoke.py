"""A training smoke: source, growth and target on real text, in float32.

The text is the default corpus, the sources of Python's standard library, as bytes. A small source
trains for a few steps, is grown with its optimizer's state where the method carries it, and the
target trains as long, through all stages if the method has several. The value is the target's
validation loss in nats per byte. It must be finite, and below what the byte frequencies alone
would give (their entropy): the target knows something of the text.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mugrow.bench.checks.cases import INIT_STD, Case, Grown, cases, grow, initial, refusal
from mugrow.bench.checks.contract import grow_carried
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case
from mugrow.bench.checks.training import run_spec
from mugrow.bench.data.batches import TokenData, load, resolve
from mugrow.bench.growth import GrowthMethod, stages
from mugrow.bench.model import Weights
from mugrow.bench.parametrization import initial_weights
from mugrow.bench.spec import ModelSpec
from mugrow.bench.stack import Carried, Stack, begin, carried_state, model_weights
from mugrow.bench.train import advance

STEPS, CONTEXT, SEQUENCES, VAL_TOKENS = 100, 32, 8, 1024


def _one_growth(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    """The first growth that the method supports, in two flavours."""
    found: list[Case] = []
    for flavour in ("gpt2", "llama"):
        tried = (
            c for c in cases(entry, params, rules=("mup",)) if c.name.startswith(flavour + ",")
        )
        found += [case for case in tried if not refusal(entry, case, params)][:1]
    return tuple(_of_text(case) for case in found)


def _of_text(case: Case) -> Case:
    def reading(model: ModelSpec) -> ModelSpec:
        return replace(model, vocab_size=256, context=CONTEXT)

    base, small, big = map(reading, (case.base, case.small, case.big))
    return replace(case, base=base, small=small, big=big)


@each_case("smoke", _one_growth)
def smoke(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The target's validation loss after its last step."""
    weights, carried, _ = _source(replace(case, name="", big=case.small))
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    given = {**entry.params, **params}  # also as many steps of its own as the method takes
    for target in stages(entry, case.small, case.big, given):
        stage = replace(case, big=target)
        state = None
        if carried is not None and entry.grow_moments is not None:
            state = grow_carried(entry, stage, given, carried)
        grown = grow(entry, stage, given, weights, initial(stage, torch.float32), steps=STEPS)
        weights, carried, loss = _train(stage, target, grown, state)
        case = replace(stage, small=target)
    return at_most(loss, byte_entropy(), "the target knows no more than the frequencies of bytes")


@lru_cache(maxsize=16)
def _source(case: Case) -> tuple[Weights, Carried | None, float]:
    init = initial_weights(case.small, case.rules(case.small), INIT_STD, 0, torch.float32)
    return _train(case, case.small, Grown(init, None), None)


@lru_cache(maxsize=1)
def _text() -> TokenData:
    return load(resolve("stdlib"))


def byte_entropy() -> float:
    """Of the validation text, in nats per byte."""
    val = _text().val
    counts = np.bincount(val[np.arange(len(val))])
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _train(
    case: Case, model: ModelSpec, start: Grown, carried: Carried | None
) -> tuple[Weights, Carried | None, float]:
    """Weights, optimizer state and validation loss (nats per byte) at the end of a run."""
    run = run_spec(case, model, STEPS)
    data = replace(run.data, corpus="stdlib", val_tokens=VAL_TOKENS)
    run = replace(run, data=data, batch_sequences=SEQUENCES, dtype="float32")
    stack = Stack([run], during=start.during)
    state = begin(stack, [start.weights], [carried])
    for _ in advance(stack, state, _text()):
        pass
    loss = state.curves[0][-1]["val_loss"]
    if not state.alive:
        return {}, None, float("nan")
    return (
        model_weights(stack, state, 0),
        carried_state(stack, state, 0),
        float("nan") if loss is None else float(loss),
    )
