"""What G_stack says of eight growth operators.

Every grown arm ends at the compute of scratch with its source charged, so final losses compare. The
speed-up is the paper's,

    FLOPs of scratch / FLOPs paid - 1    at the loss that was paid for,

with scratch's FLOPs read off its own final losses at three budgets, linear in log FLOPs; a loss
beyond those counts as at the last of them, so no speed-up outside -40 to 60 % is ever claimed.
"""

from collections.abc import Sequence

import numpy as np

from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, combined, final, lowest, total_flops
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName

METHODS = {"direct": ("stack", "lemon"), "learn": ("ligo", "ligo"),
           "zero": ("composable", "composable"), "random": ("msg", "msg")}  # fmt: skip
OPERATORS = {
    f"{axis} {kind}": ArmName(f"{axis} {kind}", axis=axis, operator=kind, method=methods[place])
    for place, axis in enumerate(("depth", "width"))
    for kind, methods in METHODS.items()
}
DEPTH, WIDTH = list(OPERATORS.values())[:4], list(OPERATORS.values())[4:]
STACK, SCRATCH = DEPTH[0], ArmName("scratch", method="scratch")
BUDGETS = {
    budget: ArmName(f"scratch at {budget:g} times the compute", method="scratch", budget=budget)
    for budget in (0.6, 1.6)
}
SMALL_SOURCES = (0.125, 0.5, 0.8)
SOURCES = {"cpu": SMALL_SOURCES, "gpu": SMALL_SOURCES, "paper": (0.0105, 0.0525, 0.21, 0.525)}
LADDER = (SCRATCH, *BUDGETS.values())
TABLE = "the paper's comparison of operators at 1.1B parameters and 8e20 FLOPs"


def inside_minus_ends(scale: str) -> Quantity:
    """Of the sweep of d; scratch is d = 0."""
    *others, longest = (STACK.varied(d=share) for share in SOURCES[scale])
    return lowest(STACK, *others) - lowest(SCRATCH, longest)


def speedup_percent(arm: ArmName) -> Quantity:
    """By the equation above."""

    def read_off(values: Sequence[float]) -> float:
        loss, cost, *ladder = values
        flops, losses = np.array(ladder).reshape(2, -1)[:, np.argsort(ladder[: len(LADDER)])]
        falling = np.minimum.accumulate(losses)[::-1]  # np.interp wants them ascending
        log_flops = np.interp(loss, falling, np.log(flops)[::-1])
        return 100 * float(np.exp(log_flops) / cost - 1)

    return combined(
        read_off, final(arm), total_flops(arm), *map(total_flops, LADDER), *map(final, LADDER)
    )


def by_speedup(name: str, percent: float, loss: float) -> Claim[Store]:
    """Faster than scratch, or slower; a speed-up that the paper has at about 0 is at most 5 %."""
    found, faster = speedup_percent(OPERATORS[name]), percent > 0
    holds = found > 0 if faster else found < (5 if name == "width direct" else 0)
    return rule(f"speedup-{name.replace(' ', '-')}", TABLE, holds).decides(
        f"{name}: loss {loss:.3f}, {abs(percent):g} % {'faster' if faster else 'slower'} than "
        "scratch to the same loss, the source charged",
        "FLOPs of scratch to the same loss over FLOPs paid, minus 1, %",
    )


G1 = (
    rule("stack-best", TABLE, final(STACK) - lowest(*DEPTH[1:], *WIDTH) < 0).decides(
        "of all eight operators stacking in depth has the lowest loss: 2.151, the next 2.156",
        "loss of depth direct minus the lowest of the other seven, nats",
    ),
    rule("stack-beats-scratch", TABLE, final(STACK) - final(SCRATCH) < 0).decides(
        "stacking in depth ends below scratch, the source charged: 2.151 against 2.204",
        "loss of depth direct minus that of scratch at equal compute, nats",
    ),
    rule("width-no-better", TABLE, lowest(*WIDTH) - final(SCRATCH) > -0.01).decides(
        "no operator in width is better than scratch: 2.209 to 2.249 against 2.204",
        "lowest loss in width minus that of scratch at equal compute, nats",
    ),
)

G2 = (
    by_speedup("depth direct", 49.1, 2.151),
    by_speedup("depth learn", 48.6, 2.156),
    by_speedup("depth zero", 46.6, 2.161),
    by_speedup("depth random", -25.7, 2.258),
    by_speedup("width direct", -0.7, 2.209),
    by_speedup("width learn", -15.4, 2.233),
    by_speedup("width random", -13.8, 2.227),
    by_speedup("width zero", -17.9, 2.249),
)

GUIDELINE = "the paper's guideline g* from its sweep of 2, 4, 8 and 24"
SWEEP = "the paper's sweep of d over 0, 1, 5, 10, 20 and 50B tokens"
BEST_2_TO_4 = lowest(STACK, STACK.varied(g=2)) - final(STACK.varied(g=8)) < 0
G3 = (
    rule("best-factor", GUIDELINE, BEST_2_TO_4).decides(
        "the best growth factor lies between 2 and 4",
        "lower loss of g = 2 and 4 minus that of g = 8 at equal compute, nats",
    ),
    rule("best-source", SWEEP, quantity.at_scale(inside_minus_ends) < 0).decides(
        "there is a best d: neither no source (scratch) nor the longest",
        "lowest loss inside the sweep minus the lower of its two ends, nats",
    ),
)

UNTESTABLE = (
    no_rule("scales-up", "the paper's larger models").decides(
        "54.5 % faster at 3B parameters and 240B tokens, 55.3 % at 7B and 220B",
        "models of that size are not trained here",
    ),
    no_rule("longer", "the paper's longest training").decides(
        "at 410M the speed-up falls from 53.1 % at 400B tokens to 31 % at 700B",
        "one horizon is trained here, of under one token a parameter",
    ),
    no_rule("guideline", "the paper's fitted guideline for the source's tokens").decides(
        "log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74",
        "fitted to a compute 10^9 times larger; here it asks for 10^13 tokens, where a whole run "
        "has 10^5",
    ),
    no_rule("accuracy", "the paper's comparison with gradual stacking").decides(
        "gradual stacking is 2.4 points of accuracy behind stacking once",
        "the benchmarks need models that answer questions",
    ),
)
