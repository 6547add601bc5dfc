"""What muP upscaling claims of a rate and a noise tuned on a tiny pair of widths.

At every pair of widths (n, 2n) the upscaled model is trained at many rates with one noise, and with
many noises at one rate: a cross in the plane of both. What is *tuned* is the best point of the
narrowest pair's cross among those that the widest pair has too. Scratch is tuned on the narrowest
width with as many trials: its rates, but for the lowest where it has more. A trial of either is a
run of the same shape and steps; the upscaled ones share a base, which is charged.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Condition, no_rule, rule
from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import Quantity, chosen, final, function, lowest
from mugrow.analysis.measure.selection import AboveLowest
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.analysis.transfer.ladder import FEWEST_RATES, SCRATCH, WIDTH, Ladder
from mugrow.analysis.transfer.metrics import drift, measured
from mugrow.analysis.transfer.operator_setting import comparisons
from mugrow.analysis.transfer.sweep import Sweep, by_setting
from mugrow.bench.arm import ArmName
from mugrow.bench.flops import per_token
from mugrow.bench.spec import ModelSpec, UserError

METHOD = "mup_upscale"
SWEPT, UPSCALED = "mup basins", "upscaled"  # every rate, and every point of a cross
WITHOUT_NOISE = ArmName("upscaled without noise", method=METHOD, noise=0, clip=0)
CONTINUED = ArmName("base, continued", method="continue", clip=0)
CLIPPED = "gradients clipped"
BASE, WIDE, TUNED = "base", "wide from scratch", "wide upscaled"
BARS = {1: 1, 2: 3, 4: 7, 8: 17, 16: 36, 32: 76, 64: 155}  # printed, by width ratio
Point = tuple[float, float]  # log2 of the rate over the run's, noise


def upscaled(width: float, point: Point, text: str = UPSCALED) -> ArmName:
    """Upscaled to a width, over the run's."""
    return ArmName(text, method=METHOD, width=width, log2_lr=point[0], noise=point[1])


def clipped(name: ArmName, clip: float) -> ArmName:
    """The arm whose gradients are clipped at that norm, or not at 0."""
    return name.varied(CLIPPED, clip=clip) if clip else name


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


def along_width(found: Sequence[Sweep]) -> Interval:
    """Drift of the best value of a sweep, in log2 per doubling of width."""
    rungs = tuple(found)
    ladder = Ladder(WIDTH, tuple(float(one.width) for one in rungs), rungs, rungs)
    return drift(measured(ladder)).slope


def crosses(store: Store) -> list[dict[Point, ArmName]]:
    """The arms of each pair's cross by rate and noise, narrow to wide."""
    tried = factor_table(arm(store.runs, UPSCALED)).drop_duplicates()
    found: dict[float, dict[Point, ArmName]] = {}
    for width, lr, noise in tried.sort_values("width")[["width", "log2_lr", "noise"]].values:
        found.setdefault(width, {})[lr, noise] = upscaled(width, (lr, noise))
    return list(found.values())


def regret_percent(store: Store) -> Quantity:
    """At the widest pair, the loss at what was tuned on the narrowest above the lowest there."""
    narrow, *_, wide = crosses(store)
    shared = tuned_among(store)

    def at_best(losses: Sequence[float]) -> float:
        small, large = np.split(np.array(losses), 2)
        return float(large[small.argmin()])

    both = (final(cross[point]) for cross in (narrow, wide) for point in shared)
    there = [final(name) for name in wide.values()]
    whole = quantity.percent(quantity.combined(at_best, *both), lowest(*there))
    tuned = min(shared, key=lambda point: final(narrow[point])(store).value)
    over = tuple(quantity.percent(final(wide[tuned]), one) for one in there)
    return AboveLowest(whole, (over,))


def without_noise(store: Store) -> Quantity:
    """Final loss without noise minus the lowest with some, at the rate where noise was varied
    and the narrowest pair, nats."""
    narrow, *_ = crosses(store)
    [(rate, none)] = [point for point in narrow if point[1] == 0]
    noisy = [name for (lr, noise), name in narrow.items() if lr == rate and noise > 0]
    return final(narrow[rate, none]) - lowest(*noisy)


def at_tuned(store: Store) -> tuple[ArmName, ArmName, ArmName]:
    """The widest pair at what was tuned on the narrowest: the base, the wide model from scratch at
    the rate best from scratch at the narrowest width, and the wide model upscaled."""
    narrow, *_, wide = crosses(store)
    tuned = min(tuned_among(store), key=lambda point: final(narrow[point])(store).value)
    width = float(wide[tuned].factors["width"])
    by_rate = scratch_trials(store).groupby("log2_lr")["final_val_loss"].mean()
    log2_lr = by_rate.index.to_numpy(float)[int(by_rate.argmin())]
    return (
        ArmName(BASE, width=width / 2),
        ArmName(WIDE, parametrization="mup", width=width, log2_lr=log2_lr),
        upscaled(width, tuned, TUNED),
    )


def tuned_among(store: Store) -> list[Point]:
    """The trials that upscaled training is tuned by on the narrowest pair."""
    narrow, *_, wide = crosses(store)
    return [point for point in wide if point in narrow]


def scratch_trials(store: Store) -> pd.DataFrame:
    """Runs of the rates that scratch is tuned by at the narrowest width, as many as the upscaled
    has trials, the highest; with ``log2_lr``. Raises ``UserError`` where it has fewer."""
    scratch = arm(store.runs, SWEPT)
    smallest = scratch[scratch["width"] == scratch["width"].min()]
    smallest = smallest.assign(log2_lr=factor_table(smallest)["log2_lr"])
    rates, trials = sorted(set(smallest["log2_lr"])), len(tuned_among(store))
    if len(rates) < trials:
        raise UserError(f"scratch has {len(rates)} trials, upscaled {trials}: no equal budgets")
    chosen_from: pd.DataFrame = smallest[smallest["log2_lr"].isin(rates[-trials:])]
    return chosen_from


def tuning_flops(store: Store) -> dict[str, float]:
    """What a seed of each arm's tuning takes, FLOPs: its trials, and the base that they share."""
    narrow, *_ = crosses(store)
    trials = [arm(store.runs, narrow[point]) for point in tuned_among(store)]
    grown = sum(float(runs["flops"].mean()) for runs in trials)
    scratch = scratch_trials(store)
    return {
        WIDE: float(scratch["flops"].sum() / scratch["seed"].nunique()),
        TUNED: grown + float(trials[0]["flops_source"].mean()),
    }


def gaps(store: Store, clip: float = 0) -> pd.DataFrame:
    """|loss of the wide model without noise - that of its base trained on| by step, a column for
    each seed; with gradients clipped at a norm, or not."""
    tables = [
        arm(store.runs, clipped(name, clip))[["run_id", "seed"]]
        .merge(store.curves, on="run_id")
        .pivot_table(index="step", columns="seed", values="val_loss")
        for name in (WITHOUT_NOISE, CONTINUED)
    ]
    return (tables[0] - tables[1]).abs().dropna()


def cheaper(ratio: int, *, causal: bool) -> float:
    """FLOPs of a token of GPT-2 small over those at its width over ``ratio``; twelve heads whatever
    the width."""
    gpt2 = ModelSpec(width=768, depth=12, head_size=64, context=1024, vocab_size=50257, tied=True)
    narrow = replace(gpt2, width=768 // ratio, head_size=64 // ratio)
    return per_token(gpt2, causal=causal) / per_token(narrow, causal=causal)


def ends_below(store: Store) -> Quantity:
    _, wide, tuned = at_tuned(store)
    return final(tuned) - final(wide)


def base_charged(store: Store) -> Quantity:
    return quantity.speedup(*at_tuned(store)[1:], "source")


def stays(sweeps: Callable[[Store], Sequence[Sweep]]) -> Condition[Store]:
    """The best value of the sweeps hardly drifts."""
    return function(lambda store: along_width(sweeps(store))).within(-0.2, 0.2)


SWEEPS = "what the paper builds on: its sweeps of rates from scratch"
CHECK = "the paper's check of transfer after upscaling: base widths 128 to 768, twice the width"
STEP_5 = "step 5 of the paper's protocol; 1 % is our bound"
NOISES = "the paper's sweep of noise at one rate"
CURVES = "the paper's training curves, GPT-2 from width 512 among them"
EQUIVALENCE = "the paper's equivalence of upscaled and base models under muP"
PRINTED = "the paper's bars, from 6N + 12LHQT FLOPs a token"

U1 = (
    rule("scratch-stays", SWEEPS, stays(lambda store: bowls(store, SCRATCH))).decides(
        "from scratch under muP the best learning rate does not move with width",
        "drift of the best rate from scratch, log2 per doubling of width",
    ),
)

U2 = (
    rule("upscaled-stays", CHECK, stays(lambda store: bowls(store, METHOD))).decides(
        "the best learning rate of upscaled training does not move with width either",
        "drift of the best rate of upscaled models, log2 per doubling of width",
    ),
    rule("tuned-regret", STEP_5, chosen(regret_percent) < 1).decides(
        "rate and noise tuned on the tiny pair are right at the large one",
        "loss at the widest pair with the narrowest's tuned rate and noise, above its lowest, %",
    ),
)

U3 = (
    rule("noise-stays", NOISES, stays(noise_bowls)).decides(
        "the best noise does not move with width",
        "drift of the best noise of upscaled models, log2 per doubling of width",
    ),
    rule("noise-needed", "the paper's reason to add noise", chosen(without_noise) > 0).decides(
        "without noise the copies stay copies and the width is not used: some noise is better",
        "final loss without noise minus the lowest with some, narrowest pair, nats",
    ),
)

QUESTION = "our question to its curves"
LARGEST_GAP = chosen(lambda store: quantity.rows(gaps(store).max().to_frame().T)[0])
U4 = (
    rule("ends-below", CURVES, chosen(ends_below) < 0).decides(
        "the upscaled model ends below the wide one from scratch at the same steps",
        "final loss upscaled minus from scratch at the widest pair, both as tuned at the "
        "narrowest, nats",
    ),
    rule("base-charged", QUESTION, chosen(base_charged) > 1, whose="ours").decides(
        "it is also cheaper with the base paid for (the paper does not charge it)",
        "FLOPs from scratch over those of the upscaled model and its base, to scratch's final loss",
    ),
    rule("exact", EQUIVALENCE, LARGEST_GAP < 1e-9).decides(
        "without noise, with the optimizer's state carried, the wide model trains as its base",
        "largest difference of losses along the curves in double precision, no clipping, nats",
    ),
)

OFF_BY = max(abs(cheaper(ratio, causal=False) - bar) for ratio, bar in BARS.items())
U5 = (  # no run is needed
    rule("speedup-bars", PRINTED, quantity.quantity(OFF_BY) < 0.5).decides(
        "GPT-2 small is tuned 1, 3, 7, 17, 36, 76 and 155 times cheaper at its width over 1, 2, 4, "
        "8, 16, 32 and 64",
        "largest distance of this suite's count, attention to all positions, from the seven bars",
    ),
)

UNTESTABLE = (
    no_rule("mlp", "the paper's first experiment and its table of tuning costs").decides(
        "an MLP on ForestCoverType, 500 to 2000 units, tuned at 100: 23.6 times cheaper",
        "decoders only",
    ),
    no_rule("resnet", "the paper's second experiment and its table of tuning costs").decides(
        "ResNet-18 on CIFAR-100 with SGD, tuned at a quarter of the width: 15.8 times cheaper",
        "decoders and Adam only",
    ),
    no_rule("gpt2", "the paper's third experiment and its table of tuning costs").decides(
        "GPT-2 of 8 layers and width 512, upscaled twice on FineWeb-Edu: 2.8 times cheaper tuning",
        "not at this scale; mugrow reproduce mupscaling --scale paper has its shapes",
    ),
)
