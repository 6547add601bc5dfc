"""What "Warmstarting for Scaling Language Models" says, and how it is measured here.

Hyperparameters are *retained* where the small model's best learning rate and batch are the large
one's too. A rate's place is the vertex of the bowl at the small model's best batch; it is retained
within half a step of the paper's own grid, whose neighbours are a factor of about 3 apart.

A speed-up counts from ``FASTER`` on: of an arm that never gets to scratch's loss, on as many tokens
of the same shape, all that is known is that it is below 1.

Training is *stable* where nothing that is watched rises above ``STABLE`` times what it does from
scratch.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pandas as pd
from scipy.stats import gmean

from mugrow.analysis.measure import maps, quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import Quantity, final, speedup
from mugrow.analysis.measure.selection import AboveLowest
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName

Pair = tuple[float, float]  # widths of source and target over the base's
SERIES = {"cpu": (0.5, 1, 2), "gpu": (0.5, 1, 2), "paper": (0.5, 1, 2, 4, 6, 10)}  # widths of maps
PAIRS: tuple[Pair, ...] = ((0.5, 1), (0.5, 2), (1, 2))
ABLATED: Pair = (0.5, 1)
SHRINK, SHRINKS = 0.4, (0.2, 0.4, 0.6, 0.8, 1.0)
WARMUP = {"cpu": 0.05, "gpu": 0.05, "paper": 0.01}  # of the steps
HALF_STEP = 0.8  # of the paper's grid, log2
STABLE, FASTER = 1.25, 1.05
ABSTRACT = "abstract, and the repository's figures of this kind"


def scratch(times: float) -> ArmName:
    return ArmName(f"scratch, {times:g}× width", method="scratch", width=times)


def warm(pair: Pair) -> ArmName:
    small, large = pair
    return ArmName(f"{small:g}× → {large:g}× width", method="szp", source=small, width=large)


def from_scratch(pair: Pair) -> ArmName:
    """The arm that a warmstarted one is beside."""
    return scratch(pair[1])


def shrunk(shrink: float) -> ArmName:
    """The arm of a shrink factor; at the usual one, that of the pair itself."""
    usual = warm(ABLATED)
    return usual if shrink == SHRINK else ArmName(f"λ = {shrink:g}", **usual.factors, shrink=shrink)


def over_doublings(target: Callable[[Pair], ArmName], compare: maps.Compare) -> Quantity:
    """The mean, over neighbours in the series of widths, of what is said of the small model's map
    and its ``target``'s."""

    def compared(pair: Pair) -> Quantity:
        return maps.Compared(scratch(pair[0]), target(pair), compare)

    return quantity.at_scale(lambda scale: quantity.mean(*map(compared, pairwise(SERIES[scale]))))


def gradients(store: Store, name: ArmName) -> pd.DataFrame:
    """Gradient norms after warm-up, before clipping: step, seed, value, a row a logged step."""
    runs = arm(store.runs, name, ["run_id", "seed", "tokens", "batch_tokens"])
    rows = runs.merge(store.curves, on="run_id").rename(columns={"grad_norm": "value"})
    warmed_up = (WARMUP[store.study["scale"]] * rows["tokens_x"] / rows["batch_tokens"]).round()
    return rows.loc[rows["step"] > warmed_up, ["step", "seed", "value"]]


def watched(store: Store, name: ArmName, what: str) -> pd.DataFrame:
    """What an arm's models, stopped or not, showed of one of the keys of ``WATCHED``: step, seed,
    value. Of activations the geometric mean over modules, of logits and singular values the
    largest."""
    if what == "gradient":
        return gradients(store, name)
    rows = quantity.evaluations(store, str(name), f"{what}/")
    rows = rows.assign(run_id=rows["run_ids"].str[0])[["run_id", "value"]]
    rows = rows.merge(store.runs[["run_id", "seed", "tokens", "batch_tokens"]], on="run_id")
    at = rows.assign(step=rows["tokens"] // rows["batch_tokens"]).groupby(["step", "seed"])["value"]
    return (at.agg(gmean) if what == "activation" else at.max()).reset_index()


def peak(name: ArmName, what: str) -> Quantity:
    """The highest over steps, mean over seeds."""
    return quantity.of_rows(
        lambda store: watched(store, name, what),
        lambda rows: rows.groupby("seed")["value"].max().mean(),
    )


def peak_ratio(what: str) -> Quantity:
    """Of the warmstarted over that of scratch."""
    return peak(warm(ABLATED), what) / peak(from_scratch(ABLATED), what)


def rate_retained(kind: str, target: Callable[[Pair], ArmName]) -> Claim[Store]:
    retained = over_doublings(target, maps.rate_shift).within(-HALF_STEP, HALF_STEP)
    return rule(f"rate-{kind}", f"{ABSTRACT}; here {kind}", retained).decides(
        "the optimal learning rate of the small model is retained",
        "shift of the best rate from the small model to the next in width, at the small one’s "
        "best batch, log2, mean over doublings",
    )


def cell_serves(kind: str, target: Callable[[Pair], ArmName]) -> Claim[Store]:
    def regret(store: Store) -> Quantity:
        pairs = pairwise(SERIES[store.study["scale"]])
        over = (maps.over_each_cell(store, scratch(pair[0]), target(pair)) for pair in pairs)
        return AboveLowest(over_doublings(target, maps.given_up), tuple(over))

    serves = quantity.chosen(regret) < 1.0
    return rule(f"best-cell-{kind}", f"{ABSTRACT}; here {kind}", serves).decides(
        "the small model's optimal learning rate and batch serve the large one",
        "loss at the small model’s best rate and batch over the lowest of the map, minus 1, %, "
        "mean over doublings",
    )


BATCH_SHIFT = over_doublings(warm, maps.batch_shift)
W1 = (
    rate_retained("scratch", from_scratch),
    rate_retained("warmstarted", warm),
    rule("batch-warmstarted", ABSTRACT, BATCH_SHIFT.within(-0.5, 0.5)).decides(
        "the optimal batch size of the small model is retained",
        "shift of the best batch from the small model to the warmstarted one, log2",
    ),
    cell_serves("scratch", from_scratch),
    cell_serves("warmstarted", warm),
)


def of_pair(pair: Pair) -> Iterator[Claim[Store]]:
    grown, random, name = warm(pair), from_scratch(pair), f"{pair[0]:g}-{pair[1]:g}"
    where, ours = f"{ABSTRACT}; here {grown}", f"our question to the paper; here {grown}"
    yield rule(f"faster-{name}", where, speedup(random, grown, "target") > FASTER).decides(
        "warmstarting speeds up convergence",
        "FLOPs of scratch over those of the warmstarted to scratch’s final loss, source free",
    )
    cheaper = speedup(random, grown, "source") > 1.0
    yield rule(f"charged-{name}", ours, cheaper, whose="ours").decides(
        "it does so too if the source has to be paid for (the paper does not say so)",
        "FLOPs of scratch over those of the warmstarted and its source to scratch’s final loss",
    )
    yield rule(f"ends-lower-{name}", where, final(grown) - final(random) < 0.0).decides(
        "the warmstarted model ends lower at equal tokens",
        "final loss of the warmstarted minus that of scratch, nats",
    )


W2 = tuple(one for pair in PAIRS for one in of_pair(pair))

MAIN = "abstract; λ = 0.4 is that of the authors' main results"
SWEEP = "the authors' sweep over λ in 0.2, 0.4, 0.6, 0.8 and 1"
UNSHRUNK, OTHERS = final(shrunk(1.0)), quantity.highest(*map(shrunk, SHRINKS[:-1]))
W3 = (
    rule("shrinking-matters", MAIN, final(shrunk(SHRINK)) - UNSHRUNK < 0.0).decides(
        "shrinking the small model's weights is what makes warmstarting effective",
        "final loss at λ = 0.4 minus that at λ = 1, nats",
    ),
    rule("unshrunk-worst", SWEEP, UNSHRUNK - OTHERS > 0.0).decides(
        "λ = 1 is the worst of the sweep",
        "final loss at λ = 1 minus the highest at another λ, nats",
    ),
)

WATCHED = {
    "gradient": ("gradient", "gradient norm after warm-up"),
    "activation": ("activations", "mean |activation| (geometric mean over modules)"),
    "logit_max": ("logits", "largest attention logit"),
    "spectral": ("spectra", "largest singular value of a hidden matrix, times sqrt(in / out)"),
}
W4 = tuple(
    rule(f"stable-{name}", f"{ABSTRACT}; here {words}", peak_ratio(quantity) < STABLE).decides(
        "stable training dynamics are preserved under warmstarting",
        f"{words}, the highest over steps, warmstarted over scratch",
    )
    for quantity, (name, words) in WATCHED.items()
)

UNTESTABLE = (
    no_rule("whole-spectra", "the repository's trainer tracks both").decides(
        "spectra of weights and L2 norms of activations stay as they are from scratch",
        "of spectra the largest value and a rank are kept, of activations mean |x|",
    ),
)
