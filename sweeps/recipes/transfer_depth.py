"""Does the best learning rate stay where it was as the model gets deeper?

    mugrow run transfer-depth

muP says nothing about depth; CompleteP (arXiv 2505.01618) divides every residual branch by the
depth ratio to the power alpha and scales rates and eps with it, alpha = 1 being its own choice and
alpha = 1/2 that of depth-muP (arXiv 2310.02244). Which of them keeps the optimum is disputed:
CompleteP sees alpha = 1/2 drift, a later paper sees both transfer.

Choices. Width 32, which keeps depth 16 affordable, and depth 2 as the base, where all three are the
same model: their sweeps at depth 2 are one experiment done three times.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Rung, Study


def study() -> Study:
    return Study(
        name="transfer-depth",
        title="Learning rates across depths 2 to 16",
        question="Which treatment of depth keeps the best learning rate where it is?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "completep:alpha=0.5", "completep"),
        proxy_widths=(32,),
        proxy_depths=(2, 4, 8, 16),
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
