"""What fits is planned: how many members, and how many of their sequences, a step takes at once.

A stack keeps the state of all of its members for as long as it trains; activations it has only of
what it works on. So where memory is short a step goes through its members a few at a time, and
through the sequences of their batch in *micro-batches*, whose gradients add up to the batch's own.
The budget is stated, never what happens to be free: sums are rounded otherwise in other parts, so a
stack that goes on from its saved state keeps the split that it began with.

The bytes of a step, with b of a number in the weights' dtype and p of one in a product (2 in bf16);
a member has P parameters, and a sequence T tokens of width D, with F units in the MLP, H heads, a
width of A in queries and G in keys and values, and V rows of the vocabulary:

    kept        b P (2 + buffers / N)         weights and gradient, buffers of N ranks (1: of all);
                                              an average, which every rank has, is b P more
    in use      p (weights that a norm's gain is folded into, or that are rounded)
    backward    3 b (largest tensor)          gradients of a folded weight and its two factors
    a block     T (b 2D + p (2D + A + 2G + A + 2F) + b (4 + H))          saved for its backward pass
    the ends    T (b 2D + p D)
    logits      2 b T V                       they, and probabilities whose place gradients take

Rotary positions add p (A + G) to a block, since turned queries and keys are new tensors; SwiGLU has
4F in the place of 2F. With *recomputation* (Chen et al., arXiv 1604.06174) a block keeps its input
alone, b D, and is computed again when its turn comes backwards: a third more compute. From a
vocabulary of 32,768 on the loss is taken a chunk of tokens at a time, gradient included, so that
logits never exist whole.

What is planned so has torch's attention, which keeps no probabilities. It is a model: it is within
15 % of the most that a step has allocated (``mugrow.bench.memory``) in the tests' shapes. What a
growth method does during training is not in it.
"""

import math
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass

from mugrow.bench.model import count, shapes
from mugrow.bench.optim import buffers_of
from mugrow.bench.spec import ModelSpec, RunSpec, UserError

CHUNKED_VOCABULARY = 1 << 15  # from so many rows on
CHUNK_LOGITS = 1 << 24  # of all members at once: 64 MB in float32


@dataclass(frozen=True)
class Split:
    """So many members of a stack at once, and so many sequences of each; with ``recompute``
    activations are computed again in the backward pass."""

    members: int
    sequences: int
    recompute: bool = False


def chunk_tokens(model: ModelSpec, members: int) -> int | None:
    """Tokens of each of so many members whose logits exist at once; ``None``: all."""
    if model.vocab_rows < CHUNKED_VOCABULARY:
        return None
    return max(1, CHUNK_LOGITS // (members * model.vocab_rows))


def share_of(spec: RunSpec, ranks: int) -> int:
    """The most sequences of a batch that one of so many ranks has."""
    return -(-spec.batch_sequences // ranks)


def kept_bytes(spec: RunSpec, ranks: int = 1) -> int:
    """What a member keeps from step to step; each of several ranks has its part of the buffers."""
    copies = 2 + len(buffers_of(spec)) / ranks + (spec.average.kind != "none")
    return math.ceil(_number(spec) * copies * count(spec.model)[0])


def step_bytes(spec: RunSpec, split: Split) -> int:
    """The most that a step has beside what is kept, of the members and sequences at once."""
    return split.members * (_of_weights(spec, split.recompute) + _of_tokens(spec, split))


def peak_bytes(spec: RunSpec, members: int, split: Split, ranks: int = 1) -> int:
    """The most that a rank of a stack of so many members has at once."""
    return members * kept_bytes(spec, ranks) + step_bytes(spec, split)


def planned(
    spec: RunSpec, members: int, budget_bytes: float, recompute: bool = False, ranks: int = 1
) -> Split:
    """The largest split of a stack of such members within the budget of each of so many ranks:
    whole members first, and parts of a batch where not even one fits. Raises ``UserError`` where
    nothing does."""
    room = budget_bytes - members * kept_bytes(spec, ranks)
    sequences_of_all = share_of(spec, ranks)
    whole = [(at_once, sequences_of_all) for at_once in range(members, 0, -1)]
    parts = [(1, sequences) for sequences in range(sequences_of_all - 1, 0, -1)]
    for at_once, sequences in whole + parts:
        split = Split(at_once, sequences, recompute)
        if step_bytes(spec, split) <= room:
            return split
    raise UserError(_refusal(spec, members, budget_bytes, recompute, ranks))


def most_members(
    spec: RunSpec, budget_bytes: float, recompute: bool = False, ranks: int = 1
) -> int:
    """The most members of a stack that a step takes at once, all of their sequences, within the
    budget of each of so many ranks; one, where not even one fits whole."""

    def peak(members: int) -> int:
        split = Split(members, share_of(spec, ranks), recompute)
        return peak_bytes(spec, members, split, ranks)

    more_than_fit = int(budget_bytes / kept_bytes(spec, ranks)) + 1
    return max(1, bisect_right(range(1, more_than_fit + 1), budget_bytes, key=peak))


def _refusal(spec: RunSpec, members: int, budget_bytes: float, recompute: bool, ranks: int) -> str:
    """The line that says what does not fit, and what would."""
    model = spec.model
    least = {redo: peak_bytes(spec, 1, Split(1, 1, redo), ranks) for redo in (False, True)}
    member = f"a member of width {model.width} and depth {model.depth}"
    if budget_bytes >= least[recompute]:
        most = members - 1
        while most > 1 and peak_bytes(spec, most, Split(1, 1, recompute), ranks) > budget_bytes:
            most -= 1
        least_of_all = peak_bytes(spec, members, Split(1, 1, recompute), ranks)
        return (
            f"a stack of {members} members of width {model.width} and depth {model.depth} takes "
            f"{gigabytes(least_of_all)} at least, and a "
            f"memory of {gigabytes(budget_bytes)} holds {most}: lower stack_width or generation, "
            "or raise the memory"
        )
    line = (
        f"{member} takes {gigabytes(least[recompute])} of memory with one sequence of "
        f"{model.context} tokens, more than {gigabytes(budget_bytes)}"
    )
    if not recompute and budget_bytes >= least[True]:
        line += f"; with recompute it takes {gigabytes(least[True])}"
    return line


UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def bytes_of(text: str) -> float:
    """A size with its unit. Raises ``UserError`` for what is none.

    >>> bytes_of("1.5GB")
    1500000000.0
    """
    for name, unit in UNITS.items():
        if text.upper().endswith(name):
            with suppress(ValueError):
                size = float(text[: -len(name)]) * unit
                if 0 < size < math.inf:
                    return size
    raise UserError(
        f"memory {text!r} is not a size above 0 with its unit, as 40GB: {', '.join(UNITS)}"
    )


def gigabytes(size: float) -> str:
    """Bytes in words, rounded up to three digits."""
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB")
    digits = 10 ** (2 - math.floor(math.log10(max(size, 1) / unit)))
    return f"{math.ceil(size / unit * digits - 1e-9) / digits:g} {name}"


def _number(spec: RunSpec) -> int:
    return 8 if spec.dtype == "float64" else 4


def _in_product(spec: RunSpec) -> int:
    return 2 if spec.precision == "bf16" else _number(spec)


def _of_weights(spec: RunSpec, recompute: bool) -> int:
    """Of a member whose forward and backward pass is under way: of all blocks, or of one."""
    sizes = {name: math.prod(shape) for name, shape in shapes(spec.model).items()}
    head = "embed.weight" if spec.model.tied else "head.weight"
    folded = (".q.weight", ".k.weight", ".v.weight", ".gate.weight", ".up.weight")
    blocks = sum(size for name, size in sizes.items() if name.endswith(folded))
    if spec.precision == "bf16":
        blocks += sum(
            s for name, s in sizes.items() if name.endswith((".o.weight", ".down.weight"))
        )
    at_once = spec.model.depth if not recompute else 1
    return _in_product(spec) * (sizes[head] + blocks * at_once // spec.model.depth)


def _of_tokens(spec: RunSpec, split: Split) -> int:
    """Of a member's sequences: what blocks and ends have saved, and the larger of what is on top at
    the loss and in a block's backward pass."""
    model, b, p = spec.model, _number(spec), _in_product(spec)
    tokens = split.sequences * model.context
    D, F, H = model.width, model.mlp_width, model.heads
    A, G, V = model.attention_width, model.kv_width, model.vocab_rows
    turned = A + G if model.positions == "rope" else 0
    units = 4 * F if model.mlp == "swiglu" else 2 * F
    block = b * 2 * D + p * (2 * D + 2 * A + 2 * G + turned + units) + b * (4 + H)
    ends = b * 2 * D + p * D
    largest = max(math.prod(shape) for shape in shapes(model).values())
    chunk = chunk_tokens(model, split.members)
    saved = tokens * (ends + model.depth * (b * D if split.recompute else block))
    backward = tokens * b * 2 * max(F, A + 2 * G) + 3 * b * largest
    if split.recompute:
        backward += tokens * block
    if chunk is None:
        return saved + max(2 * b * tokens * V, backward)
    in_chunk = (3 * b + (p if p < b else 0)) * min(chunk, tokens) * V
    head = b * V * D  # its gradient, which the loss computes as it goes
    return saved + p * tokens * D + head + max(in_chunk + head, backward)
