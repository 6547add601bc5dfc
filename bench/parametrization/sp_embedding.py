"""SP with the embedding's learning rate in proportion to the width, and nothing else changed.

With m the ratio of the width to the base model's:

    ================  ==========  =====  ============  =====  =======
    parameter         init std    lr     weight decay  eps    forward
    ================  ==========  =====  ============  =====  =======
    embedding         1           m      1             1      1
    all others        1           1      as in SP      1      1
    ================  ==========  =====  ============  =====  =======

Kalra and Barkeshli, arXiv 2605.21486, find that this captures nearly all of muP's advantage under
AdamW, so it is the baseline that muP should be held against, beside SP.

muP and this say the same of the embedding. Under SP the best rate of the hidden matrices falls as
1/m, and takes the embedding's with it, which wants none of it. muP lowers the one, this lifts the
other; what remains different is the readout, and the one rate to be re-tuned. Positions are
embeddings too; a tied readout is the embedding. Its weight decay is torch's, so with
``decay="scaled"`` a wide embedding decays m times as fast.
"""

from mugrow.bench.model import parameters
from mugrow.bench.parametrization import ADAMW, Parametrization, Rules, sp
from mugrow.bench.spec import ModelSpec


def rules(model: ModelSpec, base: ModelSpec) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``."""
    standard = sp.rules(model, base)
    tensors = {
        name: rule._replace(lr=model.width / base.width)
        if parameters(model)[name].kind == "embedding"
        else rule
        for name, rule in standard.tensors.items()
    }
    return Rules(tensors, standard.multipliers)


PARAMETRIZATION = Parametrization(
    "sp_embedding",
    "SP with the embedding's learning rate times the width ratio",
    "arXiv 2605.21486",
    rules,
    search=ADAMW,
)
