"""What HyperCloning says of clones.

"Sooner" is the ratio of what the random model and the clone paid to reach the random model's final
loss; of one shape, they pay alike for a token.
"""

from mugrow.analysis.measure.claims import claim, untestable
from mugrow.analysis.measure.quantity import at_scale, each, evaluated, final, logged, speedup
from mugrow.bench.arm import ArmName

LESS_TRAINED = {"cpu": (0.25, 0.5), "gpu": (0.25, 0.5), "paper": (0.064, 0.128, 0.256)}
FAMILIES = ("GPT", "LLaMA")
RANDOM = ArmName("random", start="random")
LARGE = ArmName("random, 4 times the width", start="random", width=4)
MODES = tuple(ArmName(m, start="clone", mode=m) for m in ("symmetric", "noisy", "diagonal"))
CLONE, NOISY, DIAGONAL = MODES
FROM_SMALL = ArmName("4 times the small one", **CLONE.factors, width=4, growth=4)
FROM_MIDDLE = ArmName("twice the middle one", **CLONE.factors, width=4, growth=2)
TASKS = "the average of ten tasks, the paper's main figure"
ABLATION = "the paper's ablation of expansions on Pythia-1.4B"
RANKS = "weight_rank/blocks."  # of hidden matrices, as shares of full


def named(arm: ArmName, family: str) -> ArmName:
    return arm if family == "GPT" else ArmName(f"{arm} ({family})", **arm.factors, family=family)


def after(trained: float) -> ArmName:
    return CLONE.varied(f"source of {trained:g} times the steps", trained=trained)


H1 = (
    *(
        claim(
            f"sooner-{family}",
            "the clone reaches the random model's final quality 2.2 to 4 times sooner",
            f"{TASKS}; here the {family} family",
            "tokens of random over those of the clone to random's final loss",
            speedup(named(RANDOM, family), named(CLONE, family), "target") > 2.2,
        )
        for family in FAMILIES
    ),
    claim(
        "sooner-charged",
        "it does so too if the source has to be paid for (the paper does not say so)",
        "our question to its main figure",
        "FLOPs of random over those of the clone and its source to random's final loss",
        speedup(RANDOM, CLONE, "source") > 1,
    ),
    claim(
        "ends-better",
        "the clone also ends better",
        TASKS,
        "final loss of the clone minus that of random, nats",
        final(CLONE) - final(RANDOM) < 0,
    ),
    claim(
        "forgetting",
        "at first the clone forgets: its quality dips before it rises",
        "the early part of the paper's curves",
        "highest loss after the first steps minus the loss as cloned, nats",
        logged(CLONE, "val_loss", "highest") - logged(CLONE, "val_loss", "first") > 0,
    ),
)

H2 = (
    claim(
        "noise-level",
        "symmetric and noisy expansion are level",
        ABLATION,
        "final loss of symmetric minus that of noisy, nats",
        (final(CLONE) - final(NOISY)).within(-0.02, 0.02),
    ),
    claim(
        "diagonal-worst",
        "diagonal expansion is the worst of the clones",
        ABLATION,
        "final loss of diagonal minus that of symmetric, nats",
        final(DIAGONAL) - final(CLONE) > 0.005,
    ),
    claim(
        "all-beat-random",
        "every expansion, also diagonal, is better than random weights",
        ABLATION,
        "final loss of diagonal minus that of random, nats",
        final(DIAGONAL) - final(RANDOM) < 0,
    ),
)

H3 = (
    claim(
        "better-source",
        "a source trained for longer makes a better clone: 16, 32, 64B tokens",
        "the paper's ablation of base checkpoints",
        "final loss after the longest source minus that after the shortest, nats",
        final(CLONE) - at_scale(lambda scale: final(after(LESS_TRAINED[scale][0]))) < 0,
    ),
)

H4 = (
    claim(
        "twice-beats-four",
        "5.3B parameters are better begun as twice 1.3B than as four times 350M",
        "the paper's OPT-5.3B",
        "final loss from twice the middle minus from four times the small, nats",
        final(FROM_MIDDLE) - final(FROM_SMALL) < 0,
    ),
)

H5 = (
    *(
        claim(
            f"{mode}-part",
            f"clones of {mode} expansion become different units in training",
            "our reading of the paper's symmetry diagnostics: similarity of halves against steps",
            "distance of clones in the residual stream at the end, relative to its norm",
            logged(mode, "asymmetry", "last") > 0.01,
        )
        for mode in MODES
    ),
    *(
        claim(
            f"{mode}-spectrum",
            f"matrices of {mode} expansion come to have the singular values of a random start",
            "our reading of the paper's symmetry diagnostics: spectra against steps",
            "rank of hidden matrices at the end over that of random's (values that hold 90 %)",
            each(evaluated(mode, RANKS) / evaluated(RANDOM, RANKS)) > 0.9,
        )
        for mode in MODES
    ),
)

UNTESTABLE = (
    untestable(
        "ten-tasks",
        "a higher mean accuracy on ten downstream tasks, after up to 250B tokens",
        TASKS,
        "the tasks need models that answer questions; validation loss is measured",
    ),
)
