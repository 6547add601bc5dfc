"""muP upscaling: a rate and a noise tuned on a tiny pair of widths (arXiv 2602.10545).

    mugrow reproduce mupscaling

A trained model's units are each repeated twice, with the optimizer's state carried, noise parts the
copies, and the wide model trains on. Under muP, the paper says, the best learning rate of this
second training and the best noise do not depend on the width: both are found on a tiny pair
(n, 2n) and used on a large one.

Cost: at ``cpu`` about 5 minutes on two cores, beyond the basins of ``nanolm``, which are its sweeps
from scratch; at ``gpu`` 6e16 FLOPs, an estimated 10 minutes on one large GPU; at the paper's scale,
GPT-2 of 8 layers and widths to 1024, 2e20 FLOPs.
Expected: bowls of rate and noise above one another; the upscaled model far below scratch at equal
steps, and less so with its base paid for. Without noise it trains as its base does, but only where
no gradient is clipped: the norm that clipping looks at is not the same at two widths.

Choices. Heads have one size and multiply, where the paper's eight grow. A base stops before its
cool-down and the upscaled model begins the schedule anew, warm-up included, for as many steps as
scratch. Rates at one noise and noises at one rate take the place of a grid of both; where they lie
was seen on the narrowest pair, as a user of the method would. Wider pairs have fewer rates, and no
noise of 0. The units of noise are the target's own initial weights. At ``paper`` base rate and
initial scale are ours.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from mugrow.analysis.figures import BOWLS, arms, operator_settings, style, sweeps
from mugrow.analysis.read.store import Store
from mugrow.analysis.transfer import results
from mugrow.analysis.transfer.ladder import SCRATCH
from mugrow.analysis.transfer.sweep import Sweep
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.graph import CARRY, Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.mupscaling import claims
from mugrow.sweeps.recipes.papers.mupscaling.claims import (
    BARS,
    BASE,
    CLIPPED,
    CONTINUED,
    METHOD,
    TUNED,
    UPSCALED,
    WIDE,
    WITHOUT_NOISE,
    at_tuned,
    bowls,
    cheaper,
    gaps,
    settings,
    widths,
)

BASES = {"cpu": (0.5, 1, 2), "gpu": (0.5, 1, 2, 4), "paper": (0.25, 0.5, 1)}  # over the run's width
LOG2_LR = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # of upscaled training, around the run's
FEW_LOG2_LR = LOG2_LR[1:-1]
NOISES = (0.5, 1.0, 1.5, 2.0, 3.0)
NOISE, NOISY_LOG2_LR = 1.5, 0.5  # where rates are swept, and where noises are
SEEDS = {"cpu": range(3), "gpu": range(5), "paper": range(1)}
LOOKS = {
    BASE: style.Look(style.GREY, "s"),
    WIDE: style.look(SCRATCH),
    TUNED: style.look(METHOD),
}
WEB = Text("hf:HuggingFaceFW/fineweb-edu:sample-10BT", "bpe:8192", 2**20, vocab_size=8192)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """GPT-2 of 8 layers and width 512; twice the 10,000 steps that are taken of it, at a constant
    rate."""
    model = ModelSpec(width=512, depth=8, head_size=64, context=1024, vocab_size=vocabulary)
    return RunSpec(
        model=model,
        base=model,
        parametrization="mup",
        hyper=HyperSpec(lr=2.0**bases.LOG2_LR, init_std=0.02),
        schedule=ScheduleSpec(kind="constant"),
        data=data,
        batch_sequences=512,
        steps=2 * 10_000,
        seed=0,
        data_seed=0,
        log_every=500,
    )


def base(setting: Setting, seed: int, times: float) -> Node:
    """Trained up to its cool-down, on batches that no wide model sees."""
    setting = bases.halved(setting)
    spec = setting.spec(
        seed,
        times,
        parametrization="mup",
        data_seed=seed + SOURCE_DATA_SEEDS,
        stop_step=cooldown_start(setting.run.schedule, setting.run.steps),
    )
    return Node(spec, BASE)


def upscaled(setting: Setting, seed: int, times: float, log2_lr: float, noise: float) -> Node:
    """Twice the width of its base, at its own rate."""
    target = bases.halved(setting).spec(seed, 2 * times, parametrization="mup")
    rate = replace(target.hyper, lr=target.hyper.lr * 2.0**log2_lr)
    target = replace(target, hyper=rate)
    node = grown(base(setting, seed, times), target, UPSCALED, METHOD, CARRY, noise=noise)
    return replace(node, role="proxy")


def scratch_runs(setting: Setting) -> Iterator[Node]:
    for times in BASES[setting.scale]:
        for seed in bases.BASIN_SEEDS:
            yield from bases.basin(setting, 2 * times, "mup", seed)


def rate_runs(setting: Setting) -> Iterator[Node]:
    for place, times in enumerate(BASES[setting.scale]):
        for seed in SEEDS[setting.scale]:
            for log2_lr in FEW_LOG2_LR if place else LOG2_LR:
                yield upscaled(setting, seed, times, log2_lr, NOISE)


def noise_runs(setting: Setting) -> Iterator[Node]:
    for place, times in enumerate(BASES[setting.scale]):
        for seed in SEEDS[setting.scale]:
            for noise in NOISES if place else (0.0, *NOISES):
                yield upscaled(setting, seed, times, NOISY_LOG2_LR, noise)


def cross_runs(setting: Setting) -> Iterator[Node]:
    yield from scratch_runs(setting)
    yield from rate_runs(setting)
    yield from noise_runs(setting)


def curve_runs(setting: Setting) -> Iterator[Node]:
    """With all that tuning takes."""
    yield from cross_runs(setting)
    for seed in SEEDS[setting.scale]:
        yield from equivalent_runs(setting, seed, 0.0, "")
        yield from equivalent_runs(setting, seed, 1.0, CLIPPED)


def equivalent_runs(setting: Setting, seed: int, clip: float, suffix: str) -> Iterator[Node]:
    """The narrowest pair without noise in double precision, and its base trained on."""
    times = BASES[setting.scale][0]
    small = base(setting, seed, times)
    small = replace(small, spec=replace(small.spec, dtype="float64"))
    wide = upscaled(setting, seed, times, NOISY_LOG2_LR, 0.0).spec
    wide = replace(wide, dtype="float64", hyper=replace(wide.hyper, clip=clip))
    yield grown(small, wide, WITHOUT_NOISE + suffix, METHOD, CARRY)
    narrow = replace(wide, model=small.spec.model)
    yield grown(small, narrow, CONTINUED + suffix, "continue", CARRY)


def draw_bowls(store: Store, method: str) -> Figure:
    found = bowls(store, method)
    swept = results.transfer_results(found).sweeps
    rungs = tuple((float(one.width), f"width {one.width}", one) for one in swept)
    panel = sweeps.BowlPanel("", rungs, base_rate(found[-1]))
    figure, ((axis,),) = style.panels(1, 1)
    figure.set_figheight(style.PANEL + 0.7)
    sweeps.draw_panels([axis], [panel])
    style.legend_below(figure, sweeps.bowl_legend([panel]))
    return figure


def base_rate(sweep: Sweep) -> float | None:
    return None if sweep.source is None else sweep.source.log2_lr


def draw_noises(store: Store) -> Figure:
    return operator_settings.operator_settings(results.transfer_results(settings(store)))


def draw_curves(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    arms.curves(left, at_tuned(store), list(LOOKS), "tokens", looks=LOOKS)
    left.legend()
    for suffix, line, text in (("", "-", "no clipping"), (CLIPPED, "--", "gradients clipped")):
        apart = gaps(store, suffix).clip(lower=1e-17)
        lines = right.plot(apart.index, apart, line, color=style.look(METHOD).colour)
        lines[0].set_label(text)
    right.set(yscale="log", xlabel="steps", ylabel="|wide without noise − base| (nats)")
    right.legend()
    return figure


def draw_costs(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, width_ratios=(3, 2))
    places = np.arange(len(BARS))
    heights = {
        "printed": list(BARS.values()),
        "attention to all": [cheaper(ratio, causal=False) for ratio in BARS],
        "causal attention": [cheaper(ratio, causal=True) for ratio in BARS],
    }
    for place, (label, bars) in enumerate(heights.items()):
        colour = (style.FAINT, *style.OKABE_ITO)[place]
        left.bar(places + 0.28 * (place - 1), bars, 0.28, color=colour, label=label)
    left.set(yscale="log", ylabel="times cheaper", xlabel="GPT-2 small’s width over n")
    left.set_xticks(places, [str(ratio) for ratio in BARS])
    left.legend(title="FLOPs of a token")
    wide = widths(store)
    flops = store.runs[store.runs["arm"] == UPSCALED].groupby("width")["flops"].mean()
    ours = [float(flops[wide[-1]] / flops[width]) for width in wide]
    bars = right.bar([str(width) for width in wide], ours, 0.6, color=style.look(METHOD).colour)
    right.bar_label(bars, fmt="%.3g")
    right.set(xlabel="width after upscaling", ylabel="times cheaper than the widest, a run")
    return figure


PAPER = Paper(
    name="mupscaling",
    arxiv="2602.10545",
    title="μpscaling small models: Principled warm starts and hyperparameter transfer",
    summary="rate and noise of upscaled training, tuned on a tiny pair of widths",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": WEB}},
    figures={
        "U1": PaperFigure(
            "Loss against learning rate from scratch at each width",
            BOWLS,
            scratch_runs,
            lambda store: draw_bowls(store, SCRATCH),
            claims.U1,
        ),
        "U2": PaperFigure(
            "Loss against learning rate of upscaled models at one noise",
            BOWLS + " The dashed line is the base’s rate. Widths are those after upscaling.",
            cross_runs,
            lambda store: draw_bowls(store, METHOD),
            claims.U2,
        ),
        "U3": PaperFigure(
            "Loss against noise of upscaled models at one rate",
            "Mean final loss, with a band from the lowest to the highest seed; a star marks the "
            "lowest mean. Noise is in units of the wide model’s own initial weights.",
            noise_runs,
            draw_noises,
            claims.U3,
        ),
        "U4": PaperFigure(
            "Upscaled training beside its base and beside scratch",
            "Left, the widest pair at rate and noise as tuned on the narrowest, and scratch at the "
            "rate best for the narrowest: mean validation loss with a band from the lowest to the "
            "highest seed. Right, narrowest pair in double precision: the distance between the "
            "losses of the wide model without noise and of its base trained on, a line a seed, "
            "with and without clipping of the gradient; below 1e-17 it is drawn there.",
            curve_runs,
            draw_curves,
            claims.U4,
        ),
        "U5": PaperFigure(
            "How much cheaper tuning a narrow pair is",
            "Left, training FLOPs of a token of GPT-2 small over those at its width over n: as the "
            "paper prints them, and counted here. Right, of the runs that are tuned here.",
            rate_runs,
            draw_costs,
            claims.U5,
        ),
    },
    untestable=claims.UNTESTABLE,
)
