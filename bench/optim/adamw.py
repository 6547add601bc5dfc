"""AdamW: the mean of gradients over the root of the mean of their squares.

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
    direction = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

Kingma and Ba, arXiv 1412.6980, with decoupled weight decay (Loshchilov and Hutter, arXiv
1711.05101), as torch has it. The betas and eps are the run's ``HyperSpec``'s, so members of a stack
may differ in them; eps is multiplied by its tensor's rule.
"""

from torch import Tensor

from mugrow.bench.optim import Optimizer, Update


def step(update: Update) -> Tensor:
    """The direction, of the gradient's shape; eight passes over it, most of them in place."""
    members = update.members
    m, v = update.buffers["m"], update.buffers["v"]
    m.lerp_(update.gradient, 1 - members.beta1_K1)
    v.lerp_(update.gradient.square_(), 1 - members.beta2_K1)
    denominator = (v / members.bias2_K1).sqrt_().add_(update.eps)
    return (m / members.bias1_K1).div_(denominator)


OPTIMIZER = Optimizer(
    name="adamw",
    summary="mean of gradients over the root of their mean square",
    paper="arXiv 1711.05101",
    step_size="entrywise",
    buffers={"m": "gradient", "v": "square"},
    step=step,
    reads=("beta1", "beta2", "eps"),
)
