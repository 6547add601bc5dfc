"""Lion: the sign of an average of gradients, so that every coordinate moves equally far.

    direction = sign(b1 m + (1 - b1) g)        m <- b2 m + (1 - b2) g

Chen et al., arXiv 2302.06675. One buffer, half of AdamW's state. The momentum that is kept has the
longer memory (b2 = 0.99); the direction weighs the latest gradient more (b1 = 0.9). Both are
parameters of its own, for AdamW's betas mean something else. As the authors advise, its learning
rate is three to ten times below AdamW's, and its weight decay as much above.

There is no eps, and the gradient's scale is nowhere: muP's rule for it is AdamW's without the eps
column (arXiv 2308.01814), and a widened model trains exactly as its source does also under
parametrizations that forget to scale eps. A coordinate whose gradient is zero in exact arithmetic,
such as a key's bias, moves at full rate in a direction that rounding decides.
"""

from torch import Tensor

from mugrow.bench.optim import Optimizer, Update


def step(update: Update, *, beta1: float = 0.9, beta2: float = 0.99) -> Tensor:
    """The direction, of the gradient's shape: -1, 0 or 1."""
    m = update.buffers["m"]
    direction = m.lerp(update.gradient, 1 - beta1).sign_()
    m.lerp_(update.gradient, 1 - beta2)
    return direction


OPTIMIZER = Optimizer(
    name="lion",
    summary="the sign of an average of gradients",
    paper="arXiv 2302.06675",
    step_size="entrywise",
    buffers={"m": "gradient"},
    step=step,
    fractions=("beta1", "beta2"),
)
