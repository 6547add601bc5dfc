"""What "Warmstarting for Scaling Language Models" says, and how it is measured here.

Hyperparameters are *retained* where the small model's best learning rate and batch are the large
one's too. A rate's place is the vertex of the bowl at the small model's best batch; it is retained
within half a step of the paper's own grid, whose neighbours are a factor of about 3 apart.

A speed-up counts from ``FASTER`` on: of an arm that never gets to scratch's loss, on as many tokens
of the same shape, all that is known is that it is below 1.

Training is *stable* where nothing that is watched rises above ``STABLE`` times what it does from
scratch.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, common_seeds, finals, minus, over_seeds, speedup
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import run_spec_from_json
from mugrow.sweeps.recipes.papers.warmstarting import maps

Claims = tuple[Claim[Store], ...]
Pair = tuple[float, float]  # widths of source and target over the base's
SERIES = {"cpu": (0.5, 1, 2), "gpu": (0.5, 1, 2), "paper": (0.5, 1, 2, 4, 6, 10)}  # widths of maps
PAIRS: tuple[Pair, ...] = ((0.5, 1), (0.5, 2), (1, 2))
ABLATED: Pair = (0.5, 1)
SHRINK = 0.4
SHRINKS = (0.2, 0.4, 0.6, 0.8, 1.0)
HALF_STEP = 0.8  # of the paper's grid, log2
STABLE = 1.25
FASTER = 1.05
ABSTRACT = "abstract, and the repository's figures of this kind"


def scratch(times: float) -> str:
    return f"scratch, {times:g}× width"


def warm(pair: Pair) -> str:
    return f"{pair[0]:g}× → {pair[1]:g}× width"


def from_scratch(pair: Pair) -> str:
    """The arm that a warmstarted one is beside."""
    return scratch(pair[1])


def shrunk(shrink: float) -> str:
    """The arm of a shrink factor; at the usual one, that of the pair itself."""
    return warm(ABLATED) if shrink == SHRINK else f"λ = {shrink:g}"


def doublings(store: Store) -> list[Pair]:
    """The pairs of neighbours in the series of widths."""
    return list(pairwise(SERIES[store.study["scale"]]))


def over_doublings(store: Store, target: Callable[[Pair], str], compare: maps.Compare) -> Interval:
    """The mean over doublings of what is said of the small model's map and its ``target``'s."""
    pairs = [(scratch(pair[0]), target(pair)) for pair in doublings(store)]
    return maps.over_pairs(store, pairs, compare)


# --- losses ------------------------------------------------------------------------------------


def unshrunk_minus_worst(store: Store) -> Interval:
    """The final loss at λ = 1 minus the highest at another, nats."""
    losses = {shrink: finals(store.runs, shrunk(shrink)) for shrink in SHRINKS}

    def gap(seeds: Sequence[int]) -> float:
        at = {shrink: np.mean([own[s] for s in seeds]) for shrink, own in losses.items()}
        return float(at.pop(1.0) - max(at.values()))

    return over_seeds(common_seeds(list(losses.values())), gap)


# --- what is watched ---------------------------------------------------------------------------


def gradients(store: Store, name: str) -> pd.DataFrame:
    """Gradient norms after warm-up, before clipping: step, seed, value, a row a logged step."""
    own = arm(store.runs, name)
    run = run_spec_from_json(own["spec"].iloc[0])
    logged = own[["run_id", "seed"]].merge(store.curves, on="run_id")
    after = logged[logged["step"] > round(run.schedule.warmup * run.steps)]
    return after[["step", "seed", "grad_norm"]].rename(columns={"grad_norm": "value"})


def watched(store: Store, name: str, quantity: str) -> pd.DataFrame:
    """What an arm's models showed: step, seed, value. Of activations the geometric mean over
    modules, of logits and singular values the largest."""
    rows = store.evaluations
    rows = rows[(rows["arm"] == name) & rows["quantity"].str.startswith(f"{quantity}/")]
    rows = rows.assign(run_id=rows["run_ids"].str[0])[["run_id", "value"]]
    runs = store.runs[["run_id", "seed", "tokens", "batch_tokens"]]
    rows = rows.merge(runs, on="run_id")
    at = rows.assign(step=rows["tokens"] // rows["batch_tokens"]).groupby(["step", "seed"])["value"]
    value = at.agg(geometric) if quantity == "activation" else at.max()
    return value.reset_index()


def geometric(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def activations(store: Store, name: str) -> pd.DataFrame:
    return watched(store, name, "activation")


def logits(store: Store, name: str) -> pd.DataFrame:
    return watched(store, name, "logit_max")


def spectra(store: Store, name: str) -> pd.DataFrame:
    return watched(store, name, "spectral")


def peak_ratio(store: Store, table: Callable[[Store, str], pd.DataFrame]) -> Interval:
    """The highest over steps, mean over seeds, of the warmstarted over that of scratch."""
    arms = [table(store, name) for name in (warm(ABLATED), from_scratch(ABLATED))]
    peaks = [
        {int(str(seed)): float(rows["value"].max()) for seed, rows in own.groupby("seed")}
        for own in arms
    ]

    def ratio(seeds: Sequence[int]) -> float:
        ours, theirs = (np.mean([peak[seed] for seed in seeds]) for peak in peaks)
        return float(ours / theirs)

    return over_seeds(common_seeds(peaks), ratio)


# --- claims ------------------------------------------------------------------------------------

KINDS: Mapping[str, Callable[[Pair], str]] = {"scratch": from_scratch, "warmstarted": warm}
W1: Claims = (
    *(
        Claim(
            f"rate-{kind}",
            "the optimal learning rate of the small model is retained",
            f"{ABSTRACT}; here {kind}",
            "shift of the best rate from the small model to the next in width, at the small one’s "
            "best batch, log2, mean over doublings",
            partial(over_doublings, target=target, compare=maps.rate_shift),
            low=-HALF_STEP,
            high=HALF_STEP,
        )
        for kind, target in KINDS.items()
    ),
    Claim(
        "batch-warmstarted",
        "the optimal batch size of the small model is retained",
        ABSTRACT,
        "shift of the best batch from the small model to the warmstarted one, log2",
        lambda store: over_doublings(store, warm, maps.batch_shift),
        low=-0.5,
        high=0.5,
    ),
    *(
        Claim(
            f"best-cell-{kind}",
            "the small model's optimal learning rate and batch serve the large one",
            f"{ABSTRACT}; here {kind}",
            "loss at the small model’s best rate and batch over the lowest of the map, minus 1, %, "
            "mean over doublings",
            partial(over_doublings, target=target, compare=maps.given_up),
            high=1.0,
        )
        for kind, target in KINDS.items()
    ),
)

W2: Claims = tuple(
    claim
    for pair in PAIRS
    for claim in (
        Claim(
            f"faster-{pair[0]:g}-{pair[1]:g}",
            "warmstarting speeds up convergence",
            f"{ABSTRACT}; here {warm(pair)}",
            "FLOPs of scratch over those of the warmstarted to scratch’s final loss, source free",
            partial(speedup, baseline=from_scratch(pair), method=warm(pair), accounting="target"),
            low=FASTER,
        ),
        Claim(
            f"charged-{pair[0]:g}-{pair[1]:g}",
            "it does so too if the source has to be paid for (the paper does not say so)",
            f"our question to the paper; here {warm(pair)}",
            "FLOPs of scratch over those of the warmstarted and its source to scratch’s final loss",
            partial(speedup, baseline=from_scratch(pair), method=warm(pair), accounting="source"),
            low=1.0,
        ),
        Claim(
            f"ends-lower-{pair[0]:g}-{pair[1]:g}",
            "the warmstarted model ends lower at equal tokens",
            f"{ABSTRACT}; here {warm(pair)}",
            "final loss of the warmstarted minus that of scratch, nats",
            partial(minus, one=warm(pair), other=from_scratch(pair)),
            high=0.0,
        ),
    )
)

W3: Claims = (
    Claim(
        "shrinking-matters",
        "shrinking the small model's weights is what makes warmstarting effective",
        "abstract; λ = 0.4 is that of the authors' main results",
        "final loss at λ = 0.4 minus that at λ = 1, nats",
        lambda store: minus(store, shrunk(SHRINK), shrunk(1.0)),
        high=0.0,
    ),
    Claim(
        "unshrunk-worst",
        "λ = 1 is the worst of the sweep",
        "the authors' sweep over λ in 0.2, 0.4, 0.6, 0.8 and 1",
        "final loss at λ = 1 minus the highest at another λ, nats",
        unshrunk_minus_worst,
        low=0.0,
    ),
)

WATCHED: Mapping[str, tuple[str, Callable[[Store, str], pd.DataFrame]]] = {
    "gradient": ("gradient norm after warm-up", gradients),
    "activations": ("mean |activation| (geometric mean over modules)", activations),
    "logits": ("largest attention logit", logits),
    "spectra": ("largest singular value of a hidden matrix, times sqrt(in / out)", spectra),
}
W4: Claims = tuple(
    Claim(
        f"stable-{name}",
        "stable training dynamics are preserved under warmstarting",
        f"{ABSTRACT}; here {words}",
        f"{words}, the highest over steps, warmstarted over scratch",
        partial(peak_ratio, table=table),
        high=STABLE,
    )
    for name, (words, table) in WATCHED.items()
)

UNTESTABLE: Claims = (
    Claim(
        "whole-spectra",
        "spectra of weights and L2 norms of activations stay as they are from scratch",
        "the repository's trainer tracks both",
        untestable="of spectra the largest value and a rank are kept, of activations mean |x|",
    ),
)
