"""What muP upscaling claims, and how each claim is measured here.

At every pair of widths (n, 2n) the upscaled model is trained at many rates with one noise, and with
many noises at one rate: a cross in the plane of both. What is *tuned* is the best point of the
narrowest pair's cross among those that the widest pair has too.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import (
    arm,
    common_seeds,
    difference,
    finals,
    over_seeds,
    speedup,
)
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval, student_interval
from mugrow.analysis.transfer.ladder import FEWEST_RATES, SCRATCH, WIDTH, Ladder
from mugrow.analysis.transfer.metrics import drift, measured
from mugrow.analysis.transfer.operator_setting import comparisons
from mugrow.analysis.transfer.sweep import Sweep, by_setting
from mugrow.bench.flops import per_token
from mugrow.bench.spec import ModelSpec, UserError

Claims = tuple[Claim[Store], ...]
Point = tuple[float, float]  # rate, noise
METHOD = "mup_upscale"
SWEPT, UPSCALED = "mup basins", "upscaled"
CONTINUED, WITHOUT_NOISE = "base, continued", "upscaled without noise"
CLIPPED = ", gradients clipped"
BASE, WIDE, TUNED = "base", "wide from scratch", "wide upscaled"
BARS = {1: 1, 2: 3, 4: 7, 8: 17, 16: 36, 32: 76, 64: 155}  # printed, by width ratio


def settings(store: Store) -> list[Sweep]:
    """The runs from scratch and upscaled by their setting, with the sources of the latter."""
    runs = store.runs
    return by_setting(runs[runs["arm"].isin([SWEPT, UPSCALED]) | (runs["role"] == "source")])


def bowls(store: Store, method: str) -> list[Sweep]:
    """The sweep of rates at each width, narrow to wide. Raises ``UserError`` without any."""
    found = [
        one for one in settings(store) if one.method == method and len(one.log2_lr) >= FEWEST_RATES
    ]
    if not found:
        raise UserError(f"no learning rates were swept with {method}")
    return sorted(found, key=lambda one: one.width)


def along_width(found: Sequence[Sweep]) -> Interval:
    """Of the best value of a sweep, in log2 per doubling of width."""
    rungs = tuple(found)
    ladder = Ladder(WIDTH, tuple(float(one.width) for one in rungs), rungs, rungs)
    return drift(measured(ladder)).slope


def noise_bowls(store: Store) -> list[Sweep]:
    """The sweep of noises above 0 at each width, narrow to wide, with log2 of the noise in the
    place of log2 of the rate. Raises ``UserError`` where noise was not varied."""
    compared, refused = comparisons(settings(store))
    if not compared:
        raise UserError(f"no noises to compare: {[one.reason for one in refused]}")
    return [
        replace(
            growth.runs[0].sweep,
            log2_lr=np.log2(growth.values[growth.values > 0]),
            loss=growth.loss[:, growth.values > 0],
            status=tuple(run.status for run in growth.runs if run.value > 0),
        )
        for growth in compared[0].growths
    ]


def noises(runs: pd.DataFrame) -> list[float]:
    """The noise of each run that was upscaled."""
    return [float(dict(json.loads(text)["start"]["params"])["noise"]) for text in runs["spec"]]


def cross(store: Store, width: int) -> dict[Point, dict[int, float]]:
    """Final losses by seed of every rate and noise tried at a width."""
    own = arm(store.runs, UPSCALED)
    own = own[own["width"] == width]
    tried = zip(own["lr"].astype(float), noises(own), strict=True)
    rows: dict[Point, list[int]] = {}
    for place, point in enumerate(tried):
        rows.setdefault(point, []).append(place)
    return {point: finals(own.iloc[places], UPSCALED) for point, places in rows.items()}


def widths(store: Store) -> list[int]:
    """Of the upscaled models, ascending."""
    return sorted({int(width) for width in arm(store.runs, UPSCALED)["width"]})


def mean(losses: dict[int, float], seeds: Sequence[int]) -> float:
    return float(np.mean([losses[seed] for seed in seeds]))


def tuned(store: Store, seeds: Sequence[int]) -> Point:
    """Rate and noise as tuned on the narrowest pair."""
    narrow, wide = (cross(store, widths(store)[place]) for place in (0, -1))
    return min(narrow.keys() & wide.keys(), key=lambda point: mean(narrow[point], seeds))


def tuned_from_scratch(store: Store) -> float:
    """The rate that is best from scratch at the narrowest width."""
    own = arm(store.runs, SWEPT)
    narrow = own[own["width"] == own["width"].min()]
    return float(narrow.groupby("lr")["final_val_loss"].mean().idxmin())


def regret_percent(store: Store) -> Interval:
    """At the widest pair, the loss at what was tuned on the narrowest above the lowest there."""
    narrow, wide = (cross(store, widths(store)[place]) for place in (0, -1))

    def regret(seeds: Sequence[int]) -> float:
        lowest = min(mean(losses, seeds) for losses in wide.values())
        return 100 * (mean(wide[tuned(store, seeds)], seeds) / lowest - 1)

    return over_seeds(common_seeds([*narrow.values(), *wide.values()]), regret)


def without_noise(store: Store) -> Interval:
    """Final loss without noise minus the lowest with some, at the rate where noise was varied
    and the narrowest pair, nats."""
    own = cross(store, widths(store)[0])
    rate = next(lr for lr, noise in own if noise == 0)
    noisy = {point: losses for point, losses in own.items() if point[0] == rate and point[1] > 0}

    def gain(seeds: Sequence[int]) -> float:
        return mean(own[rate, 0.0], seeds) - min(mean(one, seeds) for one in noisy.values())

    return over_seeds(common_seeds([own[rate, 0.0], *noisy.values()]), gain)


def at_tuned(store: Store) -> Store:
    """The widest pair at what was tuned on the narrowest, in arms of their own: the base, the wide
    model from scratch, and the wide model upscaled."""
    seeds = common_seeds(list(cross(store, widths(store)[-1]).values()))
    rate, noise = tuned(store, seeds)
    own, scratch = arm(store.runs, UPSCALED), arm(store.runs, SWEPT)
    width = widths(store)[-1]
    best = own[(own["width"] == width) & (own["lr"] == rate) & (np.array(noises(own)) == noise)]
    beside = scratch[(scratch["width"] == width) & (scratch["lr"] == tuned_from_scratch(store))]
    bases = store.runs[store.runs["run_id"].isin(best["source_run_id"])]
    arms = {BASE: bases, WIDE: beside, TUNED: best}
    return replace(store, runs=pd.concat([rows.assign(arm=name) for name, rows in arms.items()]))


def gaps(store: Store, suffix: str = "") -> pd.DataFrame:
    """|loss of the wide model without noise - that of its base trained on| by step, a column for
    each seed; of the arms with a suffix."""
    tables = [
        arm(store.runs, name + suffix)[["run_id", "seed"]]
        .merge(store.curves, on="run_id")
        .pivot_table(index="step", columns="seed", values="val_loss")
        for name in (WITHOUT_NOISE, CONTINUED)
    ]
    return (tables[0] - tables[1]).abs().dropna()


def gpt2(ratio: int) -> ModelSpec:
    """GPT-2 small, at its width over a ratio; twelve heads whatever the width."""
    width = 768 // ratio
    return ModelSpec(width=width, depth=12, head_size=width // 12, context=1024, vocab_size=50257,
                     tied=True)  # fmt: skip


def cheaper(ratio: int, *, causal: bool) -> float:
    """FLOPs of a token of GPT-2 small over those at its width over ``ratio``."""
    return per_token(gpt2(1), causal=causal) / per_token(gpt2(ratio), causal=causal)


def exactly(value: float) -> Interval:
    """A number that is computed: no seed changes it."""
    return Interval(value, value, value, 0)


U1: Claims = (
    Claim(
        "scratch-stays",
        "from scratch under muP the best learning rate does not move with width",
        "what the paper builds on: its sweeps of rates from scratch",
        "drift of the best rate from scratch, log2 per doubling of width",
        lambda store: along_width(bowls(store, SCRATCH)),
        low=-0.2,
        high=0.2,
    ),
)

U2: Claims = (
    Claim(
        "upscaled-stays",
        "the best learning rate of upscaled training does not move with width either",
        "the paper's check of transfer after upscaling: base widths 128 to 768, twice the width",
        "drift of the best rate of upscaled models, log2 per doubling of width",
        lambda store: along_width(bowls(store, METHOD)),
        low=-0.2,
        high=0.2,
    ),
    Claim(
        "tuned-regret",
        "rate and noise tuned on the tiny pair are right at the large one",
        "step 5 of the paper's protocol; 1 % is our bound",
        "loss at the widest pair with the narrowest's tuned rate and noise, above its lowest, %",
        regret_percent,
        high=1.0,
    ),
)

U3: Claims = (
    Claim(
        "noise-stays",
        "the best noise does not move with width",
        "the paper's sweep of noise at one rate",
        "drift of the best noise of upscaled models, log2 per doubling of width",
        lambda store: along_width(noise_bowls(store)),
        low=-0.2,
        high=0.2,
    ),
    Claim(
        "noise-needed",
        "without noise the copies stay copies and the width is not used: some noise is better",
        "the paper's reason to add noise",
        "final loss without noise minus the lowest with some, narrowest pair, nats",
        without_noise,
        low=0.0,
    ),
)

U4: Claims = (
    Claim(
        "ends-below",
        "the upscaled model ends below the wide one from scratch at the same steps",
        "the paper's training curves, GPT-2 from width 512 among them",
        "final loss upscaled minus from scratch at the widest pair, both as tuned at the "
        "narrowest, nats",
        lambda store: difference(*(finals(at_tuned(store).runs, name) for name in (TUNED, WIDE))),
        high=0.0,
    ),
    Claim(
        "base-charged",
        "it is also cheaper with the base paid for (the paper does not charge it)",
        "our question to its curves",
        "FLOPs from scratch over those of the upscaled model and its base, to scratch's final loss",
        lambda store: speedup(at_tuned(store), WIDE, TUNED, "source"),
        low=1.0,
    ),
    Claim(
        "exact",
        "without noise, with the optimizer's state carried, the wide model trains as its base",
        "the paper's equivalence of upscaled and base models under muP",
        "largest difference of losses along the curves in double precision, no clipping, nats",
        lambda store: student_interval(list(gaps(store).max())),
        high=1e-9,
    ),
)

U5: Claims = (
    Claim(
        "speedup-bars",
        "GPT-2 small is tuned 1, 3, 7, 17, 36, 76 and 155 times cheaper at its width over 1, 2, 4, "
        "8, 16, 32 and 64",
        "the paper's bars, from 6N + 12LHQT FLOPs a token",
        "largest distance of this suite's count, attention to all positions, from the seven bars",
        lambda store: exactly(max(abs(cheaper(r, causal=False) - bar) for r, bar in BARS.items())),
        high=0.5,
    ),
)

UNTESTABLE: Claims = (
    Claim(
        "mlp",
        "an MLP on ForestCoverType, 500 to 2000 units, tuned at 100: 23.6 times cheaper",
        "the paper's first experiment and its table of tuning costs",
        untestable="decoders only",
    ),
    Claim(
        "resnet",
        "ResNet-18 on CIFAR-100 with SGD, tuned at a quarter of the width: 15.8 times cheaper",
        "the paper's second experiment and its table of tuning costs",
        untestable="decoders and Adam only",
    ),
    Claim(
        "gpt2",
        "GPT-2 of 8 layers and width 512, upscaled twice on FineWeb-Edu: 2.8 times cheaper tuning",
        "the paper's third experiment and its table of tuning costs",
        untestable="not at this scale; mugrow reproduce mupscaling --scale paper has its shapes",
    ),
)
