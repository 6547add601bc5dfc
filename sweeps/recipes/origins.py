"""Do the new units of a grown model want another learning rate than those of its source?

    mugrow run origins

What a source had has been trained; what is new has not. Here the coordinates that the source did
not have train at a quarter to four times the rate of the others (``new_rate`` of a method), after
two operators: ``szp``, whose new units are random, and ``hypercloning``, where they are copies.

Choices. Every ratio is tried at three rates around the one that was tuned on the proxy, since
another ratio is another mean rate too; what is compared is each at its own best. Three seeds.
Warm-up and optimizer are those of scratch, so old and new units begin with moments of zero.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Step, Study

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)


def study() -> Study:
    return Study(
        name="origins",
        title="Learning rates of old and new units after growth",
        question="Do new units of a grown model want another learning rate than old ones?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup",),
        proxy_widths=(32,),
        log2_lr=tuple(-10 + 0.5 * place for place in range(12)),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=50,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=12,
        proxy_steps=300,
        source_steps=300,
        target_steps=300,
        ladder=(Step(32, 2, 64, 2),),
        methods=(
            Method("scratch", sweep=True),
            *(Method("szp", new_rate=ratio, sweep=True) for ratio in RATIOS),
            *(
                Method("hypercloning", noise=0.1, new_rate=ratio, sweep=True)
                for ratio in RATIOS[::2]
            ),
        ),
        target_log2_lr=(-0.75, 0.0, 0.75),
        budgets=(),
        final_val_tokens=0,
        stack_width=1024,
    )
