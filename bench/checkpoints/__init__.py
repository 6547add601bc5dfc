"""Published checkpoints, in and out: models of the families that people have.

A *family* is a kind of model as ``transformers`` knows it by its ``model_type``. To this suite it
is a table: which of its tensors holds which of ours, and how ``config.json`` says what a
``ModelSpec`` says. Both are read in both directions, so what can be imported can be exported, and
an import that is exported again is the same to the last bit.

    gpt2       tanh GELU, learned positions, matrices stored (in, out), q, k, v in one
    llama      also SmolLM2: RMSNorm, SwiGLU, rotary positions, grouped keys
    mistral    llama, and a sliding window
    qwen2      llama, and biases on q, k, v
    qwen3      llama, a norm of queries and keys, a head size of its own
    gpt_neox   also Pythia: parallel residual, a share of each head rotary, q, k, v of a head in one
    opt        ReLU, learned positions that begin at the third row

What cannot be expressed is refused by its name: a model that is almost right is wrong.

A checkpoint is read one tensor at a time, from safetensors (of any number of files) or from GGUF,
whose quantised blocks are multiplied out. Pickles are refused: they run what they hold.
"""

from mugrow.bench.checkpoints.family import Family
from mugrow.bench.checkpoints.gpt2 import GPT2
from mugrow.bench.checkpoints.gpt_neox import GPT_NEOX
from mugrow.bench.checkpoints.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from mugrow.bench.checkpoints.opt import OPT
from mugrow.bench.spec import unknown

FAMILIES = {one.name: one for one in (GPT2, LLAMA, MISTRAL, QWEN2, QWEN3, GPT_NEOX, OPT)}


def family(model_type: str) -> Family:
    """A family by its ``model_type``. Raises ``UserError`` for one that is not known."""
    if model_type not in FAMILIES:
        raise unknown("model_type", model_type, FAMILIES)
    return FAMILIES[model_type]
