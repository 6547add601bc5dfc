"""Does the best learning rate stay where it was as the model gets wider?

    mugrow run transfer-width

Four parametrizations at four widths, three doublings apart, from scratch: SP, whose optimum is
known to fall; SP with the embedding's rate times the width, said to have most of muP's gain
(arXiv 2605.21486); muP; and CompleteP, which at one depth is muP, so that its sweeps must repeat
muP's number by number.

Choices. Steps of 0.5 in log2 over a range wide enough for SP's optimum at width 256 and muP's at
32; the worse trials are stopped early. Three seeds. The initial scale is searched at width 32:
the map of learning rate against initial scale.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Rung, Study


def study() -> Study:
    return Study(
        name="transfer-width",
        title="Learning rates across widths 32 to 256",
        question="Under which parametrizations does the best learning rate stay as width grows?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "sp", "sp_embedding", "completep"),
        proxy_widths=(32, 64, 128, 256),
        log2_lr=tuple(-12 + 0.5 * place for place in range(16)),
        init_std=(0.025, 0.05, 0.1, 0.2, 0.4),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=16,
        rungs=(Rung(0.15, 0.6), Rung(0.35, 0.45)),
        proxy_steps=200,
    )
