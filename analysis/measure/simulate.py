"""What the intervals promise, checked on studies whose truth is known.

``python -m mugrow.analysis.measure.simulate STUDY...`` prints the table: how often an interval
covers the truth, how often an end is open, how often a claim is decided, how often a true null is
called false. Nominal is 95 %, and 5 % of false verdicts.

A study is drawn so. A whole schedule of C FLOPs ends, in the mean, at a loss that falls by
``SLOPE`` nats for each factor e in FLOPs, less and less (scratch of ``zoo`` ends at 1.8058, 1.7658
and 1.7322 for 1, 1.216 and 1.416 times its FLOPs: 0.20 and 0.22). Every run adds normal noise, of
two parts: one that all runs of a seed share, ``between``, which pairing removes, and one of its
own, so that the difference of two arms of a seed has the standard deviation ``within``. Both are
from the studies named: ``within`` pools the variances over seeds of each grown arm's final loss
minus scratch's at the same target, weighted by seeds - 1; ``between`` pools the variances of the
mean over arms of each seed. The arms of one target share a scratch and so are not independent:
that makes the pooled value uncertain, not biased.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from mugrow.analysis.measure.arms import BASELINE, label_targets
from mugrow.analysis.measure.equal_compute import (
    BudgetLine,
    ChargedArm,
    Front,
    difference,
    speedup,
)
from mugrow.analysis.measure.measured import over_seeds
from mugrow.analysis.measure.savings import Arm, Curve, baseline_final, compare
from mugrow.analysis.measure.sequential import NULL_STUDIES, Looks
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.stats import Array, Interval, crossed_interval, holm, p_value

SLOPE = 0.21  # nats for each factor e in FLOPs
CURVATURE = 0.3  # the exponent of the power law that has this slope: 0.7 e - 0.3 of it an e later
CHARGED = 1.25  # FLOPs of the arm, in those of the line's first schedule
BUDGETS = np.array([0.5, 0.64, 0.8, 1.0])  # of a line, in those of its last
SEEDS = (2, 3, 5, 8)
SPEEDUPS = (1.0, 1.1, 1.3)
LOOKS = Looks()


@dataclass(frozen=True)
class Noise:
    """Standard deviations in nats: of a paired difference, and of what a seed's runs share."""

    within: float
    between: float


@dataclass(frozen=True)
class Text:
    """So many blocks of text, and by how much the difference of two arms varies over them, in
    standard deviations in nats: ``shared`` by all seeds, and each seed's ``own``."""

    blocks: int
    shared: float
    own: float

    def __str__(self) -> str:
        return f"{self.blocks} blocks, sd {self.shared:g} {self.own:g}"


TEXTS = (Text(16, 0.01, 0.005), Text(16, 0.04, 0.01), Text(4, 0.01, 0.005), Text(16, 0.0, 0.03))
TODAY = Noise(within=0.0094, between=0.0063)  # by ``noise_of``, of studies before budgets


def noise_of(stores: Sequence[Store]) -> Noise:
    """Pooled over the grown arms and targets of studies."""
    within, between = [], []
    for store in stores:
        targets = label_targets(store.runs)
        targets = targets[targets["status"] == "finished"]
        for _, rows in targets.groupby("target"):
            table = rows.pivot(index="seed", columns="label", values="final_val_loss").dropna()
            if BASELINE not in table or len(table) < 2:
                continue
            grown = table.drop(columns=BASELINE).sub(table[BASELINE], axis=0)
            within += [(len(table) - 1, float(grown[arm].var())) for arm in grown]
            between.append((len(table) - 1, float(table.mean(axis=1).var())))
    return Noise(*(math.sqrt(np.average([v for _, v in p], weights=[w for w, _ in p]))
                   for p in (within, between)))  # fmt: skip


def loss_of(flops: float | Array) -> Array:
    """The mean final loss of a whole schedule."""
    return 1.8 - SLOPE * (1 - np.asarray(flops, dtype=np.float64) ** -CURVATURE) / CURVATURE


def final_losses(random: np.random.Generator, seeds: Array, flops: Array, noise: Noise) -> Array:
    """Of whole schedules (seeds, flops): what the runs of a seed share is ``seeds`` (seeds,)."""
    own = noise.within / math.sqrt(2) * random.standard_normal((len(seeds), len(flops)))
    return loss_of(flops) + seeds[:, None] + own


def equal_compute_study(
    random: np.random.Generator, n: int, truth: float, noise: Noise, last: float
) -> tuple[ChargedArm, BudgetLine]:
    """An arm that is ``truth`` times as fast as a line of four budgets up to ``last``."""
    seeds = noise.between * random.standard_normal(n)
    budgets = last * BUDGETS
    line = BudgetLine(tuple(range(n)), budgets, final_losses(random, seeds, budgets, noise))
    arm = final_losses(random, seeds, np.array([truth * CHARGED]), noise)[:, 0]
    return ChargedArm(dict(enumerate(arm.tolist())), CHARGED), line


@dataclass(frozen=True)
class Row:
    """Shares of simulated studies, by name; nan where one has no meaning."""

    what: str
    seeds: int
    shares: Mapping[str, float]


def of_intervals(found: Sequence[Interval], truth: float, null: float) -> dict[str, float]:
    """Shares covering the truth, of open ends, above the null and below it."""
    lo, hi = np.array([(one.lo, one.hi) for one in found]).T
    return {
        "covers": float(np.mean((lo <= truth) & (truth <= hi))),
        "open": float(np.mean(~np.isfinite(hi) | (lo <= 0))),
        "above": float(np.mean(lo > null)),
        "below": float(np.mean(hi < null)),
    }


def equal_compute(
    n: int,
    truth: float,
    censored: bool,
    studies: int,
    noise: Noise = TODAY,
    text: Text | None = None,
) -> Row:
    """The speed-up at equal compute; ``censored``: half of all seeds lie beyond the last budget.
    With ``text`` losses are of its blocks, and the truth is that of all text."""
    random = np.random.default_rng(n)
    last = truth * CHARGED * (1 if censored else 1.3)
    found = []
    for _ in range(studies):
        arm, line = equal_compute_study(random, n, truth, noise, last)
        blocks = [] if text is None else by_block(random, arm, line, text)
        found.append(speedup(arm, line, blocks=blocks).speedup)
    what = f"speed-up {truth:.2f} at equal compute" + (", half the seeds beyond" * censored)
    return Row(what + (f", {text}" if text else ""), n, of_intervals(found, truth, 1.0))


def by_block(
    random: np.random.Generator, arm: ChargedArm, line: BudgetLine, text: Text
) -> list[tuple[ChargedArm, BudgetLine]]:
    """An arm and a line by blocks of text."""
    n, budgets = line.losses.shape
    runs = np.column_stack([list(arm.losses.values()), line.losses])
    of_text = text.shared / math.sqrt(2) * random.standard_normal((text.blocks, 1, budgets + 1))
    own = text.own / math.sqrt(2) * random.standard_normal((text.blocks, n, budgets + 1))
    return [
        (ChargedArm(dict(enumerate(losses[:, 0].tolist())), arm.flops),
         BudgetLine(line.seeds, line.flops, losses[:, 1:]))
        for losses in runs + of_text + own
    ]  # fmt: skip


def fixed_loss(n: int, truth: float, studies: int, noise: Noise = TODAY) -> Row:
    """The speed-up at scratch's final loss, of training curves as long as scratch's: where the
    truth is 1, half of all studies never get there."""
    random = np.random.default_rng(n)
    flops = np.linspace(0.05, 1, 40)
    found = []
    for _ in range(studies):
        seeds = noise.between * random.standard_normal(n)
        arms: list[Arm] = []
        for faster in (1.0, truth):
            ends = final_losses(random, seeds, np.array([1.0]), noise) - loss_of(1.0)
            losses = loss_of(faster * flops) + ends
            arms.append(Arm({seed: Curve(flops, losses[seed]) for seed in range(n)}))
        saving = compare(arms[0], arms[1], baseline_final)[0]
        beyond = math.nan if saving.limit is None else saving.limit
        found.append(saving.speedup or Interval(saving.bound or math.nan, -math.inf, beyond, n))
    return Row(f"speed-up {truth:.2f} at scratch's final loss", n, of_intervals(found, truth, 1.0))


def verdicts(n: int, studies: int, noise: Noise = TODAY) -> Row:
    """A ratio of mean losses whose truth is 1, in its logarithm: both verdicts would be false."""
    random = np.random.default_rng(n)
    found = []
    for _ in range(studies):
        losses = 1.8 + noise.within / math.sqrt(2) * random.standard_normal((2, n))
        logs = over_seeds(range(n), partial(_log_ratio, losses))
        found.append(Interval(math.exp(logs.value), math.exp(logs.lo), math.exp(logs.hi), n))
    return Row("a ratio of losses that is 1", n, of_intervals(found, 1.0, 1.0))


def _log_ratio(losses: Array, seeds: Sequence[int]) -> float:
    """Of the means of two arms (2, seeds), over some of the seeds."""
    one, other = losses[:, list(seeds)].mean(axis=1)
    return math.log(one / other)


def family(n: int, arms: int, studies: int, noise: Noise = TODAY) -> Row:
    """Arms none of which differs from the scratch they share: is any called different?"""
    random = np.random.default_rng(n)
    wrong = alone = 0
    for _ in range(studies):
        scratch, grown = random.standard_normal(n), random.standard_normal((arms, n))
        p = [p_value(row) for row in noise.within * (grown - scratch)]
        wrong, alone = wrong + (min(holm(p)) <= 0.05), alone + (min(p) <= 0.05)
    shares = {"any, Holm": wrong / studies, "any, each alone": alone / studies}
    return Row(f"{arms} arms without a difference", n, shares)


def front_bias(n: int, apart: float, sizes: int, studies: int, noise: Noise = TODAY) -> Row:
    """Of a front of so many sizes, four times as many parameters each: an arm as good as the true
    minimum, by how many nats it seems worse, and how often its interval covers 0.

    The bowl is lopsided as Chinchilla's is, ``apart`` nats high at a size to the right of its
    minimum, and that lies anywhere between the sizes, a quarter of a step from the edge at least.
    """
    random = np.random.default_rng(n)
    flops, place = 1.6 * BUDGETS, np.array([CHARGED])
    params = {str(size): 4.0**size for size in range(sizes)}
    found = []
    for _ in range(studies):
        seeds = noise.between * random.standard_normal(n)
        lowest = random.uniform(0.25, sizes - 1.25)
        lines = {
            shape: BudgetLine(
                tuple(range(n)),
                flops,
                final_losses(random, seeds, flops, noise) + apart * bowl(float(shape) - lowest),
            )
            for shape in params
        }
        arm = final_losses(random, seeds, place, noise)[:, 0]
        charged = ChargedArm(dict(enumerate(arm.tolist())), CHARGED)
        found.append(difference(charged, Front(lines, params)))
    vertices = sum(one.size is not None and one.size.kind == "vertex" for one in found)
    every = [one.difference for one in found]
    shares = {
        "vertex": vertices / studies,
        "nats too low": float(np.mean([one.value for one in every])),
        "covers": float(np.mean([one.lo <= 0 <= one.hi for one in every])),
        "above": float(np.mean([one.hi < 0 for one in every])),
        "below": float(np.mean([one.lo > 0 for one in every])),
    }
    return Row(f"front of {sizes} sizes, {apart:.4f} nats to the next", n, shares)


def bowl(away: float) -> float:
    """Of Chinchilla's law at fixed compute, A / N^0.34 + B / D^0.28, that many steps of a factor 4
    in N from its minimum 0; 1 a step to the right."""

    def height(steps: float) -> float:
        log = steps * math.log(4)
        return math.exp(-0.34 * log) / 0.34 + math.exp(0.28 * log) / 0.28

    return (height(away) - height(0)) / (height(1) - height(0))


def looks(effect: float, studies: int = NULL_STUDIES) -> Row:
    """Shares decided by each look, where the mean difference is ``effect`` of its sd; seeds spent.
    From other draws than the levels were found with, if there is an effect or not."""
    random = np.random.default_rng(99)
    values = effect + random.standard_normal((studies, LOOKS.seeds[-1]))
    decided = np.zeros(studies, dtype=bool)
    spent = np.full(studies, float(LOOKS.seeds[-1]))
    shares = {}
    for n in LOOKS.seeds:
        first = values[:, :n]
        t = first.mean(axis=1) / first.std(axis=1, ddof=1) * math.sqrt(n)
        now = np.abs(t) > stdtrit(n - 1, 1 - LOOKS.level / 2)
        spent[now & ~decided] = n
        decided |= now
        shares[f"decided by {n}"] = float(decided.mean())
    shares["seeds spent"] = float(spent.mean())
    return Row(f"looks, mean {effect:.2f} sd", LOOKS.seeds[-1], shares)


def crossed(n: int, blocks: int, parts: tuple[float, float, float], studies: int) -> Row:
    """Coverage of a mean over seeds and blocks of text, whose standard deviations of seeds, blocks
    and rest are ``parts``."""
    random = np.random.default_rng(n)
    of_seed, of_block, rest = parts
    hits = 0
    for _ in range(studies):
        table = (
            of_seed * random.standard_normal((n, 1))
            + of_block * random.standard_normal(blocks)
            + rest * random.standard_normal((n, blocks))
        )
        found = crossed_interval(table)
        hits += found.lo <= 0 <= found.hi
    what = f"seeds x {blocks} blocks, sd {of_seed:g} {of_block:g} {rest:g}"
    return Row(what, n, {"covers": hits / studies})


PARTS = ((1.0, 0.0, 0.01), (1.0, 1.0, 1.0), (0.3, 1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 3.0))


def rows(studies: int, noise: Noise = TODAY) -> Iterator[Row]:
    """Every line of the table."""
    for censored in (False, True):
        for truth in SPEEDUPS:
            for n in SEEDS:
                yield equal_compute(n, truth, censored, studies, noise)
    for text in TEXTS:
        for n in SEEDS:
            yield equal_compute(n, 1.1, False, studies, noise, text)
    for truth in SPEEDUPS:
        for n in SEEDS:
            yield fixed_loss(n, truth, studies, noise)
    for n in SEEDS:
        yield verdicts(n, studies, noise)
    for n in SEEDS[1:]:
        yield family(n, 30, studies, noise)
    for sizes in (3, 5):
        for apart in (0.0, noise.within, 0.02, 0.05):
            for n in SEEDS:
                yield front_bias(n, apart, sizes, studies, noise)
    for effect in (0.0, 1.0, float(loss_of(CHARGED) - loss_of(1.1 * CHARGED)) / noise.within):
        yield looks(effect)
    for parts in PARTS:
        for n in SEEDS:
            yield crossed(n, 16, parts, studies)


def table(found: Sequence[Row]) -> str:
    """As text, a line each."""
    return "\n".join(
        f"{row.what:52} n = {row.seeds}  "
        + "  ".join(f"{name} {share:.3f}" for name, share in row.shares.items())
        for row in found
    )


def main(studies: int = 1000) -> None:
    stores = [load(Path(name)) for name in sys.argv[1:]]
    noise = noise_of(stores) if stores else TODAY
    print(f"nats within pairs {noise.within:.4f}, between seeds {noise.between:.4f}")
    for row in rows(studies, noise):
        print(table([row]), flush=True)


if __name__ == "__main__":
    main()
