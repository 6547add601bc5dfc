"""Does tuning every kind of module by itself beat tuning them all together?

    mugrow run modules

Complete(d)P (arXiv 2512.22382) tunes hyperparameters per module on a small proxy and reports 2.3
times the training speed there over the best that all modules share. Here twenty multipliers of
rates, initial scales and betas are searched with learning rate and initial scale themselves, by the
paper's kind of sampler, a random search in a trust region, in 200 trials. Beside it, in 100 trials
by the same sampler, are searched the four numbers of these that all modules can share (variant
``shared``), and the two that are usually tuned, rate and scale (variant ``two``). What was found is
carried to larger models, longer runs and grown ones by the recipe `mugrow reproduce completed-hp`,
on seeds that no search has seen.

Choices. A trial is two seeds of 300 steps of 512 tokens. None is stopped early, since what a
multiplier is worth is fitted to finished trials. Decay and eps are left at 1: a run so short hardly
decays, and eps is far below its gradients. Searches of few numbers need fewer trials, and have few
points, so they ask for many of them twice and are billed for less.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.module_range import ModuleRange
from mugrow.sweeps.study import Study, Variant

DRAWN = ("embedding", "qk", "v", "o", "up", "down", "head")
SEARCHED = (
    *(f"lr.{module}" for module in (*DRAWN, "gains", "depth_slope")),
    *(f"init_std.{module}" for module in DRAWN),
    *(f"{beta}.{module}" for beta in ("beta1", "beta2") for module in ("embedding", "head")),
)


def study() -> Study:
    return Study(
        name="modules",
        title="Hyperparameters by module, and shared by all",
        question="Does tuning every kind of module by itself beat tuning them all together?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("completedp",),
        proxy_widths=(32,),
        variants=(
            Variant("shared", ("modules=beta1.all:-2:2,beta2.all:-2:2", "trials=100")),
            Variant("two", ("modules=", "trials=100")),
        ),
        log2_lr=tuple(-10 + 0.5 * place for place in range(11)),
        init_std=(0.05, 0.07, 0.1, 0.14, 0.2),
        batch_sequences=8,
        log_every=50,
        val_tokens=8192,
        seeds=(0, 1),
        sampler="trust",
        trials=200,
        modules=tuple(ModuleRange(name, -2.0, 2.0) for name in SEARCHED),
        generation=25,
        proxy_steps=300,
        stack_width=800,
    )
