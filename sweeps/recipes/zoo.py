"""Every growth method on one target: which help at this scale, and which do not?

    mugrow run zoo --corpus PATH/TO/TEXT.parquet

One target shape, width 32 and depth 4, reached from three sources: half the width, half the depth,
and, for the methods that shrink, twice the depth. All train on the same target tokens, 20 a
parameter, with the same learning rate, tuned on a proxy of width 16, and every source is charged:
an arm is compared with scratch at the same compute, and with its own source trained on.

Choices. The LLaMA flavour, since most operators are published for it and RMSNorm lets padding be
exact. A method is run as its paper runs it: optimizer state is carried and schedules are taken up
where the paper does so, beside the plain restart where the difference is the question. Methods
skipped at a step, each with its reason, grow the other axis only.
"""

from mugrow.bench.spec import Scalar, llama
from mugrow.sweeps.study import Method, Step, Study


def continued(name: str, params: tuple[tuple[str, Scalar], ...] = ()) -> Method:
    """A method whose target goes on with its source's moments where its schedule stood."""
    return Method(name, params, optimizer="carry", schedule="continue")


def study() -> Study:
    return Study(
        name="zoo",
        title="Every growth method on one target",
        question="Which operators save compute at width 32 and depth 4, and which do not?",
        corpus="stdlib",
        model=llama(width=16, depth=4, head_size=16, mlp_ratio=2.5, context=64),
        parametrizations=("mup",),
        proxy_widths=(16,),
        log2_lr=(-8.0, -7.5, -7.0, -6.5, -6.0, -5.5, -5.0, -4.5, -4.0),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=125,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=9,
        proxy_steps=500,
        source_steps=2500,
        target_steps=2500,
        ladder=(Step(16, 4, 32, 4), Step(32, 2, 32, 4), Step(32, 8, 32, 4)),
        methods=(
            Method("scratch"),
            Method("zero_pad"),
            Method("szp"),
            Method("szp", (("shrink", 0.2),)),
            Method("hypercloning"),
            Method("hypercloning", noise=0.1),
            Method("mup_upscale", (("noise", 0.1),)),
            continued("mup_upscale"),
            continued("mup_upscale", (("noise", 0.1),)),
            Method("net2net"),
            Method("bert2bert"),
            Method("lemon"),
            Method("staged", optimizer="carry", schedule="reposition", rho=1.776),
            continued("sparkling"),
            Method("composable"),
            Method("stack"),
            Method("interleave"),
            Method("gradual_stack"),
            Method("llama_pro"),
            Method("ligo"),
            Method("msg"),
            Method("majority_kernels"),
            Method("inheritune"),
            Method("prune"),
        ),
        stack_width=1024,
    )
