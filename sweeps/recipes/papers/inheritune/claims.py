"""What Inheritune claims of halves begun as a reference's first blocks.

Losses are final validation losses in nats, compared seed by seed. All arms have as many steps but
``TWICE``. The reference is a model of the full depth, trained to its end on batches of its own; the
paper does not charge it, and reviewers asked.
"""

from collections.abc import Sequence

import pandas as pd

from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, combined, final, speedup
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName

SHARES = (0.25, 0.5, 0.75)  # of the reference's blocks
HALF, QUARTER = SHARES[1], SHARES[0]
FROM_SCRATCH, INHERITED = (
    {share: ArmName(f"{share:g} of the depth {text}", start=start, share=share) for share in SHARES}
    for text, start in (("from scratch", "random"), ("inherited", "inherited"))
)
FULL = ArmName("full", start="random", share=1.0)
OLD = ArmName("half from scratch", **FROM_SCRATCH[HALF].factors)
NEW = ArmName("half inherited", **INHERITED[HALF].factors)
FROM_SCRATCH |= {HALF: OLD, 1.0: FULL}
INHERITED[HALF] = NEW
TWICE = OLD.varied("twice the steps", times=2)
STACKED = ArmName("stacked to a half", start="stacked", share=HALF)
HYBRID = ArmName("inherited, then stacked to a half", start="inherited, stacked", share=HALF)
NARROW = ArmName("half the width", start="random", share=1.0, width=0.5)
PARTS = {
    part: NEW.varied(text, part=part)
    for part, text in (("attention", "attention alone"), ("mlp", "MLP alone"),
                       ("both", "attention and MLP"))
}  # fmt: skip
REFERENCE = ArmName("reference", start="random", share=1.0, data="its own")
LOGS = "the authors' training logs, validation loss after 100k steps"
ABLATION = "the paper's ablation, 16 of 24 layers"
MAIN_FIGURE = "the paper's main figure, read as compute"
REVIEWERS = "reviewers' question to the paper's main figure"
COLLAPSE = "the paper's motivation: attention collapses in the late layers of GPT-2"
RANK_ONE = "the paper's motivation: rank-one attention looks at one position"


def smallest_matching(losses: Sequence[float]) -> float:
    """The first share whose loss is not above the first loss, the full model's; 1 where none is."""
    full, *inherited = losses
    matching = (share for share, loss in zip(SHARES, inherited, strict=True) if loss <= full)
    return next(matching, 1.0)


def by_block(store: Store, observed: str) -> pd.DataFrame:
    """``rank`` or ``mass`` of the reference's attention: a row a seed, a column a block in
    order. Raises ``UserError`` where it was not observed."""
    rows = quantity.evaluations(store, REFERENCE, f"{observed}/")
    block = rows["quantity"].str.extract(r"\.(\d+)$", expand=False).astype(int)
    return rows.assign(block=block).pivot_table(index="seed", columns="block", values="value")


def late_minus_early(observed: str) -> Quantity:
    """The mean over the last quarter of the blocks minus that over the first."""

    def difference(store: Store) -> dict[int, float]:
        table = by_block(store, observed)
        count = max(1, round(QUARTER * table.shape[1]))
        found = table.iloc[:, -count:].mean(axis=1) - table.iloc[:, :count].mean(axis=1)
        return dict(zip(table.index.astype(int), found.astype(float), strict=True))

    return quantity.PerSeed(difference)


MATCHING_SHARE = combined(smallest_matching, final(FULL), *map(final, INHERITED.values()))
I1 = (
    rule("beats-half", LOGS, final(NEW) - final(OLD) < 0).decides(
        "the inherited half ends below the same half from scratch: 2.6420 against 2.6977 (24 of 48 "
        "layers), 2.8090 against 2.9737 (18 of 36)",
        "final loss of the inherited half minus that of the half from scratch, nats",
    ),
    rule("matches-full", LOGS, final(NEW) - final(FULL) < 0.01).decides(
        "it matches or beats the full model: 2.6420 against 2.6566, 2.8090 against 2.8531",
        "final loss of the inherited half minus that of the full model, nats",
    ),
    rule("twice-the-steps", LOGS, final(NEW) - final(TWICE) > 0).decides(
        "the half from scratch needs twice the steps to end below it: 2.6295 after 200k",
        "final loss of the inherited half minus that of the half trained twice as long, nats",
    ),
    rule("reference-charged", REVIEWERS, speedup(FULL, NEW, "source") > 1).decides(
        "it is also the cheaper way to the full model's loss with the reference paid for (the "
        "paper does not charge it)",
        "FLOPs of the full model over those of the inherited half and its reference, to the full "
        "model's final loss",
    ),
    rule("reference-free", MAIN_FIGURE, speedup(FULL, NEW, "target") > 1).decides(
        "with a reference at hand it is cheaper than a full model from scratch",
        "FLOPs of the full model over those of the inherited half, to the full model's final loss",
    ),
)

I2 = tuple(
    rule(f"beats-{name}", LOGS, final(NEW) - final(other) < 0).decides(
        f"the inherited half ends below {what}",
        f"final loss of the inherited half minus that of the arm {str(other)!r}, nats",
    )
    for name, other, what in (
        ("stacking", STACKED, "one stacked in two rounds: 2.6420 against 2.6534 (24 layers), "
                              "2.8090 against 2.8781 (18)"),
        ("hybrid", HYBRID, "hybrid stacking: 2.6420 against 2.6467, 2.8090 against 2.8910"),
        ("narrow", NARROW, "a model of half the width: 2.6420 against 2.7778, 2.8090 against "
                           "3.0689"),
    )
)  # fmt: skip

LEAST, *_, MOST = map(final, INHERITED.values())
I3 = (
    rule("deeper-inherits-better", LOGS, MOST - LEAST < 0).decides(
        "more inherited layers, lower loss: 2.8704 (12), 2.8496 (14), 2.8108 (16 of 24)",
        f"final loss of {SHARES[-1]:g} of the depth inherited minus that of {SHARES[0]:g}, nats",
    ),
    rule("matching-depth", LOGS, MATCHING_SHARE < 0.7).decides(
        "half to two thirds of the layers match the reference: 24 of 48, 18 of 36, 16 of 24",
        "smallest inherited share of the depth that ends at or below the full model's loss",
    ),
)

I4 = (
    rule("rank-falls", COLLAPSE, late_minus_early("rank") < 0).decides(
        "attention of deeper layers has a lower rank than that of early ones",
        "attention rank, share of the context, last quarter of the reference's blocks minus first",
    ),
    rule("mass-gathers", RANK_ONE, late_minus_early("mass") > 0).decides(
        "and its mass gathers in single columns",
        "largest share of attention's squares in one column, last quarter of blocks minus first",
    ),
)

I5 = (
    *(
        rule(f"{part}-helps", ABLATION, final(PARTS[part]) - final(OLD) < 0).decides(
            f"inheriting the {part} alone is already better than scratch: {loss} against 2.8693",
            f"final loss of the half with the {part} inherited minus from scratch, nats",
        )
        for part, loss in (("attention", 2.8418), ("mlp", 2.8528))
    ),
    rule("both-suffice", ABLATION, (final(PARTS["both"]) - final(NEW)).within(-0.01, 0.01)).decides(
        "attention and MLP without the norms are as good as whole blocks: 2.8085 against 2.8108",
        "final loss of the half with both inherited minus that with whole blocks, nats",
    ),
)

UNTESTABLE = (
    no_rule("distillation", LOGS).decides(
        "distilling the reference into the half ends higher: 3.0190, 3.0276 and 3.0597",
        "no loss on another model's outputs here",
    ),
    no_rule("downstream", "the paper's second corpus").decides(
        "on FineWeb-Edu the inherited 16 layers average 48.08 and 49.75 on downstream tasks, the "
        "references 47.74 and 49.44",
        "the tasks need models that answer questions",
    ),
    no_rule("low-data", "the paper's low-data experiment").decides(
        "13 layers of OpenLLaMA-3B, trained on 1B tokens, make a 1.5B model with MMLU 25.67",
        "3B parameters; no model of that size is at hand",
    ),
)
