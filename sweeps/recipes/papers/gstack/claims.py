"""What G_stack says of eight growth operators, and how it is measured here.

Every grown arm ends at the compute of scratch with its source charged, so final losses compare. The
speed-up is the paper's,

    FLOPs of scratch / FLOPs paid - 1    at the loss that was paid for,

with scratch's FLOPs read off its own final losses at three budgets, linear in log FLOPs; a loss
beyond those counts as at the last of them, so no speed-up outside -40 to 60 % is ever claimed.
"""

import math
from collections.abc import Sequence

import numpy as np

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, common_seeds, finals, minus, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval

Claims = tuple[Claim[Store], ...]
OPERATORS = {
    "depth direct": "stack",
    "depth learn": "ligo",
    "depth zero": "composable",
    "depth random": "msg",
    "width direct": "lemon",
    "width learn": "ligo",
    "width zero": "composable",
    "width random": "msg",
}
DEPTH = [name for name in OPERATORS if name.startswith("depth")]
WIDTH = [name for name in OPERATORS if name.startswith("width")]
STACK, SCRATCH = "depth direct", "scratch"
FINAL = "final validation loss (nats per token)"
TABLE = "the paper's comparison of operators at 1.1B parameters and 8e20 FLOPs"
SOURCES = {
    "cpu": (0.125, 0.5, 0.8),
    "gpu": (0.125, 0.5, 0.8),
    "paper": (0.0105, 0.0525, 0.21, 0.525),
}
BUDGETS = (0.6, 1.6)


def ahead(store: Store, some: Sequence[str], others: Sequence[str]) -> Interval:
    """The lowest mean final loss of some arms minus that of others, nats."""
    tables = {name: finals(store.runs, name) for name in (*some, *others)}

    def lowest(names: Sequence[str], seeds: Sequence[int]) -> float:
        return min(float(np.mean([tables[name][seed] for seed in seeds])) for name in names)

    return over_seeds(
        common_seeds(list(tables.values())),
        lambda seeds: lowest(some, seeds) - lowest(others, seeds),
    )


def inside_minus_ends(store: Store) -> Interval:
    """Of the sweep of d; scratch is d = 0."""
    *others, longest = SOURCES[store.study["scale"]]
    inside = [STACK, *(f"{STACK}, d = {share:g}" for share in others)]
    return ahead(store, inside, [SCRATCH, f"{STACK}, d = {longest:g}"])


def paid(store: Store, name: str) -> float:
    """Mean FLOPs of an arm's runs with their sources."""
    own = arm(store.runs, name)
    return float((own["flops"] + own["flops_source"].fillna(0.0)).mean())


def ladder(store: Store) -> dict[float, dict[int, float]]:
    """Scratch's final losses by seed, at each of its FLOPs, ascending."""
    names = [SCRATCH, *(f"{SCRATCH} at {budget:g} times the compute" for budget in BUDGETS)]
    return dict(sorted((paid(store, name), finals(store.runs, name)) for name in names))


def speedup_percent(store: Store, name: str) -> Interval:
    """By the equation above."""
    rungs, own, cost = ladder(store), finals(store.runs, name), paid(store, name)

    def speedup(seeds: Sequence[int]) -> float:
        losses = [float(np.mean([rung[seed] for seed in seeds])) for rung in rungs.values()]
        loss = float(np.mean([own[seed] for seed in seeds]))
        falling = np.minimum.accumulate(losses)[::-1]  # np.interp wants them ascending
        log_flops = np.interp(loss, falling, np.log(list(rungs))[::-1])
        return 100 * float(np.exp(log_flops) / cost - 1)

    return over_seeds(common_seeds([own, *rungs.values()]), speedup)


def by_speedup(name: str, percent: float, loss: float) -> Claim[Store]:
    """Faster than scratch, or slower; a speed-up that the paper has at about 0 is at most 5 %."""
    level = 5.0 if name == "width direct" else 0.0
    return Claim(
        f"speedup-{name.replace(' ', '-')}",
        f"{name}: loss {loss:.3f}, {abs(percent):g} % {'faster' if percent > 0 else 'slower'} than "
        "scratch to the same loss, the source charged",
        TABLE,
        "FLOPs of scratch to the same loss over FLOPs paid, minus 1, %",
        lambda store: speedup_percent(store, name),
        low=0.0 if percent > 0 else -math.inf,
        high=math.inf if percent > 0 else level,
    )


G1: Claims = (
    Claim(
        "stack-best",
        "of all eight operators stacking in depth has the lowest loss: 2.151, the next 2.156",
        TABLE,
        "loss of depth direct minus the lowest of the other seven, nats",
        lambda store: ahead(store, [STACK], [name for name in OPERATORS if name != STACK]),
        high=0.0,
    ),
    Claim(
        "stack-beats-scratch",
        "stacking in depth ends below scratch, the source charged: 2.151 against 2.204",
        TABLE,
        "loss of depth direct minus that of scratch at equal compute, nats",
        lambda store: minus(store, STACK, SCRATCH),
        high=0.0,
    ),
    Claim(
        "width-no-better",
        "no operator in width is better than scratch: 2.209 to 2.249 against 2.204",
        TABLE,
        "lowest loss in width minus that of scratch at equal compute, nats",
        lambda store: ahead(store, WIDTH, [SCRATCH]),
        low=-0.01,
    ),
)

G2: Claims = (
    by_speedup("depth direct", 49.1, 2.151),
    by_speedup("depth learn", 48.6, 2.156),
    by_speedup("depth zero", 46.6, 2.161),
    by_speedup("depth random", -25.7, 2.258),
    by_speedup("width direct", -0.7, 2.209),
    by_speedup("width learn", -15.4, 2.233),
    by_speedup("width random", -13.8, 2.227),
    by_speedup("width zero", -17.9, 2.249),
)

G3: Claims = (
    Claim(
        "best-factor",
        "the best growth factor lies between 2 and 4",
        "the paper's guideline g* from its sweep of 2, 4, 8 and 24",
        "lower loss of g = 2 and 4 minus that of g = 8 at equal compute, nats",
        lambda store: ahead(store, [STACK, f"{STACK}, g = 2"], [f"{STACK}, g = 8"]),
        high=0.0,
    ),
    Claim(
        "best-source",
        "there is a best d: neither no source (scratch) nor the longest",
        "the paper's sweep of d over 0, 1, 5, 10, 20 and 50B tokens",
        "lowest loss inside the sweep minus the lower of its two ends, nats",
        inside_minus_ends,
        high=0.0,
    ),
)

UNTESTABLE: Claims = (
    Claim(
        "scales-up",
        "54.5 % faster at 3B parameters and 240B tokens, 55.3 % at 7B and 220B",
        "the paper's larger models",
        untestable="models of that size are not trained here",
    ),
    Claim(
        "longer",
        "at 410M the speed-up falls from 53.1 % at 400B tokens to 31 % at 700B",
        "the paper's longest training",
        untestable="one horizon is trained here, of under one token a parameter",
    ),
    Claim(
        "guideline",
        "log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74",
        "the paper's fitted guideline for the source's tokens",
        untestable="fitted to a compute 10^9 times larger; here it asks for 10^13 tokens, where "
        "a whole run has 10^5",
    ),
    Claim(
        "accuracy",
        "gradual stacking is 2.4 points of accuracy behind stacking once",
        "the paper's comparison with gradual stacking",
        untestable="the benchmarks need models that answer questions",
    ),
)
