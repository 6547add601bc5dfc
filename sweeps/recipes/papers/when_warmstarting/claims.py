"""What "When is Warmstarting Effective" says, and how it is measured here.

The paper's growth factors are of targets of 77 to 287 million parameters; here "the larger target"
is the largest grown from several sources. Numbers are those of the authors' analysis notebooks;
sections and figure numbers are not at hand.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from scipy.stats import kendalltau, spearmanr

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, difference, over_seeds
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval, student_interval
from mugrow.sweeps.recipes.papers.warmstarting.maps import map_of, read
from mugrow.sweeps.recipes.papers.when_warmstarting.horizons import (
    CLONE,
    NET2NET,
    SCRATCH,
    SZP,
    best_factor,
    best_gain,
    error_percent,
    exponent,
    fall,
    furthest,
    gain,
    minus,
    sooner,
    steeper,
    targets,
    unshrunk,
)

Claims = tuple[Claim[Store], ...]
BASE, TARGET, GROWN = "small, scratch", "large, scratch", "large, SZP"
CORRELATIONS = {"Spearman": spearmanr, "Kendall": kendalltau}
HALFWAY = 0.5


def larger(store: Store) -> int:
    """The parameters of the larger target."""
    return targets(store)[-1]


# --- rank correlations -------------------------------------------------------------------------


def correlation(one: Array, other: Array, kind: str = "Spearman") -> float:
    """Of cells that both have; nan where one of them is constant."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2 or not (np.ptp(one[both]) and np.ptp(other[both])):
        return float("nan")
    return float(CORRELATIONS[kind](one[both], other[both]).statistic)


def transferred(store: Store, name: str, kind: str = "Spearman") -> Interval:
    """Of the small model's map with another's, of mean losses over seeds."""
    maps = [read(store, one) for one in (BASE, name)]

    def of(seeds: Sequence[int]) -> float:
        one, other = (found.mean(seeds).loss.ravel() for found in maps)
        return correlation(one, other, kind)

    return over_seeds(sorted(set(maps[0].seeds) & set(maps[1].seeds)), of)


def partial_losses(store: Store, name: str, shares: Array) -> dict[int, Array]:
    """By seed, the losses (cells, shares) of a map at these shares of each run's tokens."""
    runs = arm(store.runs, map_of(name))
    curves = dict(list(store.curves.dropna(subset="val_loss").groupby("run_id")))
    found: dict[int, list[Array]] = {}
    for run in runs.to_dict("records"):
        curve = curves[run["run_id"]]
        at = np.interp(shares * run["tokens"], curve["tokens"], curve["val_loss"])
        found.setdefault(int(run["seed"]), []).append(at)
    return {seed: np.array(rows) for seed, rows in found.items()}


def foretold(store: Store, name: str, share: float, kind: str = "Spearman") -> Interval:
    """Of a map's losses at a share of its tokens with its final ones: mean over seeds."""
    losses = partial_losses(store, name, np.array([share, 1.0]))
    return student_interval([correlation(rows[:, 0], rows[:, 1], kind) for rows in losses.values()])


# --- claims ------------------------------------------------------------------------------------

FITS = "the fits of loss, size and tokens against compute in the authors' notebooks"
NOTEBOOKS = "growth-factor panels of the authors' notebooks"
ABSTRACT = "abstract"

ACCOUNTED: Mapping[Accounting, tuple[str, str, str, str]] = {
    "target": ("free", "for free", "alone", "the paper's own accounting by default"),
    "source": ("charged", "charged", "and its source", "our question to the paper, whose code has "
               "it as an option"),
}  # fmt: skip

F1: Claims = (
    Claim(
        "gain-at-two",
        "warmstarted by about two, the model ends lower than from scratch",
        f"{ABSTRACT}; 1.816 for 1.836 at 134.6M",
        "final loss of scratch minus that of SZP from g nearest 2 at 20 tokens per parameter, mean "
        "of the sizes fitted, nats",
        lambda store: student_interval(list(gain(store, 20).values())),
        low=0.0,
    ),
    Claim(
        "slope-scratch",
        "from scratch L falls as C^-0.067",
        FITS,
        "exponent of loss against 6 N D along the front of scratch",
        lambda store: exponent(store, SCRATCH, "loss"),
        low=-0.08,
        high=-0.055,
    ),
    Claim(
        "slope-szp",
        "grown by about two it falls as C^-0.070",
        FITS,
        "exponent of loss against 6 N D along the front of SZP",
        lambda store: exponent(store, SZP, "loss"),
        low=-0.083,
        high=-0.058,
    ),
    Claim(
        "steeper",
        "warmstarting has the steeper line: -0.070 for -0.067",
        FITS,
        "exponent of SZP minus that of scratch",
        steeper,
        high=0.0,
    ),
    *(
        Claim(
            f"sooner-{name}",
            f"a warmstarted model reaches scratch's final loss sooner, its source {words}",
            where,
            f"FLOPs of scratch over those of SZP from g nearest 2 {what} to scratch’s final loss, "
            "the larger target at 20 tokens per parameter",
            partial(sooner, accounting=accounting),
            low=1.0,
        )
        for accounting, (name, words, what, where) in ACCOUNTED.items()
    ),
)  # fmt: skip

F2: Claims = (
    Claim(
        "best-factor",
        "a growth factor of 2 is the most reliable: best at 2.1 to 2.5",
        f"{ABSTRACT}; {NOTEBOOKS}",
        "best g of SZP for the larger target, at the end of 20 tokens per parameter",
        lambda store: best_factor(store, SZP, larger(store)),
        low=1.5,
        high=3.0,
    ),
    Claim(
        "break-even-factor",
        "above a growth factor of 4.5 to 6 scratch wins",
        NOTEBOOKS,
        "g of SZP at which the parabola is back at scratch's loss, the larger target, 20 tokens "
        "per parameter",
        lambda store: best_factor(store, SZP, larger(store), "break_even_g"),
        low=3.5,
        high=6.5,
    ),
    Claim(
        "upper-bound",
        "there is an upper bound on growth, beyond which scratch wins",
        ABSTRACT,
        "final loss of the larger target grown from the smallest source minus scratch, nats",
        lambda store: furthest(store, SZP, larger(store)),
        low=0.0,
    ),
    Claim(
        "best-factor-falls",
        "the best growth factor falls as training goes on: from 2.6 to 2.1, from 3.5 to 2.3",
        NOTEBOOKS,
        "best g of SZP for the larger target at a sixth of the compute minus that at its end",
        lambda store: fall(store, SZP, larger(store)),
        low=0.0,
    ),
    Claim(
        "net2net-no-gain",
        "Net2Net gains nothing at the end of 20 tokens per parameter",
        f"{NOTEBOOKS}: its best g goes to 1 at 134.6M and 287M",
        "lowest final loss over growth factors minus scratch, the larger target, nats",
        lambda store: best_gain(store, NET2NET, larger(store)),
        low=-0.01,
    ),
    Claim(
        "simple-beats-complex",
        "the simple method is better than the complex one",
        ABSTRACT,
        "final loss of Net2Net minus that of SZP, mean over sources, the larger target, nats",
        lambda store: minus(store, NET2NET, SZP, larger(store)),
        low=0.0,
    ),
)

F3: Claims = (
    Claim(
        "gains-shrink",
        "gains are largest below 20 tokens per parameter",
        ABSTRACT,
        "gain of SZP over scratch at 10 tokens per parameter minus that at 30, mean of the sizes "
        "fitted, nats",
        lambda store: difference(gain(store, 10), gain(store, 30)),
        low=0.0,
    ),
    Claim(
        "scratch-wins-late",
        "beyond slightly more than 20 tokens per parameter scratch wins",
        "the contour of the loss difference over N and D, up to 6B parameters",
        "gain of SZP over scratch at 30 tokens per parameter, mean of the sizes fitted, nats",
        lambda store: student_interval(list(gain(store, 30).values())),
        high=0.0,
    ),
)

F4: Claims = (
    Claim(
        "unshrunk-worst",
        "shrinking by nothing is the worst of the sweep",
        "the authors' sweep over λ in 0.2, 0.4, 0.6, 0.8 and 1",
        "final loss at λ = 1 minus the highest at another λ, mean over sources, nats",
        unshrunk,
        low=0.0,
    ),
    Claim(
        "preservation-unnecessary",
        "the source's function need not be preserved",
        f"{ABSTRACT}; our test of it against an exact clone of twice the width",
        "final loss of SZP at λ = 0.4 minus that of the noisy clone, nats",
        lambda store: minus(store, SZP, CLONE, targets(store)[0]),
        high=0.01,
    ),
)

F5: Claims = tuple(
    Claim(
        f"{quantity}-exponent-{name}",
        f"{what} of the best runs grow as C^{value}",
        f"{FITS}; {name}",
        f"exponent of {what} against 6 N D along the front of {name}",
        partial(exponent, method=name, quantity=quantity),
        low=value - 0.1,
        high=value + 0.1,
    )
    for name, size, tokens in ((SCRATCH, 0.426, 0.574), (SZP, 0.435, 0.565))
    for quantity, what, value in (("n", "parameters", size), ("d", "tokens", tokens))
)

F6: Claims = tuple(
    Claim(
        f"held-out-{name}",
        f"the law predicts the largest model, held out, to {percent} %",
        f"{said} predicted and {true} measured at 1.2B parameters and 10 tokens per parameter",
        f"error of the law of {name} at the size held out, %",
        partial(error_percent, method=name),
        low=-percent,
        high=percent,
    )
    for name, percent, said, true in (
        (SCRATCH, 6.8, 1.620, 1.517),
        (SZP, 4.1, 1.558, 1.4965),
    )
)

F7: Claims = (
    *(
        Claim(
            f"ranks-transfer-{name}",
            "learning rates and batches rank alike at the small model and the larger one",
            f"the figure of rank correlations, whose numbers are not at hand; here {words}",
            "Spearman's correlation of final losses over rates and batches, small with large",
            partial(transferred, name=which),
            low=0.7,
        )
        for name, words, which in (
            ("scratch", "from scratch", TARGET),
            ("szp", "grown by SZP", GROWN),
        )
    ),
    Claim(
        "ranks-early",
        "partial losses tell final ones",
        "the figure of rank correlations against FLOPs, whose numbers are not at hand",
        "Spearman's correlation of losses at half the tokens with final ones over rates and "
        "batches, the large model grown by SZP",
        lambda store: foretold(store, GROWN, HALFWAY),
        low=0.7,
    ),
)

UNTESTABLE: Claims = (
    Claim(
        "dense-mlp",
        "dense MLPs are grown as profitably: Net2Net's best g is about 2, its break-even 3.7 to "
        "5.5",
        f"{ABSTRACT}; {NOTEBOOKS}",
        untestable="regression on synthetic data with MLPs; language models alone are trained here",
    ),
    Claim(
        "held-out-gain",
        "at 1.2B parameters and 10 tokens per parameter warmstarting ends at 1.4965, scratch at "
        "1.5174",
        "the held-out point of the loss-compute lines",
        untestable="losses of 1.2B parameters on SlimPajama; the size held out here stands for it",
    ),
)
