"""What Inheritune claims, and how each claim is measured here.

Losses are final validation losses in nats, compared seed by seed. All arms have as many steps but
``TWICE``. The reference is a model of the full depth, trained to its end on batches of its own; the
paper does not charge it, and reviewers asked.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import (
    common_seeds,
    difference,
    finals,
    minus,
    over_seeds,
    speedup,
)
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

Claims = tuple[Claim[Store], ...]
SHARES = (0.25, 0.5, 0.75)  # of the reference's blocks
HALF = 0.5
FULL, REFERENCE = "full", "reference"
TWICE = "half from scratch, twice the steps"
STACKED, HYBRID, NARROW = "stacked to a half", "inherited, then stacked to a half", "half the width"
PARTS = ("attention", "mlp", "both")
LOGS = "the authors' training logs, validation loss after 100k steps"
QUARTER = 0.25  # of the blocks are the early ones, and of the late ones


def scratch(share: float) -> str:
    return {HALF: "half from scratch", 1.0: FULL}.get(share, f"{share:g} of the depth from scratch")


def inherited(share: float) -> str:
    return "half inherited" if share == HALF else f"{share:g} of the depth inherited"


def of_part(part: str) -> str:
    names = {"attention": "attention alone", "mlp": "MLP alone", "both": "attention and MLP"}
    return f"half inherited, {names[part]}"


OLD, NEW = scratch(HALF), inherited(HALF)


def matching_share(store: Store) -> Interval:
    """The smallest inherited share of the depth whose mean final loss is not above the full
    model's; 1 where none is."""
    tables = {share: finals(store.runs, inherited(share)) for share in SHARES}
    full = finals(store.runs, FULL)

    def smallest(seeds: Sequence[int]) -> float:
        level = np.mean([full[seed] for seed in seeds])
        enough = (
            share
            for share, losses in tables.items()
            if np.mean([losses[seed] for seed in seeds]) <= level
        )
        return next(enough, 1.0)

    return over_seeds(common_seeds([full, *tables.values()]), smallest)


def by_block(store: Store, quantity: str) -> pd.DataFrame:
    """``rank`` or ``mass`` of the reference's attention: a row a seed, a column a block in
    order. Raises ``UserError`` where it was not observed."""
    rows = store.evaluations[store.evaluations["arm"] == REFERENCE]
    rows = rows[rows["quantity"].str.startswith(f"{quantity}/")]
    if rows.empty:
        raise UserError(f"no {quantity} of the reference's attention was observed")
    block = rows["quantity"].str.extract(r"\.(\d+)$", expand=False).astype(int)
    return rows.assign(block=block).pivot_table(index="seed", columns="block", values="value")


def late_minus_early(store: Store, quantity: str) -> Interval:
    """The mean over the last quarter of the blocks minus that over the first."""
    table = by_block(store, quantity)
    count = max(1, round(QUARTER * table.shape[1]))
    differences = table.iloc[:, -count:].mean(axis=1) - table.iloc[:, :count].mean(axis=1)
    by_seed = {int(str(seed)): float(value) for seed, value in differences.items()}
    return difference(by_seed, dict.fromkeys(by_seed, 0.0))


I1: Claims = (
    Claim(
        "beats-half",
        "the inherited half ends below the same half from scratch: 2.6420 against 2.6977 (24 of 48 "
        "layers), 2.8090 against 2.9737 (18 of 36)",
        LOGS,
        "final loss of the inherited half minus that of the half from scratch, nats",
        lambda store: minus(store, NEW, OLD),
        high=0.0,
    ),
    Claim(
        "matches-full",
        "it matches or beats the full model: 2.6420 against 2.6566, 2.8090 against 2.8531",
        LOGS,
        "final loss of the inherited half minus that of the full model, nats",
        lambda store: minus(store, NEW, FULL),
        high=0.01,
    ),
    Claim(
        "twice-the-steps",
        "the half from scratch needs twice the steps to end below it: 2.6295 after 200k",
        LOGS,
        "final loss of the inherited half minus that of the half trained twice as long, nats",
        lambda store: minus(store, NEW, TWICE),
        low=0.0,
    ),
    Claim(
        "reference-charged",
        "it is also the cheaper way to the full model's loss with the reference paid for (the "
        "paper does not charge it)",
        "reviewers' question to the paper's main figure",
        "FLOPs of the full model over those of the inherited half and its reference, to the full "
        "model's final loss",
        lambda store: speedup(store, FULL, NEW, "source"),
        low=1.0,
    ),
    Claim(
        "reference-free",
        "with a reference at hand it is cheaper than a full model from scratch",
        "the paper's main figure, read as compute",
        "FLOPs of the full model over those of the inherited half, to the full model's final loss",
        lambda store: speedup(store, FULL, NEW, "target"),
        low=1.0,
    ),
)

I2: Claims = tuple(
    Claim(
        f"beats-{name}",
        f"the inherited half ends below {what}",
        LOGS,
        f"final loss of the inherited half minus that of the arm {other!r}, nats",
        partial(lambda store, other: minus(store, NEW, other), other=other),
        high=0.0,
    )
    for name, other, what in (
        ("stacking", STACKED, "one stacked in two rounds: 2.6420 against 2.6534 (24 layers), "
                              "2.8090 against 2.8781 (18)"),
        ("hybrid", HYBRID, "hybrid stacking: 2.6420 against 2.6467, 2.8090 against 2.8910"),
        ("narrow", NARROW, "a model of half the width: 2.6420 against 2.7778, 2.8090 against "
                           "3.0689"),
    )
)  # fmt: skip

I3: Claims = (
    Claim(
        "deeper-inherits-better",
        "more inherited layers, lower loss: 2.8704 (12), 2.8496 (14), 2.8108 (16 of 24)",
        LOGS,
        f"final loss of {SHARES[-1]:g} of the depth inherited minus that of {SHARES[0]:g}, nats",
        lambda store: minus(store, inherited(SHARES[-1]), inherited(SHARES[0])),
        high=0.0,
    ),
    Claim(
        "matching-depth",
        "half to two thirds of the layers match the reference: 24 of 48, 18 of 36, 16 of 24",
        LOGS,
        "smallest inherited share of the depth that ends at or below the full model's loss",
        matching_share,
        high=0.7,
    ),
)

I4: Claims = (
    Claim(
        "rank-falls",
        "attention of deeper layers has a lower rank than that of early ones",
        "the paper's motivation: attention collapses in the late layers of GPT-2",
        "attention rank, share of the context, last quarter of the reference's blocks minus first",
        lambda store: late_minus_early(store, "rank"),
        high=0.0,
    ),
    Claim(
        "mass-gathers",
        "and its mass gathers in single columns",
        "the paper's motivation: rank-one attention looks at one position",
        "largest share of attention's squares in one column, last quarter of blocks minus first",
        lambda store: late_minus_early(store, "mass"),
        low=0.0,
    ),
)

I5: Claims = (
    *(
        Claim(
            f"{part}-helps",
            f"inheriting the {part} alone is already better than scratch: {loss} against 2.8693",
            "the paper's ablation, 16 of 24 layers",
            f"final loss of the half with the {part} inherited minus from scratch, nats",
            partial(lambda store, part: minus(store, of_part(part), OLD), part=part),
            high=0.0,
        )
        for part, loss in (("attention", 2.8418), ("mlp", 2.8528))
    ),
    Claim(
        "both-suffice",
        "attention and MLP without the norms are as good as whole blocks: 2.8085 against 2.8108",
        "the paper's ablation, 16 of 24 layers",
        "final loss of the half with both inherited minus that with whole blocks, nats",
        lambda store: minus(store, of_part("both"), NEW),
        low=-0.01,
        high=0.01,
    ),
)

UNTESTABLE: Claims = (
    Claim(
        "distillation",
        "distilling the reference into the half ends higher: 3.0190, 3.0276 and 3.0597",
        LOGS,
        untestable="no loss on another model's outputs here",
    ),
    Claim(
        "downstream",
        "on FineWeb-Edu the inherited 16 layers average 48.08 and 49.75 on downstream tasks, the "
        "references 47.74 and 49.44",
        "the paper's second corpus",
        untestable="the tasks need models that answer questions",
    ),
    Claim(
        "low-data",
        "13 layers of OpenLLaMA-3B, trained on 1B tokens, make a 1.5B model with MMLU 25.67",
        "the paper's low-data experiment",
        untestable="3B parameters; no model of that size is at hand",
    ),
)
