"""Training on a source whose entropy is known exactly: a floor that no loss may break.

The floor is the source's own loss on the very windows of validation. Were a loss to lie d below it
over n tokens, the model would give this sample exp(n d) times the source's probability. A model is
a distribution that has not seen the sample, so the expectation of that ratio under the source is
one, and by Markov's inequality the chance of a ratio of exp(n d) is at most exp(-n d). With
``n d = 25`` a correct trainer fails this test less than once in 10^10 rows.
"""

from dataclasses import replace

import pytest
from small_runs import start_of

from mugrow.bench.data import synthetic
from mugrow.bench.data.batches import load, resolve, val_windows
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, ScheduleSpec, llama
from mugrow.bench.stack import Stack
from mugrow.bench.train import train

SHAPE = {"width": 32, "depth": 1, "context": 16, "vocab_size": synthetic.SYMBOLS}
CHANCE_LOG = 25.0


@pytest.mark.parametrize(
    ("model", "parametrization"), [(ModelSpec(**SHAPE), "mup"), (llama(**SHAPE), "sp")]
)
def test_losses_approach_the_sources_entropy_and_never_go_below(model, parametrization):
    run = RunSpec(
        model=model,
        base=replace(model, width=16),
        parametrization=parametrization,
        hyper=HyperSpec(lr=2**-5, init_std=0.1, weight_decay=0.0),
        schedule=ScheduleSpec(),
        data=resolve("synthetic", val_tokens=8192),
        batch_sequences=64,
        steps=250,
        seed=0,
        data_seed=0,
        log_every=50,
    )
    data = load(run.data)
    windows = val_windows(data.val, model.context, run.data.val_tokens)
    floor = synthetic.cross_entropy(windows)
    assert floor == pytest.approx(synthetic.entropy_rate(), abs=0.05)  # the sample is a fair one

    (curve,) = train(Stack([run]), [start_of(run)], data).curves
    losses = [row["val_loss"] for row in curve]
    n = windows[:, 1:].size
    assert min(losses) > floor - CHANCE_LOG / n
    assert losses[0] > floor + 1
    assert losses[-1] < floor + 0.1
