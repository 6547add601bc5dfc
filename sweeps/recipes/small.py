"""Which growth methods are worth their compute up to width 64, near the compute-optimal front?

    mugrow run small --corpus PATH/TO/TEXT.parquet

Cost: about an hour on two cores.

The same chain as ``quick`` with a finer grid, more text and more methods, on a ladder of two
doublings in width and one in depth.

Choices. Sizes are small and schedules long, since a question about compute has an answer only near
the front: a target of width 64 sees 19 tokens a parameter, one of width 32 sees 60. At a few tokens
a parameter every smaller model beats every larger one at equal compute, grown or not. The
``front`` trains the smaller shapes at the charges of all arms, so that the report can say how far a
target is from it. Learning rates have steps of 0.5 in log2, where steps of 1 hide shifts, and
proxies three widths, so drift is a slope. ``stack`` grows depth alone and is compared at its own
target, with its own baselines; the methods that grow width alone are skipped there, and it is
skipped in width, each with its reason.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Shape, Step, Study


def study() -> Study:
    return Study(
        name="small",
        title="Growing decoders in width and depth with transferred hyperparameters",
        question="Which growth methods save compute, once tuning and sources are paid for?",
        corpus="stdlib",
        model=ModelSpec(width=16, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "sp"),
        proxy_widths=(16, 32, 64),
        log2_lr=(-9.0, -8.5, -8.0, -7.5, -7.0, -6.5, -6.0, -5.5, -5.0, -4.5, -4.0),
        init_std=(0.05, 0.1, 0.2),
        batch_sequences=8,
        log_every=250,
        val_tokens=16384,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=11,
        proxy_steps=500,
        source_steps=5000,
        target_steps=5000,
        ladder=(Step(16, 2, 32, 2), Step(32, 2, 64, 2), Step(32, 2, 32, 4)),
        methods=(
            Method("scratch"),
            Method("zero_pad"),
            Method("szp"),
            Method("hypercloning"),
            Method("stack"),
        ),
        front=(Shape(16, 2), Shape(32, 2)),
    )
