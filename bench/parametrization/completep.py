"""CompleteP: muP in width, and in depth a residual branch that weighs one over the depth.

With L the ratio of the number of blocks to the base model's, each block adds

    x <- x + L^-alpha attention(norm(x));     x <- x + L^-alpha mlp(norm(x))

and the multipliers of ``mup``'s table are multiplied by (Dey et al., arXiv 2505.01618, Table 1)

    ===========================  ==========  ===============  ============  =========
    parameter                    init std    lr               weight decay  eps
    ===========================  ==========  ===============  ============  =========
    in a block: matrix           1           L^(alpha - 1)    1             L^-alpha
    in a block: gain, bias       --          L^(alpha - 1)    0             L^-alpha
    embedding, final norm, head  1           1                1             1
    ===========================  ==========  ===============  ============  =========

``alpha=1`` is CompleteP; ``alpha=0.5`` the depth-muP of Yang et al., arXiv 2310.02244 (in Bordelon
et al., arXiv 2309.16620, rates are not scaled). At the base depth it is ``mup`` for any alpha.

GPT-2's 1/sqrt(2 L) on what writes to the residual stream must not be there beside the multiplier;
no parametrization here has it. The public code of CompleteP scales the eps of embeddings and head
as that of the blocks; their gradients do not shrink with depth, so here only 1/m is on them, as
the later Complete(d)P asks (arXiv 2512.22382).

With alpha = 1 the learning rate needs no rule in depth at all. The L blocks take steps of one size
in one direction, so their sum grows as L, which is what 1/L takes back; with alpha = 1/2 the rates
must fall as 1/sqrt(L) to the same end.
"""

from dataclasses import replace

from mugrow.bench.parametrization import ADAMW, Parametrization, Rules, mup
from mugrow.bench.spec import ModelSpec


def rules(model: ModelSpec, base: ModelSpec, *, alpha: float = 1.0) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``, in width and depth."""
    in_width = mup.rules(model, base)
    deeper = model.depth / base.depth
    branch, lr = deeper**-alpha, deeper ** (alpha - 1)
    tensors = {
        name: rule._replace(lr=rule.lr * lr, eps=rule.eps * branch)
        if name.startswith("blocks.")
        else rule
        for name, rule in in_width.tensors.items()
    }
    multipliers = replace(in_width.multipliers, residual_attention=branch, residual_mlp=branch)
    return Rules(tensors, multipliers)


PARAMETRIZATION = Parametrization(
    "completep",
    "muP, and residual branches of depth^-alpha: one learning rate for all depths",
    "arXiv 2505.01618",
    rules,
    search=ADAMW,
)
