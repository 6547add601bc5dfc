"""Complete(d)P: hyperparameters per module, transferred along width, depth, batch and duration.

    mugrow reproduce completed-hp

The paper (arXiv 2512.22382) tunes rates, initial scales, betas and more for every kind of module on
a proxy of 50M parameters and trains 7B with what it found, 2.3 and 1.3 times as fast as with
hyperparameters that all modules share. Here both were searched on a proxy of 42 thousand by the
study ``modules``, the same kinds of hyperparameters, and are compared at up to eight times its
width, twice its depth and batch, four times its tokens, and after growth, which the paper does not
ask.

Of the paper the abstract and Table 1 could be read; its other claims are as two reviews of it tell
them, and ``where`` says so.

Cost: at ``cpu`` 466 runs, 5e13 FLOPs, about 17 minutes on two idle cores, beside the 2e13 of the
study; at ``gpu`` 3e16; at ``paper``, a proxy of the paper's size, 2e20.
Expected: a gain at the proxy that shrinks with the distance from it.

Choices. What is tuned on two seeds is compared on others. Rates of bowls are 0.75 apart in log2,
and their lowest point is a parabola's. A speed-up is read off the final losses of whole runs of the
shared tuning at half, once, twice and, at the proxy, four times the tokens, linear in log tokens;
a loss beyond those counts as at the last of them. Eight times the width has three seeds and a
wider proxy was not tried, for the price. Batches of the two tunings end at twice the proxy's, since
multipliers of 1 - beta1 that were found leave nothing of an average at 2.5 times; with the tokens
grown alike they reach four times. There is no QK-norm. At the larger scales the multipliers
are those found at ``cpu``.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, combined, final, lowest, total_flops
from mugrow.analysis.read.store import Store
from mugrow.analysis.transfer.optimum import optimum
from mugrow.bench.spec import UserError, llama
from mugrow.sweeps import beside
from mugrow.sweeps.paper import FigureOf, Paper, Text, each_seed
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.completed_hp.runs import (
    AWAY,
    BATCH,
    BOTH,
    DEEP,
    DEEPEST,
    FIVE,
    GROWTHS,
    HALF_DEEP,
    KINDS,
    LARGEST_BATCH,
    LONG,
    MULTIPLIERS,
    PARAMETRIZATION,
    PROXY,
    SCALED,
    TARGETS,
    UNSCALED,
    WIDE,
    WIDER,
    WIDEST,
    Growth,
    Target,
    at,
    by_batch,
    by_shape,
    grown_runs,
    growths_by_module,
    left_out,
    longer,
    of_kind,
    parts,
    shapes,
    transferred,
    tuned,
    without,
)
from mugrow.sweeps.recipes.papers.completed_hp.tuned import FOUND

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
BOWL_SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(1)}
MARGIN = 0.005  # nats, within which two losses are one
REDPAJAMA = Text("hf:togethercomputer/RedPajama-Data-1T-Sample", "hf:gpt2", 2**20, 50_257)

# 50M parameters and 1.6B tokens; the paper's shape, batch and rates could not be read
paper_scale = bases.published(
    llama(width=512, depth=8, head_size=64, context=1024, qk_norm=True),
    lr=2.0**-7.5, init_std=0.1, parametrization=PARAMETRIZATION, schedule=bases.COSINE,
    batch_sequences=128, steps=12_200, log_every=200,
)  # fmt: skip
SMALL: dict[str, object] = {"parametrization": PARAMETRIZATION, "steps": 300, "log_every": 50}


def gain(target: Target) -> Quantity:
    """Loss by module minus shared, nats; below 0 where tuning by module is better."""
    return final(tuned("modules", target)) - final(tuned("shared", target))


def grown_gain(growth: Growth) -> Quantity:
    """The same of what a method grows."""
    return final(growth.arm("modules")) - final(growth.arm("shared"))


def speedup(target: Target) -> Quantity:
    """Tokens that the shared tuning needs for the final loss by module, over those it took."""
    lengths = [target, *longer(target)]
    tokens = np.array([one.tokens / target.tokens for one in lengths])
    order = np.argsort(tokens)

    def read_off(values: Sequence[float]) -> float:
        reached, *losses = values
        falling = np.minimum.accumulate(np.array(losses)[order])[::-1]  # ascending, for np.interp
        return math.exp(float(np.interp(reached, falling, np.log(tokens[order])[::-1])))

    line = (final(tuned("shared", one)) for one in lengths)
    return combined(read_off, final(tuned("modules", target)), *line)


def with_tuning(target: Target) -> Quantity:
    """FLOPs that the shared tuning takes to the final loss by module, with its search, over those
    that tuning by module takes, with its own: for one run of the target."""

    def over(values: Sequence[float]) -> float:
        faster, once = values
        return (FOUND["shared"].flops + faster * once) / (FOUND["modules"].flops + once)

    return combined(over, speedup(target), total_flops(tuned("modules", target)))


def best_rate(target: Target, rule: str) -> Quantity:
    """log2 of the best rate over the one tuned: the vertex of a parabola, or the best tried."""

    def lowest_point(losses: Sequence[float]) -> float:
        try:
            found = optimum(AWAY, losses)
        except UserError:  # nothing finished
            return math.nan
        return found.argmin_log2_lr if found.vertex_log2_lr is None else found.vertex_log2_lr

    return combined(lowest_point, *(final(at(target, away, rule)) for away in AWAY))


def moved(target: Target, rule: str = SCALED) -> Quantity:
    """How far the best rate lies from the proxy's, log2."""
    return best_rate(target, rule) - best_rate(PROXY, SCALED)


def lowest_of(target: Target, rule: str) -> Quantity:
    return lowest(*(at(target, away, rule) for away in AWAY))


REVIEWS = "as two reviews of the paper tell it"
FIGURE_1 = f"figure 1, {REVIEWS}"
OURS = "our question: does it survive growth?"


def transfers(name: str, target: Target, along: str) -> Claim[Store]:
    return rule(f"transfers-{name}", "abstract", gain(target) < 0).decides(
        f"hyperparameters tuned by module on the proxy stay better along {along}",
        f"final loss at {target.name}, by module minus shared, nats",
    )


FASTER = "tokens that the shared tuning needs for the loss by module, over those it took"
C1 = (
    rule("faster-at-the-proxy", FIGURE_1, speedup(PROXY) > 1).decides(
        "at the proxy, tuned by module, 2.31 times fewer tokens to the same loss",
        f"{FASTER}, at the proxy on seeds that were not searched",
    ),
    rule("faster-at-twice-the-width", f"abstract and {FIGURE_1}", speedup(WIDE) > 1).decides(
        "transferred to a larger model, 1.32 times fewer tokens to the same loss",
        f"{FASTER}, at twice the width",
    ),
    transfers("4x-width", WIDER, "width"),
    transfers("8x-width", WIDEST, "width"),
    transfers("depth", DEEP, "depth"),
    transfers("duration", LONG, "duration"),
    transfers("batch", BATCH, "batch"),
    transfers("duration-and-batch", BOTH, "duration and batch together"),
    rule("gain-shrinks", REVIEWS, gain(WIDER) - gain(PROXY) > 0).decides(
        "what tuning by module gains falls with scale",
        "loss by module minus shared at four times the width minus at the proxy, nats",
    ),
    rule("pays-for-its-tuning", "our question: and with the search charged?",
         with_tuning(WIDE) > 1, whose="ours").decides(
        "for one model of twice the width tuning by module pays, its search counted",
        "FLOPs of search and training to one loss, shared over by module",
    ),
)  # fmt: skip
C2 = tuple(
    one
    for growth in GROWTHS
    for one in (
        rule(f"grown-{growth.method}", OURS, grown_gain(growth) < 0, whose="ours").decides(
            f"a model grown by {growth.method} is better with hyperparameters tuned by module",
            f"final loss at {growth.target.name}, grown by module minus grown shared, nats",
        ),
        rule(f"kept-{growth.method}", OURS,
             (grown_gain(growth) - 0.5 * gain(growth.target)) < 0, whose="ours").decides(
            f"{growth.method} keeps more than half of what tuning by module gains from scratch",
            f"gain of the grown model minus half of scratch's, at {growth.target.name}, nats",
        ),
    )
)  # fmt: skip


def carried(kind: str, target: Target) -> Quantity:
    """Loss with the multipliers of one kind alone minus with all, nats."""
    return final(of_kind(kind, target)) - final(tuned("modules", target))


def kept(target: Target) -> Quantity:
    """The share of the gain that the five keep."""
    shared = final(tuned("shared", target))
    gained = shared - final(of_kind("the five", target))
    return gained / (shared - final(tuned("modules", target)))


C3 = (
    *(
        rule(f"{kind.replace(' ', '-')}-carry-{name}", "our question: which of them carry it?",
             carried(kind, target) < MARGIN, whose="ours").decides(
            f"multipliers of {kind} alone are as good as all of them, within {MARGIN:g} nats",
            f"final loss at {target.name}, {kind} alone minus all, nats",
        )
        for target, name in ((PROXY, "the-proxy"), (WIDE, "twice-the-width"))
        for kind in ("rates", "initial scales", "betas")
    ),
    *(
        rule(f"five-carry-{name}", "our question: are five of twenty enough?",
             kept(target) > 0.75, whose="ours").decides(
            "the five multipliers of most worth in the search keep three quarters of the gain",
            f"gain of {', '.join(FIVE)} alone over that of all, at {target.name}",
        )
        for target, name in ((PROXY, "the-proxy"), (WIDE, "twice-the-width"))
    ),
)  # fmt: skip

SHIFT = "log2 of the best rate over the proxy's"
FIGURE_3, FIGURE_6 = (f"figure {number}, {REVIEWS}" for number in (3, 6))
C4 = (
    rule("batch-rule-holds", FIGURE_3, moved(LARGEST_BATCH).within(-0.5, 0.5)).decides(
        "the square-root rule keeps the best rate from an eighth to four times the batch",
        f"{SHIFT} at four times the batch, with the rule",
    ),
    rule("batch-drifts-without", FIGURE_3, moved(LARGEST_BATCH, UNSCALED) > 0.5).decides(
        "without a rule the best rate drifts with the batch",
        f"{SHIFT} at four times the batch, without the rule",
    ),
    rule("duration-rule-holds", FIGURE_6, moved(LONG).within(-0.5, 0.5)).decides(
        "with the rule for duration the best rate stays",
        f"{SHIFT} at four times the tokens, with the rule",
    ),
    rule("duration-drifts-as-root", REVIEWS, moved(LONG, UNSCALED).within(-1.5, -0.5)).decides(
        "without a rule the best rate falls as one over the root of the duration",
        f"{SHIFT} at four times the tokens, without the rule; the root has -1",
    ),
    rule("duration-lower-loss", FIGURE_6,
         lowest_of(LONG, SCALED) - lowest_of(LONG, UNSCALED) < 0).decides(
        "the rule for duration has a lower floor: 2.253 where CompleteP has 2.482",
        "lowest loss of the bowl at four times the tokens, with the rule minus without, nats",
    ),
)  # fmt: skip
C5 = (
    rule("stays-with-width", REVIEWS, moved(WIDE).within(-0.5, 0.5)).decides(
        "the best rate stays from width 128 to 2048",
        f"{SHIFT} at twice the width",
    ),
    rule("stays-with-depth", REVIEWS, moved(DEEPEST).within(-0.5, 0.5)).decides(
        "the best rate stays from depth 4 to 128 at alpha = 1",
        f"{SHIFT} at four times the depth, alpha = 1",
    ),
    rule("stays-at-half", REVIEWS, moved(DEEPEST, HALF_DEEP).within(-0.5, 0.5)).decides(
        "alpha = 1/2 transfers too",
        f"{SHIFT} at four times the depth, alpha = 1/2",
    ),
)

GAINS: Mapping[str, Quantity] = {target.name: gain(target) for target in TARGETS}
USUAL: Mapping[str, Quantity] = {
    target.name: final(tuned("two", target)) - final(tuned("shared", target)) for target in TARGETS
}
GROWN: Mapping[str, Quantity] = {
    f"{growth.method} to {growth.target.name}": grown_gain(growth) for growth in GROWTHS
} | {f"scratch at {target.name}": gain(target) for target in (WIDE, DEEP)}
PARTS: Mapping[str, Quantity] = {
    f"{kind} alone, {target.name}": final(of_kind(kind, target)) - final(tuned("shared", target))
    for target in (PROXY, WIDE)
    for kind in KINDS
} | {f"all, {target.name}": gain(target) for target in (PROXY, WIDE)}
WORTHS: Mapping[str, Quantity] = {
    name: final(without(name, PROXY)) - final(tuned("modules", PROXY)) for name in MULTIPLIERS
}
LOOK = style.LineStyle(style.OKABE_ITO[0], "o", "-")


def differences(
    quantities: Mapping[str, Quantity], xlabel: str = "minus the shared tuning (nats per token)"
) -> arms.Panel:
    return arms.DotPanel(quantities, xlabel, dict.fromkeys(quantities, LOOK), zero=True)


draw_gains = arms.row(
    differences(GAINS, "by module minus shared (nats)"),
    differences(USUAL, "the usual two minus shared (nats)"),
)
draw_worths = arms.row(
    differences(dict(tuple(WORTHS.items())[:10]), "loss without it minus with all (nats)"),
    differences(dict(tuple(WORTHS.items())[10:]), "loss without it minus with all (nats)"),
    share_x=True,
)


def bowls(title: str, shown: Iterable[tuple[Target, str]]) -> Callable[[Axes, Store], None]:
    """Losses against the rate, less the lowest of each bowl."""
    named = {f"{target.name}, {under}": (target, under) for target, under in shown}
    looks = style.distinct(list(named))

    def draw(axis: Axes, store: Store) -> None:
        for name, (target, under) in named.items():
            floor = lowest_of(target, under)
            places = {away: final(at(target, away, under)) - floor for away in AWAY}
            arms.line(axis, store, places, looks[name], name)
        axis.set(xlabel="log2 of the rate over the one tuned", title=title,
                 ylabel="loss above the bowl’s lowest (nats)", ylim=(-0.02, 0.3))  # fmt: skip
        axis.legend()

    return draw


draw_batch = arms.row(
    bowls("batch", ((PROXY, SCALED), (LARGEST_BATCH, SCALED), (LARGEST_BATCH, UNSCALED))),
    bowls("duration", ((PROXY, SCALED), (LONG, SCALED), (LONG, UNSCALED))),
    share_y=True,
)
draw_shape = arms.row(
    bowls("width", ((PROXY, SCALED), (WIDE, SCALED))),
    bowls("depth", ((PROXY, SCALED), (DEEPEST, SCALED), (DEEPEST, HALF_DEEP))),
    share_y=True,
)
PAIRED = (
    "Differences are paired by seed, with 95 % intervals; left of 0 tuning by module is better."
)

UNTESTABLE = (
    no_rule("at-7B", f"abstract and {FIGURE_1}").decides(
        "at 7.2B parameters, ten thousand times the compute of the proxy, 1.32 times fewer tokens "
        "and better benchmarks",
        "neither the size nor benchmarks are within reach; twice the width stands in for the size",
    ),
    no_rule("search-cost", "as quoted in the literature").decides(
        "the search takes 6,730 GPU hours, and 99 % of its gain is had within 3,168",
        "its trials, radius and ranges could not be read, so ours is another search",
    ),
    no_rule("cliffs", REVIEWS).decides(
        "losses have steep cliffs around a nearly convex inside, so a trust region suits them",
        "no other sampler was given as many trials; a study’s `sampler` has them",
    ),
    no_rule("depth-multipliers", REVIEWS).decides(
        "dropping the multipliers along depth loses little; searching every block gains nothing",
        "the proxy has two blocks, which one slope tells apart as well as two numbers",
    ),
    no_rule("no-qk-norm", "figure 14 of the submission, as its reviews tell it").decides(
        "without QK-norm transfer is not fully broken",
        "no run here has QK-norm to compare with; all transfer without it",
    ),
)

PAPER = Paper(
    name="completed-hp",
    arxiv="2512.22382",
    title="Completed Hyperparameter Transfer across Modules, Width, Depth, Batch and Duration",
    summary="hyperparameters tuned by module on a proxy, at larger models and after growth",
    bases=bases.scales(paper_scale, cpu=SMALL, gpu={"parametrization": PARAMETRIZATION}),
    corpora=bases.one_text(REDPAJAMA),
    figures={
        "C1": FigureOf(each_seed(SEEDS, transferred), draw_gains, C1).shows(
            "What tuning by module gains, carried to larger models and longer runs",
            f"Final losses; right, what the betas that all modules share have gained. {PAIRED}",
        ),
        "C2": FigureOf(each_seed(SEEDS, grown_runs), arms.row(differences(GROWN)), C2).shows(
            "What is left of it after growth",
            f"Final losses of models grown from a source of the same tuning. {PAIRED}",
        ),
        "C3": FigureOf(each_seed(SEEDS, parts), arms.row(differences(PARTS)), C3).shows(
            "Which multipliers carry it",
            "Final losses with the rate and initial scale of the search by module, and the "
            f"multipliers of one kind. {PAIRED}",
        ),
        "C4": FigureOf(each_seed(BOWL_SEEDS, by_batch), draw_batch, C4).shows(
            "Loss against learning rate at four times the batch and the tokens",
            "Rates are meant at the proxy, so under a rule that holds bowls lie above each other.",
        ),
        "C5": FigureOf(each_seed(BOWL_SEEDS, by_shape), draw_shape, C5).shows(
            "Loss against learning rate at twice the width and four times the depth",
            "Rates are meant at the proxy.",
        ),
        "C6": FigureOf(each_seed(SEEDS, left_out), draw_worths).shows(
            "What each multiplier is worth at the proxy",
            "Final losses with one multiplier set to 1 and all others as found, minus those with "
            "all. Paired by seed, with 95 % intervals; right of 0 the multiplier helps.",
        ),
        "C7": beside.figure(
            each_seed(BOWL_SEEDS, growths_by_module),
            arms=[growth.arm("modules") for growth in GROWTHS],
            front=each_seed(BOWL_SEEDS, shapes),
            note="All are tuned by module, and no rule for duration makes up for longer training; "
            "the search is not in the charge.",
        ),
    },
    untestable=UNTESTABLE,
)
