"""Does the best learning rate stay where it was with more tokens, and with larger batches?

    mugrow run transfer-batch

muP and CompleteP say nothing about either. Complete(d)P (arXiv 2512.22382) takes learning rate,
decay, eps and both betas along with them, in ratios to the runs in which they were tuned
(``mugrow.bench.parametrization.completedp``); others see the duration's part lose at a larger
size. Rates here are those at the base, so under a rule that holds the optimum stays.

Choices. At the base's width and depth the two parametrizations are the same model and their first
sweeps one experiment; what differs is the rule. Up to four times, where the rule forgets averages
at 0.4 and 0.2 a step: from 10 times on it has nothing to say at a beta of 0.9. No trial is stopped
early: runs differ in length, and a short one is hardly past its warm-up where a long one is judged.
"""

from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.study import Study


def study() -> Study:
    return Study(
        name="transfer-batch",
        title="Learning rates across tokens and batches",
        question="Does a rule for batch and duration keep the best learning rate where it is?",
        model=ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope"),
        parametrizations=("mup", "completedp"),
        proxy_widths=(32,),
        token_factors=(1, 2, 4),
        batch_factors=(1, 2, 4),
        log2_lr=tuple(-10 + 0.5 * place for place in range(12)),
        init_std=(0.1,),
        batch_sequences=8,
        log_every=30,
        val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=12,
        proxy_steps=240,
    )
