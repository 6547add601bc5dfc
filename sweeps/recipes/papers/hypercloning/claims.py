"""What HyperCloning says of clones.

"Sooner" is the ratio of what the random model and the clone paid to reach the random model's final
loss; of one shape, they pay alike for a token.
"""

from mugrow.analysis.measure.claims import no_rule, rule
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


MAIN = "our question to its main figure"
FASTER = {
    family: speedup(named(RANDOM, family), named(CLONE, family), "target") for family in FAMILIES
}
DIPS = logged(CLONE, "val_loss", "highest") - logged(CLONE, "val_loss", "first")
H1 = (
    *(
        rule(f"sooner-{family}", f"{TASKS}; here the {family} family", faster > 2.2).decides(
            "the clone reaches the random model's final quality 2.2 to 4 times sooner",
            "tokens of random over those of the clone to random's final loss",
        )
        for family, faster in FASTER.items()
    ),
    rule("sooner-charged", MAIN, speedup(RANDOM, CLONE, "source") > 1).decides(
        "it does so too if the source has to be paid for (the paper does not say so)",
        "FLOPs of random over those of the clone and its source to random's final loss",
    ),
    rule("ends-better", TASKS, final(CLONE) - final(RANDOM) < 0).decides(
        "the clone also ends better",
        "final loss of the clone minus that of random, nats",
    ),
    rule("forgetting", "the early part of the paper's curves", DIPS > 0).decides(
        "at first the clone forgets: its quality dips before it rises",
        "highest loss after the first steps minus the loss as cloned, nats",
    ),
)

H2 = (
    rule("noise-level", ABLATION, (final(CLONE) - final(NOISY)).within(-0.02, 0.02)).decides(
        "symmetric and noisy expansion are level",
        "final loss of symmetric minus that of noisy, nats",
    ),
    rule("diagonal-worst", ABLATION, final(DIAGONAL) - final(CLONE) > 0.005).decides(
        "diagonal expansion is the worst of the clones",
        "final loss of diagonal minus that of symmetric, nats",
    ),
    rule("all-beat-random", ABLATION, final(DIAGONAL) - final(RANDOM) < 0).decides(
        "every expansion, also diagonal, is better than random weights",
        "final loss of diagonal minus that of random, nats",
    ),
)

SHORTEST = at_scale(lambda scale: final(after(LESS_TRAINED[scale][0])))
SOURCES = "the paper's ablation of base checkpoints"
H3 = (
    rule("better-source", SOURCES, final(CLONE) - SHORTEST < 0).decides(
        "a source trained for longer makes a better clone: 16, 32, 64B tokens",
        "final loss after the longest source minus that after the shortest, nats",
    ),
)

OPT = "the paper's OPT-5.3B"
H4 = (
    rule("twice-beats-four", OPT, final(FROM_MIDDLE) - final(FROM_SMALL) < 0).decides(
        "5.3B parameters are better begun as twice 1.3B than as four times 350M",
        "final loss from twice the middle minus from four times the small, nats",
    ),
)

SYMMETRY = "our reading of the paper's symmetry diagnostics"
HALVES = f"{SYMMETRY}: similarity of halves"
APART = {mode: logged(mode, "asymmetry", "last") for mode in MODES}
FULLER = {mode: each(evaluated(mode, RANKS) / evaluated(RANDOM, RANKS)) for mode in MODES}
H5 = (
    *(
        rule(f"{mode}-part", f"{HALVES} against steps", apart > 0.01).decides(
            f"clones of {mode} expansion become different units in training",
            "distance of clones in the residual stream at the end, relative to its norm",
        )
        for mode, apart in APART.items()
    ),
    *(
        rule(f"{mode}-spectrum", f"{SYMMETRY}: spectra against steps", fuller > 0.9).decides(
            f"matrices of {mode} expansion come to have the singular values of a random start",
            "rank of hidden matrices at the end over that of random's (values that hold 90 %)",
        )
        for mode, fuller in FULLER.items()
    ),
)

UNTESTABLE = (
    no_rule("ten-tasks", TASKS).decides(
        "a higher mean accuracy on ten downstream tasks, after up to 250B tokens",
        "the tasks need models that answer questions; validation loss is measured",
    ),
)
