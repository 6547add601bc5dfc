"""What breaks the transfer of learning rates under muP?

    mugrow run breakers

Six choices that are reported to break it (Lingle, arXiv 2404.05728; the issues of the mup package;
Kosson et al., arXiv 2510.19093), each switched alone, at three widths: norm gains frozen in place
of trained, weight decay as plain AdamW has it, heads that grow in size in place of number (with
muP's 1/d attention and with 1/sqrt(d)), tied embeddings, no warm-up and a long one, and decay that
is independent of the learning rate.

Choices. One doubling further than ``quick``, since a break shows at a distance. Trials are pruned;
three seeds.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Rung, Study, Variant


def study() -> Study:
    return Study(
        name="breakers",
        title="What breaks the transfer of learning rates",
        question="Which choices move the best learning rate with width under muP?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup",),
        proxy_widths=(32, 64, 128),
        variants=(
            Variant("frozen gains", ("parametrizations=mup:gains=frozen",)),
            Variant("unscaled decay", ("parametrizations=mup:decay=unscaled",)),
            Variant("independent decay", ("hyper.decay=independent", "hyper.weight_decay=0.001")),
            Variant("growing heads", ("growing_heads=true",)),
            Variant(
                "growing heads, 1/sqrt(d)",
                ("growing_heads=true", "parametrizations=mup:attention=sqrt"),
            ),
            Variant("tied embeddings", ("model.tied=true",)),
            Variant("no warm-up", ("schedule.warmup=0",)),
            Variant("long warm-up", ("schedule.warmup=0.3",)),
        ),
        log2_lr=tuple(-10 + 0.5 * place for place in range(12)),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=12,
        rungs=(Rung(0.2, 0.75), Rung(0.4, 0.6)),
        proxy_steps=200,
    )
