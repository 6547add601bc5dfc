"""A small study, and rows of runs that ended as a formula says, without training."""

import math
from dataclasses import replace

from mugrow.bench.spec import DataSpec, ModelSpec
from mugrow.sweeps.plan import plan
from mugrow.sweeps.study import Method, Step, Study

DATA = DataSpec(corpus="stdlib", corpus_sha256="0" * 64)
STUDY = Study(
    name="tiny",
    title="Tiny",
    question="Does it plan?",
    model=ModelSpec(width=32, depth=2, context=32),
    parametrizations=("mup", "sp"),
    proxy_widths=(32, 64),
    log2_lr=(-10.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0),
    init_std=(0.02, 0.04, 0.08),
    seeds=(0, 1),
    trials=15,
    generation=5,
    proxy_steps=100,
    ladder=(Step(64, 2, 128, 2),),
    methods=(Method("scratch"), Method("szp"), Method("hypercloning")),
    source_steps=200,
    target_steps=200,
    budgets=(),
    final_val_tokens=0,
)
ALONE = replace(STUDY, parametrizations=("mup",), proxy_widths=(32,))


def loss(spec):
    """A bowl with its bottom at lr 2**-7.2 and init_std 0.04."""
    away = math.log2(spec.hyper.lr) + 7.2
    init = math.log2(spec.hyper.init_std / 0.04)
    return 2.0 + 0.1 * spec.seed + 0.03 * away**2 + 0.02 * init**2


def ended(spec):
    """The row of a finished run; a learning rate above 2**-4.6 diverges."""
    if math.log2(spec.hyper.lr) > -4.6:
        return {"status": "diverged", "final_val_loss": None, "flops": 10.0}
    return {"status": "finished", "final_val_loss": loss(spec), "flops": 100.0}


def run_all(study, finished=None, row=ended, stacks=10_000):
    """Plan, end the first stack that has runs left, plan again, until done or out of ``stacks``.
    Returns the last plan and the rows of all runs that ended."""
    finished = dict(finished or {})
    for _ in range(stacks):
        todo = [
            new
            for stack in plan(study, DATA, finished).stacks
            if (new := [run for run in stack.runs if run.spec.run_id not in finished])
        ]
        if not todo:
            break
        finished |= {run.spec.run_id: row(run.spec) for run in todo[0]}
    return plan(study, DATA, finished), finished
