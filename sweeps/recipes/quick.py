"""Does a learning rate tuned at width 32 serve a model grown from width 64 to 128?

    mugrow run quick

Cost: 92 runs, five minutes on two cores.

The whole chain at the smallest scale at which its parts can be told apart. μP and SP proxies of
two widths show whether the optimum moves with width; the μP optimum then trains a source of width
64 and targets of width 128, from scratch and grown.

Choices. Depth 2, head size 16 and a context of 64 keep a step cheap; rotary positions let
so short a training get past the statistics of letter pairs. The grid has steps of 0.75 in log2
and reaches past the optimum on both sides, which is what a parabola needs; initial scales a factor
of two apart are searched at the smallest width only. Two seeds give intervals that are honest about
being wide, not narrow ones. ``generation`` is a whole grid of learning rates, so that it is a
single program of 14 members.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return Study(
        name="quick",
        title="Growing a small decoder with hyperparameters tuned on a smaller one",
        question="Does growing save compute when the tuned proxy and the source are paid for?",
        corpus="stdlib",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "sp"),
        proxy_widths=(32, 64),
        log2_lr=(-10.0, -9.25, -8.5, -7.75, -7.0, -6.25, -5.5),
        init_std=(0.05, 0.1, 0.2),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1),
        sampler="grid",
        generation=7,
        proxy_steps=300,
        source_steps=500,
        target_steps=600,
        ladder=(Step(64, 2, 128, 2),),
        methods=(Method("scratch"), Method("szp"), Method("hypercloning")),
        stack_width=384,
    )
