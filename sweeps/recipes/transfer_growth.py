"""Is the proxy's learning rate still best after growth?

    mugrow run transfer-growth

The question of "Warmstarting for Scaling Language Models" (arXiv 2411.07340). A source of width 32
is grown to 1.5, 2 and 4 times its width by four operators, and every grown model is trained at nine
learning rates around the one that was tuned on the proxy, beside a model from scratch of the same
shape on the same tokens. If the optimum stays, nothing has to be tuned again after growth.

Choices. Proxy, source and targets have one schedule and one horizon, so that a shift of the optimum
is growth's or width's alone. The operators' own settings, the shrink factor of ``szp`` and the
noise of ``mup_upscale``, are varied too, at the transferred rate: does the best setting at one
growth factor serve at the others? Hypercloning is given the noise without which its copies stay
equal.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return Study(
        name="transfer-growth",
        title="Learning rates after growth by factors of 1.5, 2 and 4",
        question="Does the proxy's learning rate stay optimal for a grown model?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup",),
        proxy_widths=(32,),
        log2_lr=tuple(-10 + 0.5 * place for place in range(12)),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=12,
        proxy_steps=300,
        source_steps=300,
        target_steps=300,
        ladder=(Step(32, 2, 48, 2), Step(32, 2, 64, 2), Step(32, 2, 128, 2)),
        methods=(
            Method("scratch", sweep=True),
            Method("szp", (("shrink", 0.2),), sweep=True),
            Method("szp", (("shrink", 0.4),), sweep=True),
            Method("hypercloning", noise=0.1, sweep=True),
            Method("mup_upscale", (("noise", 0.1),), sweep=True),
            Method("szp", (("shrink", 0.1),)),
            Method("szp", (("shrink", 0.6),)),
            Method("szp", (("shrink", 0.8),)),
            Method("mup_upscale", (("noise", 0.03),)),
            Method("mup_upscale", (("noise", 0.3),)),
            Method("mup_upscale", (("noise", 1.0),)),
        ),
        target_log2_lr=tuple(-2 + 0.5 * place for place in range(9)),
        budgets=(),
        final_val_tokens=0,
        stack_width=2304,
    )
