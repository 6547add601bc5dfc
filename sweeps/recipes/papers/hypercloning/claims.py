"""What HyperCloning says of clones, and how it is measured here.

Losses are final validation losses in nats, compared seed by seed. "Sooner" is the ratio of what the
random model and the clone paid to reach the random model's final loss; of one shape, they pay alike
for a token.
"""

from functools import partial

import pandas as pd

from mugrow.analysis.figures import arms
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, minus, speedup
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval, student_interval

Claims = tuple[Claim[Store], ...]
LESS_TRAINED = {"cpu": (0.25, 0.5), "gpu": (0.25, 0.5), "paper": (0.064, 0.128, 0.256)}
MODES = ("symmetric", "noisy", "diagonal")
FAMILIES = ("GPT", "LLaMA")
CLONE, RANDOM, LARGE = "symmetric", "random", "random, 4 times the width"
FROM_SMALL, FROM_MIDDLE = "4 times the small one", "twice the middle one"
TASKS = "the average of ten tasks, the paper's main figure"


def named(arm: str, family: str) -> str:
    return arm if family == "GPT" else f"{arm} ({family})"


def after(trained: float) -> str:
    return f"{CLONE}, source of {trained:g} times the steps"


def sooner(store: Store, family: str) -> Interval:
    """What the random model of a family pays for its final loss over what its clone pays."""
    return speedup(store, named(RANDOM, family), named(CLONE, family), "target")


def forgotten(store: Store, name: str) -> Interval:
    """The highest loss after the first steps minus the loss as cloned, nats."""
    own = arm(store.runs, name)[["run_id", "seed"]].merge(store.curves, on="run_id")
    begun = own[own["step"] == 0].set_index("seed")["val_loss"]
    highest = own[own["step"] > 0].groupby("seed")["val_loss"].max()
    return student_interval(list(highest - begun))


def parted(store: Store, mode: str) -> Interval:
    """The last asymmetry of an arm's runs: 0 for clones, about 1 for independent units."""
    last = arms.points(store, mode).sort_values("step").groupby("seed")["asymmetry"].last()
    return student_interval(list(last))


def weight_ranks(store: Store, name: str) -> pd.DataFrame:
    """Of an arm's hidden matrices at the end: columns seed, quantity, value, the last a share."""
    rows = store.evaluations[store.evaluations["arm"] == name]
    return rows[rows["quantity"].str.startswith("weight_rank/blocks.")]


def rank_ratio(store: Store, mode: str) -> Interval:
    """The mean rank of an arm's hidden matrices over that of random weights, paired by seed."""
    own, base = (weight_ranks(store, name).groupby("seed")["value"].mean()
                 for name in (mode, RANDOM))  # fmt: skip
    return student_interval(list((own / base).dropna()))


H1: Claims = (
    *(
        Claim(
            f"sooner-{family}",
            "the clone reaches the random model's final quality 2.2 to 4 times sooner",
            f"{TASKS}; here the {family} family",
            "tokens of random over those of the clone to random's final loss",
            partial(sooner, family=family),
            low=2.2,
        )
        for family in FAMILIES
    ),
    Claim(
        "sooner-charged",
        "it does so too if the source has to be paid for (the paper does not say so)",
        "our question to its main figure",
        "FLOPs of random over those of the clone and its source to random's final loss",
        lambda store: speedup(store, RANDOM, CLONE, "source"),
        low=1.0,
    ),
    Claim(
        "ends-better",
        "the clone also ends better",
        TASKS,
        "final loss of the clone minus that of random, nats",
        lambda store: minus(store, CLONE, RANDOM),
        high=0.0,
    ),
    Claim(
        "forgetting",
        "at first the clone forgets: its quality dips before it rises",
        "the early part of the paper's curves",
        "highest loss after the first steps minus the loss as cloned, nats",
        lambda store: forgotten(store, CLONE),
        low=0.0,
    ),
)

H2: Claims = (
    Claim(
        "noise-level",
        "symmetric and noisy expansion are level",
        "the paper's ablation of expansions on Pythia-1.4B",
        "final loss of symmetric minus that of noisy, nats",
        lambda store: minus(store, CLONE, "noisy"),
        low=-0.02,
        high=0.02,
    ),
    Claim(
        "diagonal-worst",
        "diagonal expansion is the worst of the clones",
        "the paper's ablation of expansions on Pythia-1.4B",
        "final loss of diagonal minus that of symmetric, nats",
        lambda store: minus(store, "diagonal", CLONE),
        low=0.005,
    ),
    Claim(
        "all-beat-random",
        "every expansion, also diagonal, is better than random weights",
        "the paper's ablation of expansions on Pythia-1.4B",
        "final loss of diagonal minus that of random, nats",
        lambda store: minus(store, "diagonal", RANDOM),
        high=0.0,
    ),
)

H3: Claims = (
    Claim(
        "better-source",
        "a source trained for longer makes a better clone: 16, 32, 64B tokens",
        "the paper's ablation of base checkpoints",
        "final loss after the longest source minus that after the shortest, nats",
        lambda store: minus(store, CLONE, after(LESS_TRAINED[store.study["scale"]][0])),
        high=0.0,
    ),
)

H4: Claims = (
    Claim(
        "twice-beats-four",
        "5.3B parameters are better begun as twice 1.3B than as four times 350M",
        "the paper's OPT-5.3B",
        "final loss from twice the middle minus from four times the small, nats",
        lambda store: minus(store, FROM_MIDDLE, FROM_SMALL),
        high=0.0,
    ),
)

H5: Claims = (
    *(
        Claim(
            f"{mode}-part",
            f"clones of {mode} expansion become different units in training",
            "our reading of the paper's symmetry diagnostics: similarity of halves against steps",
            "distance of clones in the residual stream at the end, relative to its norm",
            partial(parted, mode=mode),
            low=0.01,
        )
        for mode in MODES
    ),
    *(
        Claim(
            f"{mode}-spectrum",
            f"matrices of {mode} expansion come to have the singular values of a random start",
            "our reading of the paper's symmetry diagnostics: spectra against steps",
            "rank of hidden matrices at the end over that of random's (values that hold 90 %)",
            partial(rank_ratio, mode=mode),
            low=0.9,
        )
        for mode in MODES
    ),
)

UNTESTABLE: Claims = (
    Claim(
        "ten-tasks",
        "a higher mean accuracy on ten downstream tasks, after up to 250B tokens",
        TASKS,
        untestable="the tasks need models that answer questions; validation loss is measured",
    ),
)
