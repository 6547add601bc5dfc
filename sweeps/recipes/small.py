"""Which growth methods save compute up to width 256, and does the learning rate hold that far?

    mugrow run small --corpus PATH/TO/TEXT.parquet

Cost: 300 runs, about 70 minutes on two busy cores.

The same chain as ``quick`` with finer grids, three seeds and more methods, on a ladder of two
doublings in width and one in depth.

Choices. The grid has steps of 0.5 in log2, where steps of 1 hide shifts. Proxies go up to width
128, so drift is a slope through three widths. ``stack`` grows depth alone and is compared at its
own target, with its own baseline; the methods that grow width alone are skipped there, and it is
skipped in width, each with its reason.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return Study(
        name="small",
        title="Growing decoders in width and depth with transferred hyperparameters",
        question="Which growth methods save compute, once tuning and sources are paid for?",
        corpus="stdlib",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "sp"),
        proxy_widths=(32, 64, 128),
        log2_lr=(-10.0, -9.5, -9.0, -8.5, -8.0, -7.5, -7.0, -6.5, -6.0, -5.5, -5.0),
        init_std=(0.05, 0.1, 0.2),
        batch_sequences=8,
        log_every=60,
        val_tokens=16384,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=11,
        proxy_steps=500,
        source_steps=1200,
        target_steps=1200,
        ladder=(Step(64, 2, 128, 2), Step(128, 2, 256, 2), Step(64, 2, 64, 4)),
        methods=(
            Method("scratch"),
            Method("zero_pad"),
            Method("szp"),
            Method("hypercloning"),
            Method("stack"),
        ),
    )
