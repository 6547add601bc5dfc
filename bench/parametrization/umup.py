"""Unit-scaled muP: no base shape; activations begin at one, so hyperparameters are absolute.

Blake et al., arXiv 2407.17465. A weight is W = A w with w drawn of variance 1, and Adam moves w at
the rate C (their Table 2, with D the width and L the number of blocks):

    ================  ================  =====================================
    parameter         A                 C
    ================  ================  =====================================
    embedding         1                 lr / sqrt(D)
    hidden matrix     1 / sqrt(fan_in)  lr / sqrt(fan_in), in blocks / sqrt(L)
    bias              1                 lr, in blocks / sqrt(L)
    readout           1 / D             lr
    ================  ================  =====================================

Adam does not see A: with W itself as the parameter, of initial std A and rate A C, it takes the
same steps (at an eps divided by A). That is how it is done here:

    ================  ==============  ===================  ============  ===================
    parameter         init std        lr                   weight decay  eps
    ================  ==============  ===================  ============  ===================
    embedding         1               1/sqrt(D)            1/its lr      1/D
    hidden matrix     1/sqrt(fan_in)  1/(fan_in sqrt(L))   1/its lr      1/(fan_out sqrt(L))
    bias              --              1, in blocks         0             1/size, in blocks
                                      1/sqrt(L)                          1/(size sqrt(L))
    gain, norm bias   --              0, they stay as      0
                                      they begin
    readout           1, forward 1/D  1                    1             1/D
    ================  ==============  ===================  ============  ===================

The paper's norms have no parameters; ``norms="trained"`` gives theirs the rate of a bias. Weight
decay is the same share of every tensor, as the paper's. eps shrinks as gradients do with width and
depth; in the paper those are of unit scale themselves, here they are what they are.

The forward pass divides q k by the head size and gives each branch a multiplier. The paper scales
branch and stream so that the stream stays at one: x <- b_l x + a_l f(norm(x)), a_l^2 + b_l^2 = 1,
with a running rule for a_l / b_l by which all attentions together weigh ``residual``^2 times the
embedding, and the MLPs as much, or the one ``attention_ratio``^2 times the other (its Appendix G).
Dividing the stream by the product of the b_l, which no norm notices but by its own eps, leaves

    x <- x + q c attention(norm(x)),     x <- x + c mlp(norm(x)),     c = r sqrt(2 / (1 + q^2) / L)

for r the one and q the other: at their default of 1, one over the root of the depth. Of the scales
of activations two are kept, which no norm undoes, folded into the same multipliers. The mean of t
values that attention mixes at first has a mean square of 1/t, so it is multiplied by
sqrt(T / (1 + 1/2 + ... + 1/T)), T the context; and what GELU, SwiGLU and ReLU leave of standard
normals by 1/0.652, 1/0.596 and 1/0.707 (by quadrature). Left out, since they make no difference to
Adam in exact arithmetic, are the scales of gradients alone, which the paper's operations set apart
from those of activations, and all that is for FP8. Learned positions are a second embedding, which
the paper has not: with them the stream begins at sqrt(2).

``init_std`` multiplies the unit init, so 1 is the paper's, and ``lr`` is of the order of 1. Weight
decay is meant to be independent of it, as in Graphcore's AdamW: torch's 0.1, at a rate of 1/2,
shrinks every weight by 5 % a step (0.34 to 0.46 nats after 400 steps at width 64).

The embedding's 1/sqrt(D), the paper's new rule, found by experiment and without a reason, is the
one thing here that is not width-equivalent: a wider model made of repeated units no longer trains
as its source. With ``embedding="constant"``, muP's rule, it does. A coordinate check sees it: the
embedding moves by a slope of -1/2, and in the first block what reads nothing else follows.
"""

import math

from mugrow.bench.model import Multipliers, parameters
from mugrow.bench.parametrization import Parametrization, Rule, Rules, SearchRange, decays
from mugrow.bench.spec import ModelSpec

ACTIVATION_RMS = {  # of standard normal inputs
    "gelu": 0.6521,
    "gelu_tanh": 0.6521,
    "relu": 0.7071,
    "swiglu": 0.5965,
}
READ_THE_EMBEDDING = tuple(f"blocks.0.attention.{name}" for name in ("q", "k", "v", "logits"))


def rules(
    model: ModelSpec,
    base: ModelSpec,
    *,
    residual: float = 1.0,
    attention_ratio: float = 1.0,
    embedding: str = "sqrt",
    norms: str = "frozen",
) -> Rules:
    """Rules of ``model``, whatever the base."""
    tensors = {}
    for name, (shape, kind) in parameters(model).items():
        depth = 1 / math.sqrt(model.depth) if name.startswith("blocks.") else 1.0
        if kind == "matrix":
            fan_out, fan_in = shape
            rule = Rule(1 / math.sqrt(fan_in), depth / fan_in, eps=depth / fan_out)
        elif kind == "embedding" and embedding == "sqrt":
            rule = Rule(lr=1 / math.sqrt(model.width), eps=1 / model.width)
        else:
            is_frozen = norms == "frozen" and "norm" in name
            rule = Rule(lr=0.0 if is_frozen else depth, eps=depth / shape[-1])
        tensors[name] = rule._replace(weight_decay=1 / rule.lr if decays(kind) else 0.0)
    mlp = residual * math.sqrt(2 / (1 + attention_ratio**2) / model.depth)
    multipliers = Multipliers(
        output=1 / model.width,
        attention=1 / math.sqrt(model.head_size),
        residual_attention=attention_ratio * mlp / _mixed_rms(model.context),
        residual_mlp=mlp / ACTIVATION_RMS[model.mlp],
    )
    falling = {}
    if embedding == "sqrt":
        reason = "umup's embedding learns at 1/sqrt(width), its own rule"
        falling = dict.fromkeys(("embed", *READ_THE_EMBEDDING), reason)
    return Rules(tensors, multipliers, falling)


def _mixed_rms(context: int) -> float:
    """Of the mean of all values so far, independent and of unit scale, over a context."""
    return math.sqrt(sum(1 / t for t in range(1, context + 1)) / context)


PARAMETRIZATION = Parametrization(
    "umup",
    "unit-scaled muP: activations begin at one, hyperparameters have no base",
    "arXiv 2407.17465",
    rules,
    choices={"embedding": ("sqrt", "constant"), "norms": ("frozen", "trained")},
    search=SearchRange(log2_lr=(-3.0, 1.0), init_std=(1.0, 1.0)),
    decay="independent",
)
