"""Complete(d)P: CompleteP with rules for batch and duration, and a readout without a multiplier.

arXiv 2512.22382, of which the abstract and Table 1 could be read; what is of ours is marked so.
With m the ratio of the width to the base model's, L that of the number of blocks, and alpha between
1/2 and 1:

    ===================  =========  =============  ==========  =======  =======================
    parameter            init std   lr             eps         decay    where it stands
    ===================  =========  =============  ==========  =======  =======================
    embedding            1          1              1/m         1        Table 1; positions ours
    block: matrix        1/sqrt(m)  L^(alpha-1)/m  L^-alpha/m  m        Table 1
    block: gain, bias    --         L^(alpha-1)    L^-alpha/m  0        Table 1; decay ours
    gain of q/k norm     --         L^(alpha-1)    L^-alpha    0        eps Table 1, rest ours
    final norm           --         1              1/m         0        lr Table 1, rest ours
    readout              1/m        1/m            1           m        Table 1
    all of them, times   1          sqrt(r)        1/sqrt(r)   sqrt(r)  Table 1
    ===================  =========  =============  ==========  =======  =======================

In the forward pass both branches of a block are multiplied by L^-alpha, and logits by nothing. What
Table 1 does not say is as in ``completep``: attention's scale, k and v of fewer heads, and a tied
readout, which is the embedding, with the forward 1/m.

**The readout** is that of ``mup`` in other coordinates. Where ``mup`` has logits W x / m, here they
are V x with V = W / m: as large at first, moved as far by Adam, decayed by as much, and with a
gradient m times as large, so eps is as much larger. AdamW's training is the same; where gradients
are clipped it is not, since the norm that is clipped sees the readout's as it is: muP's falls as
1/sqrt(m), this one grows as sqrt(m).

**The final norm's eps** is 1 in Table 1. Repeating every unit m times divides each gain's gradient
by m, so the eps of a model that is to train as its source does is 1/m, and that is what is here.
``final_norm_eps="constant"`` is the paper's, with which a widened model trains otherwise.

**Batch and duration.** With m_B and m_D the ratios of batch and of tokens to those of the runs that
hyperparameters were tuned in, r = m_B / m_D is how many of their steps one step here stands for: a
batch twice as large at the same tokens is r = 2, four times the tokens at the same batch r = 1/4,
and where both grow alike nothing changes. Beside the table's last row (1 - beta1) and (1 - beta2)
are multiplied by r, and the number of steps by 1/r (both Table 1), so that averages, decay and the
drift of the weights cover as large a part of the run as before. The reason is the SDE of which Adam
with small steps and much noise is a discretisation (Malladi et al., arXiv 2205.10287, for the
batch). So the rule holds in the limit of small rates, and not at all from r = 1 / (1 - beta) on.
With ``decay="independent"``, where the rate is not in it, decay is multiplied by r (ours). The norm
at which gradients are clipped stays, for want of a rule; warm-up and cool-down are fractions of the
run, as they must be.
"""

import math
from dataclasses import replace

from mugrow.bench.parametrization import ADAMW, Parametrization, Rule, Rules, completep
from mugrow.bench.spec import HyperSpec, ModelSpec, faster


def rules(
    model: ModelSpec,
    base: ModelSpec,
    *,
    alpha: float = 1.0,
    final_norm_eps: str = "inverse",
) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``, in width and depth."""
    with_multiplier = completep.rules(model, base, alpha=alpha)
    tensors, multipliers = dict(with_multiplier.tensors), with_multiplier.multipliers
    if not model.tied:
        wider = model.width / base.width
        tensors["head.weight"] = Rule(1 / wider, 1 / wider, wider)
        multipliers = replace(multipliers, output=1.0)
    if final_norm_eps == "constant":
        ends = tensors.keys() & {"norm.gain", "norm.bias"}
        tensors |= {name: tensors[name]._replace(eps=1.0) for name in ends}
    return Rules(tensors, multipliers)


def at_step_ratio(hyper: HyperSpec, r: float) -> HyperSpec:
    """Hyperparameters for a run of whose steps each stands for ``r`` of those they were tuned in.
    Raises ``UserError`` where r is so large that nothing of an average would be kept.

    >>> from mugrow.bench.spec import HyperSpec
    >>> twice_the_batch = at_step_ratio(HyperSpec(lr=0.01, init_std=0.1, beta1=0.75), 2.0)
    >>> twice_the_batch.beta1, round(twice_the_batch.lr, 5)
    (0.5, 0.01414)
    """
    root = math.sqrt(r)
    return replace(
        hyper,
        lr=hyper.lr * root,
        weight_decay=hyper.weight_decay * (r if hyper.decay == "independent" else root),
        eps=hyper.eps / root,
        beta1=faster("beta1", hyper.beta1, r),
        beta2=faster("beta2", hyper.beta2, r),
    )


PARAMETRIZATION = Parametrization(
    "completedp",
    "CompleteP, and rules for batch and duration",
    "arXiv 2512.22382",
    rules,
    choices={"final_norm_eps": ("inverse", "constant")},
    search=ADAMW,
    at_step_ratio=at_step_ratio,
)
