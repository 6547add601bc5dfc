"""Does a learning rate tuned at width 16 serve a model grown from width 32 to 64, and does it pay?

    mugrow run quick

Cost: COST runs, one and a half to six minutes on two cores, by what they are.

The whole chain at the smallest scale at which its parts can be told apart. μP and SP proxies of
two widths show whether the optimum moves with width; the μP optimum then trains a source of width
32 and targets of width 64, from scratch and grown, and what they are compared with at equal
charged compute: scratch at several budgets, and the source trained on.

Choices. Depth 2, head size 16 and a context of 64 keep a step cheap; rotary positions let
so short a training get past the statistics of letter pairs. The grid has steps of 0.75 in log2
and reaches past the optimum on both sides, which is what a parabola needs. Three seeds are the
fewest with which a verdict can be had. Steps are small ones, since in so few minutes a larger model
sees too little text to be worth its compute: the front of the study's own sizes says so.
``generation`` is a whole grid of learning rates, so that it is a single program.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return Study(
        name="quick",
        title="Growing a small decoder with hyperparameters tuned on a smaller one",
        question="Does growing save compute when the tuned proxy and the source are paid for?",
        corpus="stdlib",
        model=ModelSpec(width=16, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "sp"),
        proxy_widths=(16, 32),
        log2_lr=(-9.0, -8.25, -7.5, -6.75, -6.0, -5.25, -4.5),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=7,
        proxy_steps=240,
        source_steps=480,
        target_steps=720,
        ladder=(Step(32, 2, 64, 2),),
        methods=(Method("scratch"), Method("szp"), Method("hypercloning")),
        stack_width=384,
    )
