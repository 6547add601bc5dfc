"""The runs that papers vary at the two small scales, so that papers share their baselines.

The learning rate is the one that the study ``transfer-width`` finds at width 32 under muP
(log2 -7.4 at an initial scale of 0.1), rounded to a half; there and at every width that muP
transfers it to, a half step costs less than 0.1 % of the loss.
"""

from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec

LOG2_LR = -7.5


def cpu(data: DataSpec, vocabulary: int) -> RunSpec:
    """Width 32, 512 tokens a step."""
    return _run(data, ModelSpec(width=32, depth=2, head_size=16, context=64,
                                positions="rope", vocab_size=vocabulary), 8)  # fmt: skip


def gpu(data: DataSpec, vocabulary: int) -> RunSpec:
    """Width 128, 8192 tokens a step."""
    return _run(data, ModelSpec(width=128, depth=4, head_size=32, context=256,
                                positions="rope", vocab_size=vocabulary), 32)  # fmt: skip


def _run(data: DataSpec, model: ModelSpec, sequences: int) -> RunSpec:
    return RunSpec(
        model=model,
        base=model,
        parametrization="mup",
        hyper=HyperSpec(lr=2.0**LOG2_LR, init_std=0.1),
        schedule=ScheduleSpec(),
        data=data,
        batch_sequences=sequences,
        steps=400,
        seed=0,
        data_seed=0,
        log_every=20,
    )
