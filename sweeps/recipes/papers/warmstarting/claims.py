"""What "Warmstarting for Scaling Language Models" says, and how it is measured here.

Hyperparameters are *retained* where the small model's best learning rate and batch are the large
one's too. A rate's place is the vertex of the bowl at the small model's best batch; it is retained
within half a step of the paper's own grid, whose neighbours are a factor of about 3 apart.

A speed-up counts from ``FASTER`` on: of an arm that never gets to scratch's loss, on as many tokens
of the same shape, all that is known is that it is below 1.

Training is *stable* where nothing that is watched rises above ``STABLE`` times what it does from
scratch.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from mugrow.analysis.measure import maps
from mugrow.analysis.measure.claims import claim, untestable
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import (
    Quantity,
    at_scale,
    evaluations,
    final,
    highest,
    mean,
    of_rows,
    speedup,
)
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
    return at_scale(
        lambda scale: mean(
            *(
                maps.Compared(scratch(pair[0]), target(pair), compare)
                for pair in pairwise(SERIES[scale])
            )
        )
    )


def gradients(store: Store, name: ArmName) -> pd.DataFrame:
    """Gradient norms after warm-up, before clipping: step, seed, value, a row a logged step."""
    runs = arm(store.runs, name, ["run_id", "seed", "tokens", "batch_tokens"])
    rows = runs.merge(store.curves, on="run_id").rename(columns={"grad_norm": "value"})
    warmed_up = (WARMUP[store.study["scale"]] * rows["tokens_x"] / rows["batch_tokens"]).round()
    return rows.loc[rows["step"] > warmed_up, ["step", "seed", "value"]]


def watched(store: Store, name: ArmName, quantity: str) -> pd.DataFrame:
    """What an arm's models showed: step, seed, value. Of activations the geometric mean over
    modules, of logits and singular values the largest."""
    rows = evaluations(store, str(name), f"{quantity}/")  # of all runs of the name, stopped or not
    rows = rows.assign(run_id=rows["run_ids"].str[0])[["run_id", "value"]]
    rows = rows.merge(store.runs[["run_id", "seed", "tokens", "batch_tokens"]], on="run_id")
    at = rows.assign(step=rows["tokens"] // rows["batch_tokens"]).groupby(["step", "seed"])["value"]
    value = at.agg(_geometric) if quantity == "activation" else at.max()
    return value.reset_index()


def _geometric(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def steps_of(store: Store, name: ArmName, quantity: str) -> pd.DataFrame:
    """Of one of the keys of ``WATCHED``: step, seed, value."""
    return gradients(store, name) if quantity == "gradient" else watched(store, name, quantity)


def peak(name: ArmName, quantity: str) -> Quantity:
    """The highest over steps, mean over seeds."""
    return of_rows(
        lambda store: steps_of(store, name, quantity),
        lambda rows: rows.groupby("seed")["value"].max().mean(),
    )


def peak_ratio(quantity: str) -> Quantity:
    """Of the warmstarted over that of scratch."""
    return peak(warm(ABLATED), quantity) / peak(from_scratch(ABLATED), quantity)


TARGETS: dict[str, Callable[[Pair], ArmName]] = {"scratch": from_scratch, "warmstarted": warm}
W1 = (
    *(
        claim(
            f"rate-{kind}",
            "the optimal learning rate of the small model is retained",
            f"{ABSTRACT}; here {kind}",
            "shift of the best rate from the small model to the next in width, at the small one’s "
            "best batch, log2, mean over doublings",
            over_doublings(target, maps.rate_shift).within(-HALF_STEP, HALF_STEP),
        )
        for kind, target in TARGETS.items()
    ),
    claim(
        "batch-warmstarted",
        "the optimal batch size of the small model is retained",
        ABSTRACT,
        "shift of the best batch from the small model to the warmstarted one, log2",
        over_doublings(warm, maps.batch_shift).within(-0.5, 0.5),
    ),
    *(
        claim(
            f"best-cell-{kind}",
            "the small model's optimal learning rate and batch serve the large one",
            f"{ABSTRACT}; here {kind}",
            "loss at the small model’s best rate and batch over the lowest of the map, minus 1, %, "
            "mean over doublings",
            over_doublings(target, maps.given_up) < 1.0,
        )
        for kind, target in TARGETS.items()
    ),
)

W2 = tuple(
    each
    for pair in PAIRS
    for each in (
        claim(
            f"faster-{pair[0]:g}-{pair[1]:g}",
            "warmstarting speeds up convergence",
            f"{ABSTRACT}; here {warm(pair)}",
            "FLOPs of scratch over those of the warmstarted to scratch’s final loss, source free",
            speedup(from_scratch(pair), warm(pair), "target") > FASTER,
        ),
        claim(
            f"charged-{pair[0]:g}-{pair[1]:g}",
            "it does so too if the source has to be paid for (the paper does not say so)",
            f"our question to the paper; here {warm(pair)}",
            "FLOPs of scratch over those of the warmstarted and its source to scratch’s final loss",
            speedup(from_scratch(pair), warm(pair), "source") > 1.0,
        ),
        claim(
            f"ends-lower-{pair[0]:g}-{pair[1]:g}",
            "the warmstarted model ends lower at equal tokens",
            f"{ABSTRACT}; here {warm(pair)}",
            "final loss of the warmstarted minus that of scratch, nats",
            final(warm(pair)) - final(from_scratch(pair)) < 0.0,
        ),
    )
)

W3 = (
    claim(
        "shrinking-matters",
        "shrinking the small model's weights is what makes warmstarting effective",
        "abstract; λ = 0.4 is that of the authors' main results",
        "final loss at λ = 0.4 minus that at λ = 1, nats",
        final(shrunk(SHRINK)) - final(shrunk(1.0)) < 0.0,
    ),
    claim(
        "unshrunk-worst",
        "λ = 1 is the worst of the sweep",
        "the authors' sweep over λ in 0.2, 0.4, 0.6, 0.8 and 1",
        "final loss at λ = 1 minus the highest at another λ, nats",
        final(shrunk(1.0)) - highest(*map(shrunk, SHRINKS[:-1])) > 0.0,
    ),
)

WATCHED = {
    "gradient": ("gradient", "gradient norm after warm-up"),
    "activation": ("activations", "mean |activation| (geometric mean over modules)"),
    "logit_max": ("logits", "largest attention logit"),
    "spectral": ("spectra", "largest singular value of a hidden matrix, times sqrt(in / out)"),
}
W4 = tuple(
    claim(
        f"stable-{name}",
        "stable training dynamics are preserved under warmstarting",
        f"{ABSTRACT}; here {words}",
        f"{words}, the highest over steps, warmstarted over scratch",
        peak_ratio(quantity) < STABLE,
    )
    for quantity, (name, words) in WATCHED.items()
)

UNTESTABLE = (
    untestable(
        "whole-spectra",
        "spectra of weights and L2 norms of activations stay as they are from scratch",
        "the repository's trainer tracks both",
        "of spectra the largest value and a rank are kept, of activations mean |x|",
    ),
)
